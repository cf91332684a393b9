// A node's state in the one vocabulary.
import type { NodeRow } from './types'

/** From the platform's record, the process and the node's own answer. */
export function nodeState(row: NodeRow): string {
  const process = row.observed?.state ?? row.state
  if (process === 'stopped' || process === 'exited' || process === 'absent') return 'stopped'
  if (row.health && row.health.reachable) return row.health.problem ? 'degraded' : 'running'
  if (row.health && !row.health.reachable) return process === 'failed' || process === 'crashed' ? 'failed' : 'unreachable'
  return process || 'unknown'
}
