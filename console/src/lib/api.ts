// The client of the REST API: session cookie with CSRF header, problems in words, pages, files, server-sent events with resume.
import { language, t } from './i18n.svelte'
import { parseJson } from './json'

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
    if (this.status <= 0) return t('problem.effect_unknown')
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

/** What was thrown, as a problem: a fault of the console itself is said to be one. */
export function toFault(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem(-1, 'fault', t('problem.fault'), error instanceof Error ? error.message : String(error), '')
}

/** What a person has to put right before anything is sent. */
export const refusal = (title: string, cause = '', hint = ''): Problem => new Problem(422, 'refused', title, cause, hint)

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
  /** Version for If-Match; empty: there must be none yet. */
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

// A write that got no answer keeps its key: sent again, it is carried out once. What was refused changed nothing and may use it again.
const unanswered = new Map<string, string>()

async function send(method: string, path: string, options: Options): Promise<Response> {
  const headers: Record<string, string> = { 'accept-language': language(), accept: 'application/json', ...options.headers }
  let body: BodyInit | undefined = options.raw
  if (options.body !== undefined) {
    headers['content-type'] = 'application/json'
    body = JSON.stringify(options.body)
  }
  if (method !== 'GET') {
    headers['x-csrf-token'] = csrf
    if (options.version === '') headers['if-none-match'] = '*'
    else if (options.version !== undefined) headers['if-match'] = `"${options.version}"`
  }
  const request = `${path} ${JSON.stringify(options.query)} ${typeof body === 'string' ? body : ''}`
  const changes = method === 'POST' && !options.query?.dry_run && !path.endsWith('/simulate')
  if (changes) {
    const key = unanswered.get(request) ?? crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`
    unanswered.set(request, key)
    headers['idempotency-key'] = key
  }
  let answer: Response
  try {
    answer = await fetch(address(path, options.query), { method, headers, body, signal: options.signal, credentials: 'same-origin' })
  } catch (error) {
    if ((error as Error).name === 'AbortError') throw error
    throw new Problem(0, 'unreachable', t('problem.unreachable'), t('problem.unreachable_cause'), t('problem.unreachable_hint'))
  }
  if (answer.ok) {
    unanswered.delete(request)
    return answer
  }
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
  return (text ? parseJson(text) : undefined) as T
}

export const get = <T>(path: string, options?: Options) => json<T>('GET', path, options)
export const post = <T>(path: string, body?: unknown, options: Options = {}) => json<T>('POST', path, { ...options, body: body ?? {} })
export const put = <T>(path: string, body?: unknown, options: Options = {}) => json<T>('PUT', path, { ...options, body })
export const patch = <T>(path: string, body: unknown, options: Options = {}) => json<T>('PATCH', path, { ...options, body })
export const remove = <T>(path: string, options?: Options) => json<T>('DELETE', path, options)

/** Text of a file, and the tag of its version. */
export async function text(path: string): Promise<{ text: string; tag: string }> {
  const answer = await send('GET', path, { headers: { accept: '*/*' } })
  return { text: await answer.text(), tag: (answer.headers.get('etag') ?? '').replace(/^W\/|"/g, '') }
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

/** A stream on which nothing came for so long is broken: the server says something every 15 s. */
const SILENCE = 45_000

/** Reads server-sent events; after a break it goes on behind the last event seen. Ends when the signal fires; throws when it may not be read. */
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
    const silent = new AbortController()
    let watchdog: ReturnType<typeof setTimeout> | undefined
    const heard = () => {
      clearTimeout(watchdog)
      watchdog = setTimeout(() => silent.abort(), SILENCE)
    }
    const end = () => silent.abort()
    signal.addEventListener('abort', end, { once: true })
    try {
      heard()
      const headers: Record<string, string> = { accept: 'text/event-stream', 'accept-language': language() }
      if (last) headers['last-event-id'] = last
      const answer = await fetch(address(path, query), { headers, signal: silent.signal, credentials: 'same-origin', cache: 'no-store' })
      if (answer.status === 401 || answer.status === 403 || answer.status === 404) {
        if (answer.status === 401) onSignedOut()
        throw await toProblem(answer)
      }
      if (!answer.ok || !answer.body) throw new Error(String(answer.status))
      state(true)
      wait = 500
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
      const events = reading((event) => {
        if (event.id) last = event.id
        take(event)
      })
      for (;;) {
        const { value, done } = await reader.read()
        if (done) break
        heard()
        events(value)
      }
    } catch (error) {
      if (error instanceof Problem) throw error
    } finally {
      clearTimeout(watchdog)
      signal.removeEventListener('abort', end)
    }
    if (signal.aborted) return
    state(false)
    await new Promise<void>((done) => {
      const go = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', go)
        done()
      }
      const timer = setTimeout(go, wait)
      signal.addEventListener('abort', go)
    })
    wait = Math.min(wait * 2, 10_000)
  }
}

/** Takes pieces of a stream and gives its events. */
function reading(take: (event: StreamEvent) => void): (piece: string) => void {
  let buffer = ''
  let event: StreamEvent = { id: '', event: 'message', data: '' }
  let lines = 0
  return (piece) => {
    buffer += piece
    let end: number
    while ((end = buffer.indexOf('\n')) >= 0) {
      const line = buffer.slice(0, end).replace(/\r$/, '')
      buffer = buffer.slice(end + 1)
      if (line === '') {
        if (lines) take(event)
        event = { id: '', event: 'message', data: '' }
        lines = 0
      } else if (!line.startsWith(':')) {
        const colon = line.indexOf(':')
        const name = colon < 0 ? line : line.slice(0, colon)
        const content = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
        if (name === 'data') event.data += (lines++ ? '\n' : '') + content
        else if (name === 'id') event.id = content
        else if (name === 'event') event.event = content
      }
    }
  }
}
