// Ready-made networks for trying things out, each with a sample contract. It goes on while a person looks at other pages.
import { get, post, refusal, toFault, type Problem } from './api'
import { language, t } from './i18n.svelte'
import type { Engine, NetworkRequest, Operation, Project } from './types'

export const quickRequest = (engine: Engine, name: string): NetworkRequest =>
  engine === 'fabric'
    ? { name, engine, driver: 'process', consensus: 'raft', orderers: 1, organisations: [{ name: 'Org1', nodes: 1 }, { name: 'Org2', nodes: 1 }] }
    : { name, engine, driver: 'process', consensus: 'pbft', organisations: [{ name: 'agency1', nodes: 2 }, { name: 'agency2', nodes: 2 }] }

/** One engine's way: its network, then its contract. */
export class Trial {
  creation = $state.raw<Operation | null>(null)
  deployment = $state.raw<Operation | null>(null)
  problem = $state.raw<Problem | null>(null)
  running = $state(false)

  constructor(readonly engine: Engine) {}

  get network(): string {
    return this.creation?.network ?? ''
  }
  get contract(): string {
    const o = this.deployment
    return o?.state === 'done' ? String(o.result?.contract ?? o.request?.contract ?? '') : ''
  }

  /** Begins, or goes on behind what is done. */
  run = async (): Promise<void> => {
    if (this.running) return
    this.running = true
    this.problem = null
    try {
      if (this.creation?.state === 'failed') this.creation = await post<Operation>(`/operations/${this.creation.id}/retry`)
      this.creation ??= await post<Operation>('/networks', quickRequest(this.engine, t(`quick.${this.engine}_name`)))
      this.creation = await this.#follow(this.creation, (o) => (this.creation = o))
      if (this.deployment?.state === 'failed') this.deployment = await post<Operation>(`/operations/${this.deployment.id}/retry`)
      this.deployment ??= await post<Operation>(`/networks/${this.network}/contracts`, await this.#sample())
      this.deployment = await this.#follow(this.deployment, (o) => (this.deployment = o))
    } catch (error) {
      this.problem = toFault(error)
    }
    this.running = false
  }

  async #sample(): Promise<Record<string, unknown>> {
    if (this.engine === 'fabric') return { name: 'basic', artifact: { kind: 'builtin', name: 'asset-transfer' } }
    const project = await post<Project>('/projects', { name: 'SimpleStorage', language: 'solidity', sample: 'solidity-simple-storage' })
    return { name: 'SimpleStorage', project: project.id, contract_name: 'SimpleStorage', arguments: ['42'] }
  }
  async #follow(operation: Operation, show: (operation: Operation) => void): Promise<Operation> {
    let now = operation
    while (now.state === 'pending' || now.state === 'running') {
      await new Promise((done) => setTimeout(done, 1000))
      now = await get<Operation>(`/operations/${now.id}`)
      show(now)
    }
    const step = now.steps.find((s) => s.state === 'failed')
    if (now.state !== 'done') throw refusal(t('welcome.failed', { name: now.subject || now.id }), step?.error?.cause, (language() === 'zh' && step?.error?.remedy_zh) || step?.error?.remedy)
    return now
  }
}

const state = $state<{ trials: Trial[] }>({ trials: [] })

export const quick = {
  get trials() {
    return state.trials
  },
}

/** Creates one network of each engine and deploys a contract on it; what fails of one leaves the other alone. */
export async function tryEverything(): Promise<void> {
  if (!state.trials.length) state.trials = [new Trial('fabric'), new Trial('bcos')]
  await Promise.allSettled(state.trials.map((trial) => trial.run()))
}
