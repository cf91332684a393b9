// Metrics of a network as series over one time axis.
export interface Series {
  label: string
  values: (number | null)[]
}
export interface Charts {
  times: number[]
  tps: Series[]
  height: Series[]
  block_time: Series[]
  cpu: Series[]
  memory: Series[]
}
export interface Metrics {
  from: number
  to: number
  step: number
  network: { at: number; tps: number; block_time?: number | null }[]
  nodes: Record<string, { at: number; height: number; cpu: number; memory: number }[]>
}

/** Puts what was measured into slots of one step; what was not measured is a gap. */
export function readMetrics(raw: Metrics | undefined): Charts {
  const charts: Charts = { times: [], tps: [], height: [], block_time: [], cpu: [], memory: [] }
  if (!raw || raw.step <= 0) return charts
  const count = Math.min(4000, Math.ceil((raw.to - raw.from) / raw.step))
  charts.times = Array.from({ length: count }, (_, i) => (raw.from + i * raw.step) / 1000)
  const spread = <P extends { at: number }>(label: string, points: P[], pick: (point: P) => number | null | undefined): Series => {
    const values: (number | null)[] = new Array(count).fill(null)
    for (const point of points) {
      const slot = Math.floor((point.at - raw.from) / raw.step)
      if (slot >= 0 && slot < count) values[slot] = pick(point) ?? null
    }
    return { label, values }
  }
  charts.tps = [spread('tx/s', raw.network, (p) => p.tps)]
  charts.block_time = [spread('s', raw.network, (p) => (typeof p.block_time === 'number' ? p.block_time / 1000 : null))]
  for (const [node, points] of Object.entries(raw.nodes)) {
    charts.height.push(spread(node, points, (p) => p.height))
    charts.cpu.push(spread(node, points, (p) => p.cpu * 100))
    charts.memory.push(spread(node, points, (p) => p.memory / 1048576))
  }
  return charts
}
