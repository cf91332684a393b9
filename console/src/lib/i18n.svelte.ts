// Messages in two languages. The language is the person's setting, then the browser's.
export type Language = 'en' | 'zh'
type Messages = Record<string, string>

const loaders: Record<Language, () => Promise<{ default: Messages }>> = {
  en: () => import('../messages/en.json'),
  zh: () => import('../messages/zh.json'),
}

const state = $state<{ language: Language; messages: Messages }>({ language: 'en', messages: {} })

function remembered(): Language | null {
  const value = localStorage.getItem('konsort.language')
  return value === 'en' || value === 'zh' ? value : null
}

/** The language to start with. */
export function preferred(): Language {
  return remembered() ?? (navigator.languages.some((l) => l.toLowerCase().startsWith('zh')) && !navigator.language.startsWith('en') ? 'zh' : 'en')
}

/** Loads a language and shows it; `keep` remembers it in this browser. */
export async function setLanguage(language: Language, keep = true): Promise<void> {
  const messages = (await loaders[language]()).default
  state.messages = messages
  state.language = language
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en'
  if (keep) localStorage.setItem('konsort.language', language)
}

/** The language in use. */
export function language(): Language {
  return state.language
}

/** A message. `{n}` is replaced; `{n|node|nodes}` chooses by number. */
export function t(key: string, values: Record<string, string | number> = {}): string {
  const text = state.messages[key] ?? key
  return text.replace(/\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}/g, (whole, name: string, one?: string, many?: string) => {
    if (!(name in values)) return whole
    if (one !== undefined) return Number(values[name]) === 1 ? one : (many ?? '')
    return String(values[name])
  })
}

/** A message when there is one, else the word itself: for words that come from outside. */
export function word(prefix: string, value: string | undefined | null): string {
  if (!value) return ''
  return state.messages[`${prefix}.${value}`] ?? value
}

/** Of a record with English and Chinese texts, the one for this language. */
export function local(record: { title?: string; title_zh?: string } | undefined): string {
  return (state.language === 'zh' ? record?.title_zh : record?.title) ?? record?.title ?? ''
}
