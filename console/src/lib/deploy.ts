// What can be deployed, and how it is called on a network.
import type { BuiltContract, Engine } from './types'

/** Interfaces and abstract contracts have no code. */
export const isDeployable = (contract: BuiltContract): boolean => {
  const c = contract as BuiltContract & { deployable?: boolean }
  return c.deployable ?? (c.bytecode === undefined || (c.bytecode !== '' && c.bytecode !== '0x'))
}

/** A name that both engines allow. */
export function slug(name: string, engine: Engine): string {
  const clean = name.replace(/[^A-Za-z0-9_-]+/g, '-').replace(/^[^A-Za-z0-9]+|-+$/g, '')
  return (engine === 'fabric' ? clean.toLowerCase() : clean).slice(0, 48) || 'contract'
}
