// Logs of operations.
import { get } from './api'

interface Line {
  seq: number
  at: string
  step: string
  line: string
}

/** Most lines that are kept. */
const KEPT = 20_000

/** Reads the log of an operation, each time what came since; gives all of it, its last 20 000 lines at most. */
export function logReader(id: string): () => Promise<string[]> {
  let lines: string[] = []
  let from = 0
  let running: Promise<string[]> | null = null
  async function read(): Promise<string[]> {
    for (let page = 0; page < 4; page++) {
      const answer = await get<{ items: Line[]; next: number }>(`/operations/${id}/log`, { query: { from, limit: 5000 } })
      if (answer.items.length) lines = [...lines, ...answer.items.map((line) => line.line)].slice(-KEPT)
      from = answer.next
      if (answer.items.length < 5000) break
    }
    return lines
  }
  // Two at once would bring the same lines twice.
  return () => (running ??= read().finally(() => (running = null)))
}
