// The time as it passes, for "3 minutes ago"; one timer for all.
const state = $state({ now: Date.now() })
setInterval(() => {
  if (document.visibilityState === 'visible') state.now = Date.now()
}, 5000)

export const clock = {
  get now() {
    return state.now
  },
}
