// Health of networks as lists show it: from the network's record, fresher from the events of its blocks.
import { number } from './format'
import { listen } from './live.svelte'
import type { Network } from './types'

interface Seen {
  height: number
  days: Record<string, number>
}
const seen = $state<Record<string, Seen>>({})

function of(network: string): Seen {
  return (seen[network] ??= { height: -1, days: {} })
}

listen(['block'], (event) => {
  const height = Number(event.height)
  if (event.network && Number.isFinite(height)) of(event.network).height = Math.max(of(event.network).height, height)
})
/** Remembers what a list of nodes said of certificates. */
export function noteCertificates(network: string, nodes: { id: string; certificate_days?: number | null }[]): void {
  for (const node of nodes) if (typeof node.certificate_days === 'number') of(network).days[node.id] = node.certificate_days
}

/** Newest height of a network's first channel. */
export function netHeight(network: Network): string {
  return number(network.channels.length > 1 ? network.height : Math.max(network.height, seen[network.id]?.height ?? 0))
}

/** `3 / 4` nodes that answer. */
export function nodesUp(network: Network): string {
  return `${network.nodes.running} / ${network.nodes.total}`
}

/** Nodes whose certificates expire within 60 days. */
export function expiring(networks: Network[]): { network: Network; node: string; days: number }[] {
  return networks
    .flatMap((network) => Object.entries(seen[network.id]?.days ?? {}).map(([node, days]) => ({ network, node, days })))
    .filter((item) => item.days <= 60)
    .sort((a, b) => a.days - b.days)
    .slice(0, 6)
}
