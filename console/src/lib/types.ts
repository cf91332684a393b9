// Shapes of the REST API.
export type Engine = 'fabric' | 'bcos'
export type DriverKind = 'process' | 'docker' | 'external'
export type State = string

export interface OrganisationRequest {
  id?: string | null
  name: string
  nodes: number
  observers?: number
}

export interface NetworkRequest {
  name: string
  engine: Engine
  driver?: DriverKind
  organisations: OrganisationRequest[]
  consensus: string
  orderers?: number | null
  channel?: string | null
  first_port?: number | null
  block_time_ms?: number | null
  block_transactions?: number | null
}

export interface OrganisationSpec {
  id?: string | null
  name: string
  mspid?: string | null
  domain: string
  orders_only?: boolean
}

export interface ChannelSpec {
  name: string
  organisations: string[]
  nodes: string[]
}

export interface NodeSpec {
  id: string
  hostname: string
  role: string
  organisation: string
  ports: Record<string, number>
  node_id?: string | null
  external?: Record<string, string> | null
}

export interface NetworkSpec {
  id: string
  name: string
  engine: Engine
  driver: DriverKind
  consensus: string
  chain_id?: string | null
  organisations: OrganisationSpec[]
  channels: ChannelSpec[]
  nodes: NodeSpec[]
  block_time_ms: number
  block_transactions: number
}

export interface Words {
  en: string
  zh: string
}

export interface ChannelView extends ChannelSpec {
  height?: number | null
  transactions?: number
  problem?: string | null
}

export interface Network {
  id: string
  name: string
  engine: Engine
  driver: DriverKind
  consensus: string
  chain_id?: string | null
  state: State
  imported?: boolean
  /** An operation works on it. */
  busy?: boolean
  channels: ChannelView[]
  nodes: { total: number; running: number; stopped: number; failed: number; pending: number }
  height: number
  transactions: number
  fault_budget?: Words
  spec: NetworkSpec
  version: number
  created_at?: string
  created_by?: string
}

export interface NetworkPlan {
  spec: NetworkSpec
  steps: StepPlan[]
  fault_budget?: Words
}

export interface StepPlan {
  name: string
  title: string
  title_zh: string
}

export interface Step extends StepPlan {
  state: State
  started_at?: string | null
  ended_at?: string | null
  error?: { code?: string; cause?: string; remedy?: string; remedy_zh?: string } | null
  attempts?: number
}

export interface Operation {
  id: string
  kind: string
  network?: string | null
  /** What it is about: a network's, node's or contract's name. */
  subject?: string
  request?: { kind: string; contract?: string; [key: string]: unknown }
  steps: Step[]
  state: State
  result?: Record<string, unknown> | null
  created_by?: string
  created_at?: string
  updated_at?: string
  ended_at?: string | null
}

/** A node as the platform shows it: specification, process, health. */
export interface NodeRow extends NodeSpec {
  status: 'pending' | 'running' | 'degraded' | 'stopped' | 'failed'
  problem?: string | null
  version?: string | null
  consensus_role?: string | null
  heights: Record<string, number>
  lag?: number | null
  peers?: number | null
  certificate_days?: number | null
  pending?: number | null
  pid?: number | null
  container?: string | null
  started_at?: string | null
  restarts: number
  last_exit?: string | null
  cpu?: number | null
  memory?: number | null
  disk?: number | null
}

export interface EventRecord {
  contract: string
  name: string
  payload: unknown
  /** Values by name, when the interface is known. */
  arguments?: unknown
}

export interface TransactionRecord {
  id: string
  index: number
  kind: string
  ok: boolean
  code: string
  from: string
  to: string
  method: string
  time: number
  terms?: string[]
  events?: EventRecord[]
  height?: number
  channel?: string
  network?: string
  contract?: { id: string; name: string } | null
}

export interface BlockRecord {
  channel: string
  height: number
  hash: string
  parent_hash: string
  time: number
  producer: string
  size: number
  config: boolean
  /** How many. */
  transactions: number
  /** Of one block: the transactions. */
  items?: TransactionRecord[]
  next_hash?: string | null
  failed?: number
  network?: string
}

export interface TransactionDetail {
  record: TransactionRecord
  height: number
  block_hash: string
  input: unknown
  output: unknown
  endorsements: { mspid?: string; subject?: string; same_result?: boolean }[]
  effects: unknown
  explanation: string
  raw: unknown
  channel?: string
  contract?: { id: string; name: string } | null
  decoded?: { call?: { method: string; arguments: unknown } | null; output?: unknown; events?: unknown[] } | null
}

export interface ConfigChange {
  height: number
  transaction: string
  time: number
  signers: string[]
  changes: { path: string; before?: unknown; after?: unknown }[]
}

export interface User {
  id: string
  username: string
  display_name?: string
  roles?: string[]
  role?: string
  organisation?: string | null
  language?: 'en' | 'zh' | null
  disabled?: boolean
  state?: string
  version?: number
  created_at?: string
  last_login_at?: string | null
}

