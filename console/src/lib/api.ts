// The client of the REST API: session cookie with CSRF header, problems in words, pages, files, server-sent events with resume.
import { language, t } from './i18n.svelte'

/** What went wrong: cause, effect and what to do. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly title: string,
    /** Why it happened. */
    readonly cause_text: string,
    /** What to do. */
    readonly hint: string,
    readonly params: Record<string, unknown> = {},
    readonly trace: string = '',
  ) {
    super(cause_text || title)
  }

  /** What it means for the person's work. */
  get effect(): string {
    if (this.status === 0) return t('problem.effect_unknown')
    if (this.status === 401) return t('problem.effect_session')
    if (this.status < 500) return t('problem.effect_nothing_changed')
    return t('problem.effect_maybe')
  }

  /** The field of the request at fault, when the server names one. */
  get field(): string | null {
    const field = this.params.field ?? this.params.path
    return typeof field === 'string' ? field : null
  }
}

let csrf = ''
let onSignedOut: () => void = () => {}

/** Sets the token that writes carry. */
export function setCsrf(token: string): void {
  csrf = token
}

/** What to do when the server says that the session has ended. */
export function whenSignedOut(act: () => void): void {
  onSignedOut = act
}

type Query = Record<string, string | number | boolean | null | undefined>

export interface Options {
  query?: Query
  body?: unknown
  raw?: BodyInit
  headers?: Record<string, string>
  /** Version for If-Match. */
  version?: string | number
  signal?: AbortSignal
  /** A 401 is an answer, not the end of the session. */
  quiet?: boolean
}

export function address(path: string, query: Query = {}): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') search.set(name, String(value))
  }
  const text = search.toString()
  return `/v1${path}${text ? (path.includes('?') ? '&' : '?') + text : ''}`
}

async function send(method: string, path: string, options: Options): Promise<Response> {
  const headers: Record<string, string> = { 'accept-language': language(), accept: 'application/json', ...options.headers }
  let body: BodyInit | undefined = options.raw
  if (options.body !== undefined) {
    headers['content-type'] = 'application/json'
    body = JSON.stringify(options.body)
  }
  if (method !== 'GET') {
    headers['x-csrf-token'] = csrf
    if (method === 'POST') headers['idempotency-key'] = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`
    if (options.version !== undefined) headers['if-match'] = `"${options.version}"`
  }
  let answer: Response
  try {
    answer = await fetch(address(path, options.query), { method, headers, body, signal: options.signal, credentials: 'same-origin' })
  } catch (error) {
    if ((error as Error).name === 'AbortError') throw error
    throw new Problem(0, 'unreachable', t('problem.unreachable'), t('problem.unreachable_cause'), t('problem.unreachable_hint'))
  }
  if (answer.ok) return answer
  const problem = await toProblem(answer)
  if (answer.status === 401 && !options.quiet) onSignedOut()
  throw problem
}

async function toProblem(answer: Response): Promise<Problem> {
  const text = await answer.text().catch(() => '')
  try {
    const p = JSON.parse(text)
    return new Problem(answer.status, p.code ?? '', p.title ?? answer.statusText, p.detail ?? '', p.hint ?? '', p.params ?? {}, p.trace_id ?? '')
  } catch {
    return new Problem(answer.status, `http_${answer.status}`, t('problem.plain', { status: answer.status }), text.slice(0, 400), t('problem.plain_hint'))
  }
}

async function json<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const answer = await send(method, path, options)
  if (answer.status === 204) return undefined as T
  const text = await answer.text()
  return (text ? JSON.parse(text) : undefined) as T
}

export const get = <T>(path: string, options?: Options) => json<T>('GET', path, options)
export const post = <T>(path: string, body?: unknown, options: Options = {}) => json<T>('POST', path, { ...options, body: body ?? {} })
export const put = <T>(path: string, body?: unknown, options: Options = {}) => json<T>('PUT', path, { ...options, body })
export const patch = <T>(path: string, body: unknown, options: Options = {}) => json<T>('PATCH', path, { ...options, body })
export const remove = <T>(path: string, options?: Options) => json<T>('DELETE', path, options)

/** Text of a file. */
export async function text(path: string, options: Options = {}): Promise<string> {
  const answer = await send('GET', path, { ...options, headers: { accept: '*/*' } })
  return answer.text()
}

/** Sends bytes or text as they are. */
export const putRaw = <T>(path: string, raw: BodyInit, type: string, options: Options = {}) =>
  json<T>('PUT', path, { ...options, raw, headers: { 'content-type': type } })

/** Fetches a file and gives it to the browser to save. */
export async function download(path: string, name: string, query?: Query): Promise<void> {
  const answer = await send('GET', path, { query, headers: { accept: '*/*' } })
  const given = /filename="?([^";]+)"?/.exec(answer.headers.get('content-disposition') ?? '')?.[1]
  const link = document.createElement('a')
  link.href = URL.createObjectURL(await answer.blob())
  link.download = given ?? name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

export interface Page<T> {
  items: T[]
  next_page_token?: string | null
}

/** Lists come as pages; some are short enough to come as an array. */
export function items<T>(answer: Page<T> | T[] | undefined | null): T[] {
  if (!answer) return []
  return Array.isArray(answer) ? answer : (answer.items ?? [])
}

/** All items of a list, page by page, up to a bound. */
export async function all<T>(path: string, query: Query = {}, bound = 1000): Promise<T[]> {
  const found: T[] = []
  let token: string | null | undefined
  do {
    const page: Page<T> = await get(path, { query: { page_size: 200, ...query, page_token: token } })
    found.push(...items(page))
    token = page.next_page_token
  } while (token && found.length < bound)
  return found
}

export interface StreamEvent {
  id: string
  event: string
  data: string
}

/** Reads server-sent events; after a break it goes on behind the last event seen. Ends when the signal fires. */
export async function stream(
  path: string,
  query: Query,
  take: (event: StreamEvent) => void,
  signal: AbortSignal,
  state: (connected: boolean) => void = () => {},
): Promise<void> {
  let last = ''
  let wait = 500
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream', 'accept-language': language() }
      if (last) headers['last-event-id'] = last
      const answer = await fetch(address(path, query), { headers, signal, credentials: 'same-origin', cache: 'no-store' })
      if (answer.status === 401 || answer.status === 403 || answer.status === 404) return
      if (!answer.ok || !answer.body) throw new Error(String(answer.status))
      state(true)
      wait = 500
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
      let buffer = ''
      let event: StreamEvent = { id: '', event: 'message', data: '' }
      let lines = 0
      for (;;) {
        const { value, done } = await reader.read()
        if (done) break
        buffer += value
        let end: number
        while ((end = buffer.indexOf('\n')) >= 0) {
          const line = buffer.slice(0, end).replace(/\r$/, '')
          buffer = buffer.slice(end + 1)
          if (line === '') {
            if (lines) {
              if (event.id) last = event.id
              take(event)
            }
            event = { id: '', event: 'message', data: '' }
            lines = 0
          } else if (!line.startsWith(':')) {
            const colon = line.indexOf(':')
            const name = colon < 0 ? line : line.slice(0, colon)
            const content = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
            if (name === 'data') {
              event.data += (lines++ ? '\n' : '') + content
            } else if (name === 'id') event.id = content
            else if (name === 'event') event.event = content
          }
        }
      }
    } catch {
      if (signal.aborted) return
    }
    state(false)
    await new Promise((done) => setTimeout(done, wait))
    wait = Math.min(wait * 2, 10_000)
  }
}
