// A small router over the History API. Everything a page shows is in its address.
import type { Component } from 'svelte'

export interface Route {
  /** Path pattern with `:name` parts; a last `*name` takes the rest. */
  path: string
  load: () => Promise<{ default: Component }>
  /** Reachable without a session. */
  open?: boolean
  /** Addresses of the same name are one page, which stays when one leads to another. */
  page?: string
}

interface Place {
  path: string
  params: Record<string, string>
  query: Record<string, string>
  route: Route | null
}

const place = $state<{ now: Place }>({ now: { path: '/', params: {}, query: {}, route: null } })
let table: { route: Route; pattern: RegExp; names: string[] }[] = []
let leave: (() => string | null) | null = null

function compile(route: Route) {
  const names: string[] = []
  const source = route.path.replace(/[.+]/g, '\\$&').replace(/([:*])(\w+)/g, (_, kind: string, name: string) => {
    names.push(name)
    return kind === ':' ? '([^/]+)' : '(.+)'
  })
  return { route, pattern: new RegExp(`^${source}/?$`), names }
}

function read(): void {
  const path = location.pathname
  const query = Object.fromEntries(new URLSearchParams(location.search))
  for (const { route, pattern, names } of table) {
    const match = pattern.exec(path)
    if (!match) continue
    const params: Record<string, string> = {}
    names.forEach((name, i) => (params[name] = decode(match[i + 1])))
    place.now = { path, params, query, route }
    return
  }
  place.now = { path, params: {}, query, route: null }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Starts the router. */
export function start(routes: Route[]): void {
  table = routes.map(compile)
  at = Number((history.state as { at?: number } | null)?.at ?? 0)
  history.replaceState({ at }, '')
  addEventListener('popstate', back)
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    const anchor = (event.target as Element).closest?.('a')
    if (!anchor || anchor.target || anchor.hasAttribute('download') || anchor.origin !== location.origin) return
    if (anchor.pathname.startsWith('/v1/')) return
    event.preventDefault()
    go(anchor.pathname + anchor.search + anchor.hash)
  })
  read()
}

// Which step of the history is shown, so that a step back that is refused can be undone.
let at = 0
let undoing = false

/** Whether the page may be left: at once, or after asking. */
function mayLeave(): boolean {
  const question = leave?.()
  if (question && !confirm(question)) return false
  leave = null
  return true
}

function back(event: PopStateEvent): void {
  if (undoing) {
    undoing = false
    return
  }
  const to = Number((event.state as { at?: number } | null)?.at ?? 0)
  if (location.pathname !== place.now.path && !mayLeave()) {
    undoing = true
    history.go(at - to)
    return
  }
  at = to
  read()
}

/** Goes to an address; `replace` leaves no step back. */
export function go(to: string, replace = false): void {
  const samePage = new URL(to, location.href).pathname === location.pathname
  // What is shown of a page may change; nothing is lost by that.
  if (!samePage && !mayLeave()) return
  if (!replace) at++
  history[replace ? 'replaceState' : 'pushState']({ at }, '', to)
  read()
  if (!samePage) {
    scrollTo(0, 0)
    requestAnimationFrame(() => document.querySelector<HTMLElement>('main')?.focus({ preventScroll: true }))
  }
}

/** Changes parts of the query; empty values are taken out. */
export function setQuery(change: Record<string, string | null | undefined>, replace = true): void {
  const query = new URLSearchParams(location.search)
  for (const [name, value] of Object.entries(change)) {
    if (value) query.set(name, value)
    else query.delete(name)
  }
  const text = query.toString()
  go(location.pathname + (text ? `?${text}` : ''), replace)
}

/** A question to ask before the page is left, while `ask` gives one. */
export function guard(ask: () => string | null): () => void {
  leave = ask
  const before = (event: BeforeUnloadEvent) => {
    if (ask()) event.preventDefault()
  }
  addEventListener('beforeunload', before)
  return () => {
    if (leave === ask) leave = null
    removeEventListener('beforeunload', before)
  }
}

/** Where we are. */
export const here = {
  get path() {
    return place.now.path
  },
  get params() {
    return place.now.params
  },
  get query() {
    return place.now.query
  },
  get route() {
    return place.now.route
  },
}
