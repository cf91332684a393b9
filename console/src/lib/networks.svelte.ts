// The networks a person sees: needed by the switcher, the palette and most pages.
import { all, toFault, type Problem } from './api'
import { listen } from './live.svelte'
import type { Network } from './types'

const state = $state<{ list: Network[]; loaded: boolean; problem: Problem | null }>({ list: [], loaded: false, problem: null })
let soon: ReturnType<typeof setTimeout> | undefined

/** Fetches the list again. */
export async function reloadNetworks(): Promise<void> {
  try {
    state.list = await all<Network>('/networks')
    state.problem = null
  } catch (error) {
    state.problem = toFault(error)
  }
  state.loaded = true
}

/** Keeps the list fresh until the returned function is called. */
export function watchNetworks(): () => void {
  void reloadNetworks()
  const again = () => {
    clearTimeout(soon)
    soon = setTimeout(() => void reloadNetworks(), 400)
  }
  const end = listen(['operation', 'node'], again)
  return () => {
    clearTimeout(soon)
    end()
  }
}

export const networks = {
  get list() {
    return state.list
  },
  get loaded() {
    return state.loaded
  },
  get problem() {
    return state.problem
  },
  find(id: string | undefined | null): Network | undefined {
    return state.list.find((network) => network.id === id)
  },
  /** The network a person last looked at, else the first. */
  get chosen(): Network | undefined {
    const id = sessionStorage.getItem('konsort.network')
    return state.list.find((network) => network.id === id) ?? state.list[0]
  },
}

/** Remembers the network a person looks at. */
export function choose(id: string): void {
  sessionStorage.setItem('konsort.network', id)
}
