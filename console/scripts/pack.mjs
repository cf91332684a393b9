// Packs dist into dist.tar.gz, the one file that the program holds; the same files give the same bytes.
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

function files(folder, prefix = '') {
  return readdirSync(folder)
    .filter((name) => !name.startsWith('.'))
    .sort()
    .flatMap((name) => {
      const path = join(folder, name)
      return statSync(path).isDirectory() ? files(path, `${prefix}${name}/`) : [[`${prefix}${name}`, readFileSync(path)]]
    })
}

/** An entry of a POSIX tar archive: owner, group and time are left at zero. */
function entry(name, content) {
  const head = Buffer.alloc(512)
  const octal = (value, at, length) => head.write(value.toString(8).padStart(length - 1, '0'), at)
  if (Buffer.byteLength(name) > 99) throw new Error(`${name} is too long a name`)
  head.write(name, 0)
  octal(0o644, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(content.length, 124, 12)
  octal(0, 136, 12)
  head.write(' '.repeat(8), 148)
  head.write('0', 156)
  head.write('ustar\u000000', 257)
  const sum = head.reduce((total, byte) => total + byte, 0)
  head.write(`${sum.toString(8).padStart(6, '0')}\u0000 `, 148)
  return Buffer.concat([head, content, Buffer.alloc((512 - (content.length % 512)) % 512)])
}

const entries = files(join(root, 'dist')).map(([name, content]) => entry(name, content))
const archive = gzipSync(Buffer.concat([...entries, Buffer.alloc(1024)]), { level: 9 })
writeFileSync(join(root, 'dist.tar.gz'), archive)
console.log(`dist.tar.gz: ${entries.length} files, ${(archive.length / 1024).toFixed(0)} KB`)
