// Fails when the first load or the workbench exceeds its budget. First load: what index.html, the first page and one language need.
import { gzipSync } from 'node:zlib'
import { readFileSync } from 'node:fs'
import { join, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const dist = join(dirname(fileURLToPath(import.meta.url)), '../dist')
const manifest = JSON.parse(readFileSync(join(dist, '.vite/manifest.json'), 'utf8'))
const size = (file) => gzipSync(readFileSync(join(dist, file))).length

function closure(names, seen = new Set()) {
  for (const name of names) {
    const chunk = manifest[name]
    if (!chunk) throw new Error(`the manifest has no ${name}`)
    if (seen.has(chunk.file)) continue
    seen.add(chunk.file)
    for (const css of chunk.css ?? []) seen.add(css)
    closure(chunk.imports ?? [], seen)
  }
  return seen
}

const sum = (files) => [...files].reduce((total, file) => total + size(file), 0)
const first = closure(['index.html', 'src/pages/Home.svelte', 'src/messages/zh.json'])
const workbench = [...closure(['src/workbench/editor.ts'])].filter((file) => !first.has(file))
const budgets = [
  ['first load', sum(first) + size('index.html'), 150],
  ['workbench', sum(workbench), 300],
]
let failed = false
for (const [name, bytes, limit] of budgets) {
  const kib = bytes / 1024
  console.log(`${name}: ${kib.toFixed(1)} KB gzip of ${limit}`)
  failed ||= kib > limit
}
if (failed) {
  console.error('Over budget: load the new part lazily or make it smaller.')
  process.exit(1)
}
