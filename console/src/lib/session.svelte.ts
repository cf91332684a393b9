// Who is signed in and what they may do.
import { get, post, remove, setCsrf, whenSignedOut, type Problem } from './api'
import { setLanguage } from './i18n.svelte'
import { connect, disconnect } from './live.svelte'
import type { Session, User } from './types'

const state = $state<{ session: Session | null; ready: boolean }>({ session: null, ready: false })

function begin(session: Session): void {
  state.session = session
  state.ready = true
  setCsrf(session.csrf_token)
  if (session.user.language && !localStorage.getItem('konsort.language')) void setLanguage(session.user.language, false)
  connect()
}

/** Loads anew, so that nothing of who was here stays in this window. */
function leave(to: string): void {
  disconnect()
  sessionStorage.clear()
  location.assign(to)
}

whenSignedOut(() => {
  if (state.session) leave(`/login?next=${encodeURIComponent(location.pathname + location.search)}`)
})

/** Asks the server whether a session is there. */
export async function resume(): Promise<void> {
  try {
    begin(await get<Session>('/session', { quiet: true }))
  } catch (error) {
    state.session = null
    if ((error as Problem).status !== 401) throw error
  } finally {
    state.ready = true
  }
}

async function started(answer: Session | undefined): Promise<void> {
  begin(answer?.csrf_token && answer.permissions ? answer : await get<Session>('/session', { quiet: true }))
}

export async function signIn(username: string, password: string): Promise<void> {
  await started(await post<Session>('/session', { username, password }, { quiet: true }))
}

export async function setUp(body: Record<string, string>): Promise<void> {
  await started(await post<Session>('/setup', body, { quiet: true }))
}

/** Ends the session; throws when the server does not say that it has ended. */
export async function signOut(): Promise<void> {
  await remove('/session', { quiet: true }).catch((problem: Problem) => {
    if (problem.status !== 401) throw problem
  })
  leave('/login')
}

export function roleOf(user: User | undefined): string {
  return user?.role ?? user?.roles?.[0] ?? ''
}

/** The endpoint that stands for an area. */
const AREAS = {
  networks: 'POST /v1/networks',
  contracts: 'POST /v1/projects',
  calls: 'POST /v1/contracts/{id}/methods/{method}',
  access: 'POST /v1/users',
  platform: 'PATCH /v1/settings',
}

/** Whether the person may use an endpoint, as the server says. */
export const can = (endpoint: string): boolean => state.session?.permissions?.includes(endpoint) ?? false

/** Whether the person may change things of an area; the server has the last word. */
export const may = (area: keyof typeof AREAS): boolean => can(AREAS[area])

export const session = {
  get current() {
    return state.session
  },
  get user() {
    return state.session?.user
  },
  get ready() {
    return state.ready
  },
}
