// One stream of events for the whole console; pages listen to topics.
import { stream } from './api'

/** `operation_log`: lines of a running operation's log; they come with the topic `operation`. */
export type Topic = 'block' | 'transaction' | 'contract_event' | 'operation' | 'operation_log' | 'node'

export interface LiveEvent {
  topic: Topic
  network?: string
  channel?: string
  seq: string
  [key: string]: unknown
}

type Listener = (event: LiveEvent) => void
const listeners = new Set<{ topics: Topic[]; network?: string; take: Listener }>()
const state = $state({ connected: false, started: false })
let stop: AbortController | null = null

/** Starts the stream; does nothing when it runs. */
export function connect(): void {
  if (stop) return
  stop = new AbortController()
  state.started = true
  void stream(
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
      const event = { ...data, topic: topic === 'operation' && data.lines ? 'operation_log' : topic, seq: raw.id } as LiveEvent
      for (const l of [...listeners]) {
        if (l.topics.includes(event.topic) && (!l.network || !event.network || l.network === event.network)) l.take(event)
      }
    },
    stop.signal,
    (connected) => (state.connected = connected),
  ).finally(() => {
    stop = null
    state.connected = false
  })
}

/** Ends the stream. */
export function disconnect(): void {
  stop?.abort()
  stop = null
  state.started = false
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
}
