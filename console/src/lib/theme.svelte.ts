// Light, dark or as the system says.
export type Theme = 'system' | 'light' | 'dark'

const stored = localStorage.getItem('konsort.theme')
const state = $state<{ theme: Theme }>({ theme: stored === 'light' || stored === 'dark' ? stored : 'system' })

function show(): void {
  if (state.theme === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = state.theme
}
show()

export const theme = {
  get value() {
    return state.theme
  },
  set value(value: Theme) {
    state.theme = value
    localStorage.setItem('konsort.theme', value)
    show()
  },
}
