// Server state: fetched by path, shown at once from what was seen before, fetched again when an event says so.
import { untrack } from 'svelte'
import { get, Problem } from './api'
import { listen, type LiveEvent, type Topic } from './live.svelte'

const seen = new Map<string, unknown>()

export interface QueryOptions {
  /** Topics whose events make it fetch again. */
  on?: Topic[]
  /** Only events of this network. */
  network?: () => string | undefined
  /** Further condition on an event. */
  when?: (event: LiveEvent) => boolean
  /** Fetch again every so many milliseconds while the page is visible. */
  every?: number
}

export class Query<T> {
  data = $state.raw<T | undefined>()
  problem = $state.raw<Problem | null>(null)
  loading = $state(true)
  #path: string | null = null
  #round = 0
  #soon: ReturnType<typeof setTimeout> | undefined

  /** Fetches again. */
  reload = async (): Promise<void> => {
    const path = this.#path
    if (path === null) return
    const round = ++this.#round
    this.loading = true
    try {
      const data = await get<T>(path)
      if (round !== this.#round) return
      if (seen.size > 200) seen.delete(seen.keys().next().value!)
      seen.set(path, data)
      this.data = data
      this.problem = null
    } catch (error) {
      if (round !== this.#round) return
      this.problem = error instanceof Problem ? error : new Problem(0, 'fault', String(error), '', '')
    }
    if (round === this.#round) this.loading = false
  }

  /** Fetches again in a moment; many calls make one fetch. */
  refresh = (): void => {
    if (this.#soon) return
    this.#soon = setTimeout(() => {
      this.#soon = undefined
      void this.reload()
    }, 250)
  }

  set(path: string | null): void {
    if (path === this.#path) return
    this.#path = path
    this.#round++
    this.problem = null
    this.data = path === null ? undefined : (seen.get(path) as T | undefined)
    this.loading = path !== null
    if (path !== null) void this.reload()
  }

  end(): void {
    clearTimeout(this.#soon)
    this.#round++
  }
}

/** A query that follows its path; call it while a component starts. */
export function query<T>(path: () => string | null, options: QueryOptions = {}): Query<T> {
  const q = new Query<T>()
  $effect(() => {
    const p = path()
    untrack(() => q.set(p))
  })
  $effect(() => {
    const network = options.network?.()
    const ends: (() => void)[] = []
    if (options.on) ends.push(listen(options.on, (event) => (!options.when || options.when(event)) && q.refresh(), network))
    if (options.every) {
      const timer = setInterval(() => document.visibilityState === 'visible' && q.refresh(), options.every)
      ends.push(() => clearInterval(timer))
    }
    return () => ends.forEach((end) => end())
  })
  $effect(() => () => q.end())
  return q
}

/** Forgets what was seen, at sign-out. */
export function forget(): void {
  seen.clear()
}

/** Something a person starts: remembers whether it runs and what went wrong. */
export class Task {
  running = $state(false)
  problem = $state.raw<Problem | null>(null)

  run = async <T>(act: () => Promise<T>): Promise<T | undefined> => {
    if (this.running) return undefined
    this.running = true
    this.problem = null
    try {
      return await act()
    } catch (error) {
      this.problem = error instanceof Problem ? error : new Problem(0, 'fault', String(error), '', '')
      return undefined
    } finally {
      this.running = false
    }
  }
}
