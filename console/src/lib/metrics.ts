// Metrics of a network as series of equal length.
export interface Series {
  label: string
  values: (number | null)[]
}
export interface Metrics {
  times: number[]
  tps: Series[]
  height: Series[]
  block_time: Series[]
  cpu: Series[]
  memory: Series[]
}
type Points = { at?: number | string; time?: number | string; t?: number | string; [key: string]: unknown }[]

const seconds = (value: unknown): number => {
  const ms = typeof value === 'number' ? (value > 1e11 ? value : value * 1000) : Date.parse(String(value))
  return ms / 1000
}
const numberOr = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null)

/** Reads `{points: [{at, tps, height, block_time_ms, nodes: {id: {cpu, memory}}}]}`; absent figures are gaps. */
export function readMetrics(raw: unknown): Metrics {
  const points = ((raw as { points?: Points; items?: Points } | undefined)?.points ?? (raw as { items?: Points } | undefined)?.items ?? []) as Points
  const times = points.map((p) => seconds(p.at ?? p.time ?? p.t))
  const one = (label: string, pick: (p: Points[number]) => unknown): Series[] => [{ label, values: points.map((p) => numberOr(pick(p))) }]
  const nodesOf = (p: Points[number]): Record<string, Record<string, unknown>> => {
    const nodes = p.nodes
    if (Array.isArray(nodes)) return Object.fromEntries(nodes.map((n) => [String(n.node ?? n.id), n]))
    return (nodes ?? {}) as Record<string, Record<string, unknown>>
  }
  const names = [...new Set(points.flatMap((p) => Object.keys(nodesOf(p))))].sort()
  const each = (pick: (n: Record<string, unknown>) => number | null): Series[] => names.map((name) => ({ label: name, values: points.map((p) => (nodesOf(p)[name] ? pick(nodesOf(p)[name]) : null)) }))
  const mega = (value: number | null) => (value === null ? null : value / 1048576)
  return {
    times,
    tps: one('tx/s', (p) => p.tps),
    height: one('height', (p) => p.height),
    block_time: one('s', (p) => (typeof p.block_time_ms === 'number' ? p.block_time_ms / 1000 : p.block_time)),
    cpu: each((n) => numberOr(n.cpu ?? n.cpu_percent)),
    memory: each((n) => mega(numberOr(n.memory))),
  }
}
