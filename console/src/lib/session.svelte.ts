// Who is signed in and what they may do.
import { get, post, remove, setCsrf, whenSignedOut, type Problem } from './api'
import { setLanguage } from './i18n.svelte'
import { connect, disconnect } from './live.svelte'
import { forget } from './query.svelte'
import { go } from './router.svelte'
import type { Session, User } from './types'

const state = $state<{ session: Session | null; ready: boolean }>({ session: null, ready: false })

function begin(session: Session): void {
  state.session = session
  state.ready = true
  setCsrf(session.csrf_token)
  if (session.user.language && !localStorage.getItem('konsort.language')) void setLanguage(session.user.language, false)
  connect()
}

function ended(): void {
  state.session = null
  disconnect()
  forget()
}

whenSignedOut(() => {
  if (!state.session) return
  ended()
  go(`/login?next=${encodeURIComponent(location.pathname + location.search)}`, true)
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

export async function signOut(): Promise<void> {
  await remove('/session').catch(() => {})
  ended()
  go('/login', true)
}

export function roleOf(user: User | undefined): string {
  return user?.role ?? user?.roles?.[0] ?? ''
}

const WRITES: Record<string, string[]> = {
  networks: ['platform_admin', 'organisation_admin', 'operator'],
  contracts: ['platform_admin', 'organisation_admin', 'operator', 'developer'],
  calls: ['platform_admin', 'organisation_admin', 'operator', 'developer', 'application'],
  access: ['platform_admin', 'organisation_admin'],
  platform: ['platform_admin'],
}

/** Whether the person may change things of an area; the server has the last word. */
export function may(area: keyof typeof WRITES): boolean {
  const role = roleOf(state.session?.user)
  return !role || WRITES[area].includes(role)
}

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