export interface Session {
  user: User
  csrf_token: string
  permissions: string[]
}

export interface Organisation {
  id: string
  name: string
  display_name?: string
  title?: string
  description?: string
  version?: number
  created_at?: string
}

export interface ApiKey {
  id: string
  name: string
  prefix?: string
  role?: string
  scopes?: string[]
  secret?: string
  expires_at?: string | null
  last_used_at?: string | null
  created_at?: string
}

export interface Identity {
  organisation: string
  name: string
  role: string
  /** A certificate's subject, or an account's address. */
  subject: string
  expires_at?: string | null
  revoked: boolean
}

export type JsonSchema = {
  type?: string | string[]
  title?: string
  description?: string
  format?: string
  pattern?: string
  enum?: unknown[]
  items?: JsonSchema
  properties?: Record<string, JsonSchema>
  required?: string[]
  minItems?: number
  maxItems?: number
  minimum?: number
  maximum?: number
  $ref?: string
  [key: string]: unknown
}

export interface Parameter {
  name: string
  components?: Parameter[]
  indexed?: boolean
  type?: string
  schema?: JsonSchema
  description?: string
}

export interface Method {
  name: string
  signature?: string
  description?: string
  read_only?: boolean
  parameters: Parameter[]
  returns?: Parameter[]
}

export interface InterfaceDocument {
  name: string
  version?: string
  engine?: Engine
  methods: Method[]
  events?: { name: string; parameters: Parameter[] }[]
  constructor?: { parameters: Parameter[] } | null
  engine_details?: unknown
}

export interface Diagnostic {
  file: string
  line: number
  column: number
  end_line?: number
  end_column?: number
  severity: string
  code?: string
  message: string
  hint?: string
  hint_zh?: string
}

export interface BuiltContract {
  name: string
  abi?: unknown
  bytecode?: string
  size?: number
  interface?: InterfaceDocument
}

export interface BuildResult {
  ok: boolean
  diagnostics: Diagnostic[]
  contracts: BuiltContract[]
  log?: string
}

export interface Sample {
  id: string
  language: string
  engine: Engine
  title: string
  title_zh: string
  description: string
  description_zh: string
  main?: string
  paths?: string[]
}

export interface Project {
  id: string
  name: string
  language: string
  engine: Engine
  sample?: string | null
  etag?: number
  created_at?: string
  updated_at?: string
}

export interface Deployment {
  version: string
  address?: string | null
  package_id?: string | null
  code_hash?: string | null
  operation: string
  at: string
}

export interface Contract {
  id: string
  name: string
  network: string
  channel: string
  engine: Engine
  state: State
  address?: string | null
  package_id?: string | null
  version: string
  origin?: { project: string; version?: number | null; contract?: string | null } | null
  code_hash?: string | null
  /** The operation that deploys it now. */
  deploying?: string | null
  has_interface?: boolean
  deployments?: Deployment[]
  created_at?: string
  deployed_at?: string | null
  etag: number
}

export interface CallResult {
  id: string
  mode: 'evaluate' | 'submit'
  ok: boolean
  transaction?: string | null
  height?: number | null
  code?: string | null
  explanation?: string | null
  output: unknown
  raw_output?: unknown
  events: EventRecord[]
  gas_used?: number | null
  duration_ms?: number
}

export interface Simulation {
  ok: boolean
  problem?: string | null
  output: unknown
  events: EventRecord[]
  effects: unknown
  answers: { peer?: string; mspid?: string; ok?: boolean; same_result?: boolean; message?: string }[]
  missing: string[]
  gas_used?: number | null
}

export interface SearchHit {
  kind: string
  network?: string | null
  channel?: string | null
  id: string
  title: string
  detail?: string
}

export interface AuditRecord {
  seq: number
  at: string
  actor: { id: string; name: string; role?: string | null; organisation?: string | null; proof?: string | null; address?: string | null }
  action: string
  target: string
  network?: string | null
  status: number
  code?: string | null
  before?: unknown
  after?: unknown
  trace_id: string
  prev: string
  hash: string
}

export interface TraceStep {
  index: number
  pc: number
  op: string
  gas: number
  cost: number
  depth: number
  address: string
  file: string
  line: number
  column: number
  end_line: number
  end_column: number
  jump?: string
  error?: string
  stack?: string[]
  memory?: string
}

export interface CallNode {
  kind: string
  address: string
  contract: string
  method: string
  first_step: number
  last_step: number
  ok: boolean
  value?: string
  calls: CallNode[]
}

export interface StorageChange {
  address: string
  slot: string
  variable: string
  kind: string
  before?: string | null
  after: string
}

export interface Trace {
  steps?: TraceStep[]
  calls?: CallNode
  storage?: StorageChange[]
  failed_step?: number | null
  sources?: Record<string, string>
  [key: string]: unknown
}
