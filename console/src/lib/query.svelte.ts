// Server state: fetched by path, shown at once from what was seen before, fetched again when an event says so.
import { untrack } from 'svelte'
import { get, toFault, type Problem } from './api'
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
  /** While another path is fetched, what the one before gave stays: for paths that move with the clock. */
  keep?: boolean
}

export class Query<T> {
  data = $state.raw<T | undefined>()
  problem = $state.raw<Problem | null>(null)
  loading = $state(false)
  #path: string | null = null
  #again = false
  #running: Promise<void> | null = null
  #stop: AbortController | null = null
  #soon: ReturnType<typeof setTimeout> | undefined

  constructor(readonly keep = false) {}

  /** Fetches again. One request runs at a time: under many events every answer is shown, and the last one is of after the last event. */
  reload = (): Promise<void> => {
    if (this.#path === null) return Promise.resolve()
    this.#again = true
    this.#running ??= this.#fetch().finally(() => (this.#running = null))
    return this.#running
  }

  async #fetch(): Promise<void> {
    this.loading = true
    while (this.#again && this.#path !== null) {
      this.#again = false
      const path = this.#path
      const stop = (this.#stop = new AbortController())
      try {
        const data = await get<T>(path, { signal: stop.signal })
        if (path !== this.#path) continue
        if (!this.keep) {
          if (seen.size > 200) seen.delete(seen.keys().next().value!)
          seen.set(path, data)
        }
        this.data = data
        this.problem = null
      } catch (error) {
        if (path === this.#path && !stop.signal.aborted) this.problem = toFault(error)
      }
    }
    this.loading = false
  }

  /** Fetches again in a moment; many calls make one fetch. */
  refresh = (): void => {
    if (this.#soon) return
    this.#soon = setTimeout(() => {
      this.#soon = undefined
      void this.reload()
    }, 250)
  }

  /** Shows what is known already, as from an event. */
  put = (data: T): void => {
    if (this.#path === null) return
    seen.set(this.#path, data)
    this.data = data
  }

  set(path: string | null): void {
    if (path === this.#path) return
    this.#path = path
    this.#stop?.abort()
    this.problem = null
    if (!this.keep || path === null) this.data = path === null ? undefined : (seen.get(path) as T | undefined)
    if (path !== null) void this.reload()
  }

  end(): void {
    clearTimeout(this.#soon)
    this.#path = null
    this.#stop?.abort()
  }
}

/** A query that follows its path; call it while a component starts. */
export function query<T>(path: () => string | null, options: QueryOptions = {}): Query<T> {
  const q = new Query<T>(options.keep)
  $effect(() => {
    const p = path()
    untrack(() => q.set(p))
  })
  $effect(() => {
    const network = options.network?.()
    const ends: (() => void)[] = []
    if (options.on) ends.push(listen(options.on, (event) => (event.topic === 'gap' || !options.when || options.when(event)) && q.refresh(), network))
    if (options.every) {
      const timer = setInterval(() => document.visibilityState === 'visible' && q.refresh(), options.every)
      ends.push(() => clearInterval(timer))
    }
    return () => ends.forEach((end) => end())
  })
  $effect(() => () => q.end())
  return q
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
      this.problem = toFault(error)
      return undefined
    } finally {
      this.running = false
    }
  }
}
