// Solidity in the browser, for errors while one types. The server's build is what counts and what is deployed.
import { get, items, type Page } from '../lib/api'
import type { Diagnostic } from '../lib/types'

interface Compiler {
  version: string
  long_version?: string
  installed?: boolean
}
interface Fault {
  severity: string
  errorCode?: string
  message: string
  formattedMessage?: string
  sourceLocation?: { file: string; start: number; end: number }
}

let compilers: Promise<Compiler[]> | null = null
let worker: Worker | null = null
let workerUrl = ''
let next = 1
const waiting = new Map<number, { done: (output: string) => void; failed: (error: Error) => void }>()

const parts = (version: string) => version.split(/[.+-]/).slice(0, 3).map(Number)
function compare(a: string, b: string): number {
  const [x, y] = [parts(a), parts(b)]
  for (let i = 0; i < 3; i++) if ((x[i] ?? 0) !== (y[i] ?? 0)) return (x[i] ?? 0) - (y[i] ?? 0)
  return 0
}

/** Whether a version is in the range of a pragma. */
export function satisfies(version: string, range: string): boolean {
  return range.split('||').some((alternative) =>
    [...alternative.matchAll(/(\^|~|>=|<=|>|<|=)?\s*v?(\d+)(?:\.(\d+))?(?:\.(\d+))?/g)].every(([, sign = '=', major, minor = '0', patch = '0']) => {
      const base = `${major}.${minor}.${patch}`
      const order = compare(version, base)
      const [a, b] = parts(version)
      switch (sign) {
        case '^':
          return order >= 0 && a === Number(major) && (Number(major) > 0 || b === Number(minor))
        case '~':
          return order >= 0 && a === Number(major) && b === Number(minor)
        case '>=':
          return order >= 0
        case '<=':
          return order <= 0
        case '>':
          return order > 0
        case '<':
          return order < 0
        default:
          return order === 0
      }
    }),
  )
}

function run(url: string, input: string): Promise<string> {
  if (!worker || workerUrl !== url) {
    worker?.terminate()
    worker = new Worker(new URL('./solc.worker.ts', import.meta.url))
    workerUrl = url
    for (const w of waiting.values()) w.failed(new Error('replaced'))
    waiting.clear()
    worker.onmessage = ({ data }) => {
      const w = waiting.get(data.id)
      waiting.delete(data.id)
      if (data.error) w?.failed(new Error(data.error))
      else w?.done(data.output)
    }
    worker.onerror = (event) => {
      for (const w of waiting.values()) w.failed(new Error(event.message))
      waiting.clear()
      worker = null
    }
  }
  return new Promise((done, failed) => {
    const id = next++
    waiting.set(id, { done, failed })
    worker!.postMessage({ id, url, input })
  })
}

/** Line and column, from 1, of an offset in UTF-8 bytes; columns count UTF-16 units as the editor does. */
function position(bytes: Uint8Array, offset: number): [number, number] {
  const before = new TextDecoder().decode(bytes.subarray(0, Math.max(0, offset)))
  const lines = before.split('\n')
  return [lines.length, lines[lines.length - 1].length + 1]
}

/** Compiles sources in the browser. `null`: it cannot be done here (no compiler, or imports from elsewhere). */
export async function check(sources: Record<string, string>): Promise<{ diagnostics: Diagnostic[]; compiler: string } | null> {
  compilers ??= get<Page<Compiler> | Compiler[]>('/compilers').then(items, () => [])
  const pragmas = Object.values(sources).flatMap((text) => [...text.matchAll(/pragma\s+solidity\s+([^;]+);/g)].map((m) => m[1]))
  const usable = (await compilers)
    .filter((c) => c.installed !== false && !/gm/i.test(c.version) && pragmas.every((range) => satisfies(c.version, range)))
    .sort((a, b) => compare(b.version, a.version))
  if (!usable.length) return null
  const known = new Set(Object.keys(sources))
  const base = (path: string) => path.split('/').slice(0, -1)
  for (const [path, text] of Object.entries(sources)) {
    for (const [, target] of text.matchAll(/import\s+(?:[^'"]*from\s+)?['"]([^'"]+)['"]/g)) {
      const stack = target.startsWith('.') ? base(path) : []
      for (const part of target.split('/')) {
        if (part === '..') stack.pop()
        else if (part !== '.') stack.push(part)
      }
      if (!known.has(stack.join('/'))) return null
    }
  }
  const input = JSON.stringify({
    language: 'Solidity',
    sources: Object.fromEntries(Object.entries(sources).map(([path, content]) => [path, { content }])),
    settings: { outputSelection: { '*': { '*': ['abi'] } } },
  })
  let output: { errors?: Fault[] }
  try {
    output = JSON.parse(await run(`/v1/compilers/${encodeURIComponent(usable[0].version)}/soljson.js`, input))
  } catch {
    compilers = Promise.resolve([])
    return null
  }
  const bytes = Object.fromEntries(Object.entries(sources).map(([path, text]) => [path, new TextEncoder().encode(text)]))
  const diagnostics = (output.errors ?? []).map((fault): Diagnostic => {
    const place = fault.sourceLocation
    const [line, column] = place && bytes[place.file] ? position(bytes[place.file], place.start) : [0, 0]
    const [end_line, end_column] = place && bytes[place.file] ? position(bytes[place.file], place.end) : [0, 0]
    return { file: place?.file ?? '', line, column, end_line, end_column, severity: fault.severity, code: fault.errorCode ?? '', message: fault.message }
  })
  return { diagnostics, compiler: usable[0].version }
}
