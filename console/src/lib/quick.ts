// Ready-made networks for trying things out.
import { post } from './api'
import { t } from './i18n.svelte'
import type { Engine, NetworkRequest, Operation } from './types'

export const quickRequest = (engine: Engine, name: string): NetworkRequest =>
  engine === 'fabric'
    ? { name, engine, driver: 'process', consensus: 'raft', orderers: 1, organisations: [{ name: 'Org1', nodes: 1 }, { name: 'Org2', nodes: 1 }] }
    : { name, engine, driver: 'process', consensus: 'pbft', organisations: [{ name: 'agency1', nodes: 2 }, { name: 'agency2', nodes: 2 }] }

/** Creates one network of each engine. */
export async function tryEverything(): Promise<Operation[]> {
  return Promise.all([post<Operation>('/networks', quickRequest('fabric', t('quick.fabric_name'))), post<Operation>('/networks', quickRequest('bcos', t('quick.bcos_name')))])
}
