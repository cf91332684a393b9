// A trace as the debugger shows it, from what the platform explained or from what the node itself tells.
import type { CallNode, StorageChange, Trace, TraceStep } from './types'

interface RawStep {
  pc: number
  op: string
  gas: number
  gasCost?: number
  depth: number
  stack?: string[]
  memory?: string | string[]
  error?: string
}
interface RawCall {
  type?: string
  to?: string
  input?: string
  error?: string
  value?: string
  calls?: RawCall[]
}
type Difference = Record<string, { storage?: Record<string, { before?: string; after?: string }>; [field: string]: unknown }>

/** Storage and accounts that differ, one line each. */
export function differences(difference: unknown): StorageChange[] {
  if (!difference || typeof difference !== 'object' || Array.isArray(difference)) return []
  const changes: StorageChange[] = []
  for (const [address, account] of Object.entries(difference as Difference)) {
    if (!account || typeof account !== 'object') continue
    for (const [slot, change] of Object.entries(account.storage ?? {})) changes.push({ address, slot, variable: '', kind: '', before: change.before, after: String(change.after ?? '') })
    for (const field of ['balance', 'nonce', 'code']) {
      const change = account[field] as { before?: unknown; after?: unknown } | undefined
      if (change && 'after' in change) changes.push({ address, slot: '', variable: field, kind: '', before: change.before === null || change.before === undefined ? null : String(change.before), after: String(change.after) })
    }
  }
  return changes
}

function tree(call: RawCall, names: Record<string, string>): CallNode {
  return {
    kind: call.type ?? 'CALL',
    address: call.to ?? '',
    contract: names[call.to?.toLowerCase() ?? ''] ?? '',
    method: names[call.input?.slice(0, 10) ?? ''] ?? (call.input && call.input.length >= 10 ? call.input.slice(0, 10) : ''),
    first_step: -1,
    last_step: -1,
    ok: !call.error,
    value: call.value,
    calls: (call.calls ?? []).map((inner) => tree(inner, names)),
  }
}

/** Gives each call the steps it spans: a call begins where the depth grows and ends where it falls back. */
function span(root: CallNode, steps: TraceStep[]): void {
  const open: { node: CallNode; next: number }[] = []
  steps.forEach((step, i) => {
    while (open.length > step.depth) open.pop()
    while (open.length < step.depth) {
      const parent = open.at(-1)
      const node = parent ? parent.node.calls[parent.next++] : root
      if (!node) return
      node.first_step = i
      open.push({ node, next: 0 })
      // Calls of contracts without code make no steps of their own.
    }
    for (const { node } of open) node.last_step = i
    const current = open.at(-1)
    if (current) step.address ||= current.node.address
  })
}

/** One shape for both. `names`: methods by selector, contracts by address. */
export function readTrace(raw: Record<string, unknown> | undefined, names: Record<string, string> = {}): Trace | undefined {
  if (!raw) return undefined
  if (Array.isArray(raw.steps) || !Array.isArray(raw.structLogs)) return raw as Trace
  const steps = (raw.structLogs as RawStep[]).map(
    (step, index): TraceStep => ({ index, pc: step.pc, op: step.op, gas: step.gas, cost: step.gasCost ?? 0, depth: step.depth, address: '', file: '', line: 0, column: 0, end_line: 0, end_column: 0, error: step.error, stack: step.stack }),
  )
  const calls = raw.calls ? tree(raw.calls as RawCall, names) : undefined
  if (calls) span(calls, steps)
  const failed = raw.failed ? steps.findLastIndex((step) => step.error || step.op === 'REVERT' || step.op === 'INVALID') : -1
  return { ...raw, steps, calls, storage: differences(raw.storage), failed_step: failed >= 0 ? failed : null, sources: {} }
}
