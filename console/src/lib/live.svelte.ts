// One stream of events for the whole console; pages listen to topics.
import { stream, type Problem } from './api'

/** `operation_log`: lines of a running operation's log; they come with the topic `operation`. `gap`: events were missed; all listen. */
export type Topic = 'block' | 'contract_event' | 'operation' | 'operation_log' | 'node' | 'gap'

export interface LiveEvent {
  topic: Topic
  network?: string
  channel?: string
  seq: string
  [key: string]: unknown
}

type Listener = (event: LiveEvent) => void
const listeners = new Set<{ topics: Topic[]; network?: string; take: Listener }>()
const state = $state<{ connected: boolean; started: boolean; problem: Problem | null }>({ connected: false, started: false, problem: null })
let stop: AbortController | null = null

function tell(event: LiveEvent): void {
  for (const l of [...listeners]) {
    if (event.topic === 'gap' || (l.topics.includes(event.topic) && (!l.network || !event.network || l.network === event.network))) l.take(event)
  }
}

/** Starts the stream; does nothing when it runs. */
export function connect(): void {
  if (stop) return
  const own = (stop = new AbortController())
  state.started = true
  state.problem = null
  stream(
    '/events',
    { topics: 'block,contract_event,operation,node' },
    (raw) => {
      let data: Record<string, unknown>
      try {
        data = JSON.parse(raw.data)
      } catch {
        return
      }
      const topic = (data.topic ?? raw.event) as Topic
      tell({ ...data, topic: topic === 'operation' && data.lines ? 'operation_log' : topic, seq: raw.id } as LiveEvent)
    },
    own.signal,
    (connected) => {
      if (stop === own) state.connected = connected
    },
  )
    .catch((problem: Problem) => {
      if (stop === own) state.problem = problem
    })
    .finally(() => {
      // A later stream may have begun meanwhile.
      if (stop !== own) return
      stop = null
      state.connected = false
    })
}

/** Ends the stream. */
export function disconnect(): void {
  stop?.abort()
  stop = null
  state.started = false
  state.connected = false
}

/** Listens to topics; gives the function that ends it. */
export function listen(topics: Topic[], take: Listener, network?: string): () => void {
  const entry = { topics, network, take }
  listeners.add(entry)
  return () => listeners.delete(entry)
}

export const live = {
  get connected() {
    return state.connected
  },
  get started() {
    return state.started
  },
  /** Why it ended for good. */
  get problem() {
    return state.problem
  },
}
