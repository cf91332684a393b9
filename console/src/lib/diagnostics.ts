// Problems of a build that only its log tells.
import type { Diagnostic, Step } from './types'

/** Lines like `main.go:12:3: undefined: x` become problems at their place; without any, the step's error is the problem. */
export function diagnosticsOf(log: string[], error: NonNullable<Step['error']>): Diagnostic[] {
  const found: Diagnostic[] = []
  for (const line of log) {
    const match = /^\s*(?:\.\/)?([\w./@-]+\.(?:go|ts|js|mjs|rs|json|sol)):(\d+):(?:(\d+):)?\s*(.+)$/.exec(line)
    if (!match || found.some((d) => d.file === match[1] && d.line === Number(match[2]) && d.message === match[4])) continue
    found.push({ file: match[1], line: Number(match[2]), column: Number(match[3] ?? 1), severity: 'error', code: '', message: match[4] })
  }
  if (found.length) return found.slice(0, 200)
  return [{ file: '', line: 0, column: 0, severity: 'error', code: error.code ?? '', message: error.cause ?? '', hint: error.remedy, hint_zh: error.remedy_zh }]
}
