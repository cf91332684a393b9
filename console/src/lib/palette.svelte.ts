// The command palette: open or not, and the keys that lead to it.
import { go } from './router.svelte'
import { session } from './session.svelte'

const state = $state({ open: false })
let first = ''
let firstAt = 0


const LEAPS: Record<string, string> = { h: '/', n: '/networks', c: '/contracts', e: '/explorer', m: '/members', o: '/operations', a: '/access', u: '/audit', s: '/settings' }

export const palette = {
  get open() {
    return state.open
  },
  set open(value: boolean) {
    state.open = value
  },
  /** Ctrl/Cmd-K and / open it; g then a letter goes to a page. */
  keys(event: KeyboardEvent): void {
    if (!session.current) return
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault()
      state.open = !state.open
      return
    }
    const target = event.target as HTMLElement
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable || target.closest('dialog')
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return
    if (event.key === '/') {
      event.preventDefault()
      state.open = true
    } else if (first === 'g' && Date.now() - firstAt < 1200 && LEAPS[event.key]) {
      event.preventDefault()
      go(LEAPS[event.key])
      first = ''
    } else {
      first = event.key
      firstAt = Date.now()
    }
  },
}
