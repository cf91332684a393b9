// Fails on a message key that is missing in a language, that no source uses, or that a source uses and no language has.
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const read = (name) => JSON.parse(readFileSync(join(root, 'src/messages', name), 'utf8'))
const languages = { en: read('en.json'), zh: read('zh.json') }
const faults = []

function* sources(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    if (statSync(path).isDirectory()) yield* sources(path)
    else if (/\.(ts|svelte)$/.test(name)) yield path
  }
}

// What stands for the parts of keys that are computed: the values that the server and the pages have.
const ENGINES = ['fabric', 'bcos']
const ROLES = ['platform_admin', 'organisation_admin', 'operator', 'developer', 'auditor', 'application']
const NODE_ROLES = ['peer', 'orderer', 'sealer', 'observer']
const CONSENSUS = ['raft', 'pbft', 'rpbft']
const STATES = ['pending', 'running', 'degraded', 'stopped', 'failed', 'deleting', 'done', 'cancelled', 'unknown', 'working', 'deployed', 'valid', 'invalid', 'revoked', 'active', 'disabled', 'abandoned']
const VALUES = {
  'act.*': ['create', 'start', 'stop', 'delete', 'add_node', 'remove_node', 'node', 'set_role', 'create_channel', 'configure', 'add_organisation', 'deploy', 'build', 'issue_identity', 'revoke_identity'],
  'chansetting.*': ['batch_timeout', 'max_message_count', 'absolute_max_bytes', 'preferred_max_bytes', 'tx_count_limit', 'consensus_leader_period', 'tx_gas_limit', 'tx_gas_price', 'feature_evm_cancun', 'feature_rpbft_epoch_sealer_num', 'feature_rpbft_epoch_block_num'],
  'consensus.*': [...CONSENSUS, 'etcdraft'],
  'deploy.name_hint_*': ENGINES,
  'deploy.no_network_*': ENGINES,
  'driver.*': ['process', 'docker', 'external'],
  'engine.*': ENGINES,
  'home.quick_*': [1, 2, 3, 4],
  'identity.issue_text_*': ENGINES,
  'identityrole.*': ['admin', 'client', 'peer', 'orderer', 'account', 'auditor'],
  'monitoring.*': ['15m', '1h', '6h', '24h', '7d'],
  'node.*': ['start', 'stop', 'restart', 'remove'],
  'node.*_text': ['start', 'stop', 'restart', 'remove'],
  'node.*_title': ['start', 'stop', 'restart', 'remove'],
  'noderole.*': [...NODE_ROLES, 'leader', 'follower'],
  'noderole.*_hint': NODE_ROLES,
  'quick.*_name': ENGINES,
  'role.*': ROLES,
  'rolemay.*': ROLES,
  'search.*': ['network', 'node', 'organisation', 'contract', 'project', 'channel', 'block', 'transaction', 'address', 'key'],
  'setting.*': ['platform_name', 'public_url', 'session_hours', 'oidc'],
  'settings.theme_*': ['system', 'light', 'dark'],
  'status.*': STATES,
  'topology.*': ['ok', 'bad', 'off', 'plan', 'unknown'],
  'txkind.*': ['call', 'config', 'deploy', 'transfer'],
  'wizard.*': ['engine', 'members', 'place', 'review'],
  'wizard.*_text': ['process', 'docker', ...ENGINES],
  'wizard.hint_*': CONSENSUS,
  'wizard.members_*': ENGINES,
  'workbench.*': ['problems', 'result', 'log', 'versions'],
}

const called = new Map()
const patterns = new Map()
let everything = ''
for (const path of sources(join(root, 'src'))) {
  const text = readFileSync(path, 'utf8')
  everything += text
  for (const match of text.matchAll(/\bt\(\s*(['"`])([a-z0-9_.]+)(\1|\$\{)/g)) {
    if (match[3] !== '${') called.set(match[2], path)
  }
  for (const match of text.matchAll(/\bt\(\s*`([^`$]*\$\{[^`]*)`/g)) patterns.set(match[1].replace(/\$\{[^}]*\}/g, '*'), path)
  for (const match of text.matchAll(/\bword\(\s*'([a-z_]+)'/g)) patterns.set(match[1] + '.*', path)
}
for (const [pattern, path] of patterns) {
  for (const value of VALUES[pattern] ?? []) called.set(pattern.replace('*', value), path)
  if (!VALUES[pattern]) faults.push(`${path} computes "${pattern}", whose values this script does not list`)
}
for (const pattern of Object.keys(VALUES)) if (!patterns.has(pattern)) faults.push(`no source computes "${pattern}"`)

const all = new Set(Object.values(languages).flatMap((messages) => Object.keys(messages)))
for (const key of all) {
  for (const [language, messages] of Object.entries(languages)) {
    if (!(key in messages)) faults.push(`${language}.json has no "${key}"`)
    else if (!messages[key].trim()) faults.push(`${language}.json has an empty "${key}"`)
  }
  const literal = ["'", '"', '`'].some((quote) => everything.includes(quote + key + quote))
  if (!literal && !called.has(key)) faults.push(`no source uses "${key}"`)
  const slots = (text) => [...new Set([...(text ?? '').matchAll(/\{(\w+)/g)].map((m) => m[1]))].sort().join()
  if (slots(languages.en[key]) !== slots(languages.zh[key])) faults.push(`"${key}" has different slots in en and zh`)
}
for (const [key, path] of called) if (!all.has(key)) faults.push(`${path} uses "${key}", which no language has`)

if (faults.length) {
  console.error(faults.join('\n'))
  console.error(`\n${faults.length} faults. Add or remove the keys in src/messages/{en,zh}.json.`)
  process.exit(1)
}
console.log(`${all.size} messages, complete in ${Object.keys(languages).join(' and ')}`)
