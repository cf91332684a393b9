// Forms from JSON Schema: what people type, and the values that are sent.
import { parseJson } from './json'
import type { JsonSchema, Parameter } from './types'

/** What is typed: texts, switches, lists and groups of them. */
export type Raw = string | boolean | Raw[] | { [name: string]: Raw }

const kindOf = (schema: JsonSchema): string => (Array.isArray(schema.type) ? (schema.type.find((t) => t !== 'null' && t !== 'string') ?? schema.type[0]) : (schema.type ?? (schema.properties ? 'object' : schema.items ? 'array' : schema.enum ? 'string' : '')))

/** The schema of a parameter; of types without one, the nearest. */
export function schemaOf(parameter: Parameter): JsonSchema {
  const schema = parameter.schema
  if (schema && Object.keys(schema).length) return schema
  const type = parameter.type ?? 'string'
  if (type.endsWith(']')) return { type: 'array', items: schemaOf({ ...parameter, type: type.replace(/\[\d*\]$/, ''), schema: undefined }) }
  if (type === 'bool' || type === 'boolean') return { type: 'boolean' }
  if (/^u?int/.test(type) || type === 'integer' || type === 'number') return { type: 'string', pattern: '^-?[0-9]+$' }
  if (type.startsWith('tuple')) return { type: 'object', properties: Object.fromEntries((parameter.components ?? []).map((c, i) => [c.name || String(i), schemaOf(c)])) }
  return { type: 'string' }
}

/** What an untouched field holds. */
export function blank(schema: JsonSchema): Raw {
  switch (kindOf(schema)) {
    case 'boolean':
      return false
    case 'array': {
      const count = Math.min(schema.minItems ?? 0, 64)
      return Array.from({ length: count }, () => blank(schema.items ?? {}))
    }
    case 'object':
      return schema.properties ? Object.fromEntries(Object.entries(schema.properties).map(([name, s]) => [name, blank(s)])) : ''
    default:
      return schema.enum?.length ? String(schema.enum[0]) : ''
  }
}

/** What would be sent for what is typed. */
export function toValue(schema: JsonSchema, raw: Raw): unknown {
  const kind = kindOf(schema)
  if (kind === 'array' && Array.isArray(raw)) return raw.map((item) => toValue(schema.items ?? {}, item))
  if (kind === 'object' && raw && typeof raw === 'object' && !Array.isArray(raw)) {
    return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, s]) => [name, toValue(s, raw[name] ?? '')]))
  }
  if (typeof raw === 'boolean') return raw
  const text = String(raw)
  if (kind === 'integer' || kind === 'number') {
    if (text.trim() === '') return text
    const value = Number(text)
    // A whole number that JavaScript cannot hold goes as text.
    return Number.isFinite(value) && (/[.eE]/.test(text) ? kind === 'number' : Number.isSafeInteger(value)) ? value : text.trim()
  }
  if (schema.enum && !schema.enum.includes(text)) return schema.enum.find((option) => String(option) === text) ?? text
  if (kind === 'object' || kind === '') {
    try {
      return parseJson(text)
    } catch {
      return text
    }
  }
  return text
}

/** How an input should look. */
export function widget(schema: JsonSchema): 'switch' | 'choice' | 'list' | 'group' | 'json' | 'number' | 'text' {
  if (schema.enum) return 'choice'
  switch (kindOf(schema)) {
    case 'boolean':
      return 'switch'
    case 'array':
      return 'list'
    case 'object':
      return schema.properties && Object.keys(schema.properties).length ? 'group' : 'json'
    case 'integer':
    case 'number':
      return 'number'
    default:
      return 'text'
  }
}

/** UTF-8 bytes of a text as 0x-hex, filled up with zeros to a length. */
export function textToHex(text: string, length = 0): string {
  const hex = [...new TextEncoder().encode(text)].map((b) => b.toString(16).padStart(2, '0')).join('')
  return '0x' + hex.padEnd(length * 2, '0')
}
