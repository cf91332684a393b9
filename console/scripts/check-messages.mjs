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

const called = new Map()
const prefixes = new Set()
let everything = ''
for (const path of sources(join(root, 'src'))) {
  const text = readFileSync(path, 'utf8')
  everything += text
  for (const match of text.matchAll(/\bt\(\s*(['"`])([a-z0-9_.]+)(\1|\$\{)/g)) {
    if (match[3] === '${') prefixes.add(match[2])
    else called.set(match[2], path)
  }
}

for (const match of everything.matchAll(/\bword\(\s*'([a-z_]+)'/g)) prefixes.add(match[1] + '.')

const all = new Set(Object.values(languages).flatMap((messages) => Object.keys(messages)))
for (const key of all) {
  for (const [language, messages] of Object.entries(languages)) {
    if (!(key in messages)) faults.push(`${language}.json has no "${key}"`)
    else if (!messages[key].trim()) faults.push(`${language}.json has an empty "${key}"`)
  }
  const literal = ["'", '"', '`'].some((quote) => everything.includes(quote + key + quote))
  if (!literal && ![...prefixes].some((prefix) => key.startsWith(prefix))) faults.push(`no source uses "${key}"`)
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
