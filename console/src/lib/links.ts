// Addresses of things.
import type { SearchHit } from './types'

export const txHref = (network: string, id: string, channel?: string) =>
  `/explorer/${network}/transactions/${encodeURIComponent(id)}${channel ? `?channel=${encodeURIComponent(channel)}` : ''}`

export const blockHref = (network: string, height: number | string, channel?: string) =>
  `/explorer/${network}/blocks/${height}${channel ? `?channel=${encodeURIComponent(channel)}` : ''}`

const SEEN = 'konsort.transaction_seen'

/** Whether somebody has looked at a transaction in this browser: the last step of the quick start. */
export const transactionSeen = (): boolean => localStorage.getItem(SEEN) !== null

/** Notes that somebody looks at one. */
export const seeTransaction = (): void => localStorage.setItem(SEEN, '1')

/** Where a search hit leads. */
export function hitHref(hit: SearchHit): string {
  const network = hit.network ?? ''
  switch (hit.kind) {
    case 'block':
      return blockHref(network, hit.id, hit.channel ?? undefined)
    case 'transaction':
      return txHref(network, hit.id, hit.channel ?? undefined)
    case 'network':
      return `/networks/${hit.id}`
    case 'node':
      return `/networks/${network}/nodes/${encodeURIComponent(hit.id)}`
    case 'channel':
      return `/networks/${network}/channels?channel=${encodeURIComponent(hit.id)}`
    case 'contract':
      return hit.id.startsWith('ctr_') ? `/contracts/deployed/${hit.id}` : `/explorer/${network}?tab=transactions&contract=${encodeURIComponent(hit.id)}`
    case 'project':
      return `/contracts/projects/${hit.id}`
    case 'organisation':
      return '/members'
    case 'address':
      return `/explorer/${network}?tab=transactions&from=${encodeURIComponent(hit.id)}`
    default:
      return `/search?q=${encodeURIComponent(hit.id)}`
  }
}
