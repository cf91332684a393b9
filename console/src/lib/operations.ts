// Logs of operations.
import { get } from './api'

interface Line {
  seq: number
  at: string
  step: string
  line: string
}

/** The log of an operation, its last 20 000 lines at most. */
export async function readLog(id: string): Promise<string[]> {
  const lines: string[] = []
  let from = 0
  for (let page = 0; page < 4; page++) {
    const answer = await get<{ items: Line[]; next: number }>(`/operations/${id}/log`, { query: { from, limit: 5000 } })
    lines.push(...answer.items.map((line) => line.line))
    if (answer.items.length < 5000) break
    from = answer.next
  }
  return lines
}
