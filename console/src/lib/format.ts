// Numbers, times and hashes as people read them.
import { language, t } from './i18n.svelte'

const locale = () => (language() === 'zh' ? 'zh-CN' : 'en-GB')

export function number(value: number | null | undefined, digits = 0): string {
  if (value === null || value === undefined || Number.isNaN(value)) return '–'
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value)
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–'
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${value.toFixed(unit && value < 10 ? 1 : 0)} ${units[unit]}`
}

export function toDate(value: string | number | null | undefined): Date | null {
  if (value === null || value === undefined || value === '' || value === 0) return null
  const date = new Date(value)
  return Number.isNaN(date.getTime()) ? null : date
}

/** 2026-11-22 14:03:05 UTC+8 */
export function time(value: string | number | null | undefined): string {
  const date = toDate(value)
  if (!date) return '–'
  const two = (n: number) => String(n).padStart(2, '0')
  const offset = -date.getTimezoneOffset()
  const hours = Math.trunc(offset / 60)
  const zone = `UTC${offset ? (offset > 0 ? '+' : '-') + Math.abs(hours) + (offset % 60 ? ':' + two(Math.abs(offset % 60)) : '') : ''}`
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())} ${zone}`
}

export function ago(value: string | number | null | undefined, now: number): string {
  const date = toDate(value)
  if (!date) return '–'
  const seconds = Math.round((date.getTime() - now) / 1000)
  const size = Math.abs(seconds)
  if (size < 5) return t('time.now')
  const format = new Intl.RelativeTimeFormat(locale(), { numeric: 'always', style: 'short' })
  if (size < 60) return format.format(seconds, 'second')
  if (size < 3600) return format.format(Math.round(seconds / 60), 'minute')
  if (size < 86400) return format.format(Math.round(seconds / 3600), 'hour')
  return format.format(Math.round(seconds / 86400), 'day')
}

export function duration(from: string | number | null | undefined, to: string | number | null | undefined): string {
  const a = toDate(from)
  const b = toDate(to)
  if (!a || !b) return ''
  const ms = Math.max(0, b.getTime() - a.getTime())
  if (ms < 1000) return `${ms} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

/** A long text with its middle left out. */
export function middle(text: string, keep = 8): string {
  const head = text.startsWith('0x') ? keep + 2 : keep
  return text.length <= head + keep + 1 ? text : `${text.slice(0, head)}…${text.slice(-keep)}`
}

/** A value of JSON as text. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return ''
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2)
}
