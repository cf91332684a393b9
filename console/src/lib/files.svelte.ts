// The files of a project as somebody edits them: what the server has, what differs here, and what somebody else changed meanwhile.
import { all, Problem, putRaw, remove, text as readText } from './api'

export interface Entry {
  path: string
  size?: number
  hash?: string
}

/** A file that somebody else has written: what is there now (`null`: nothing), and what was to be written (`null`: it was to go). */
export interface Conflict {
  path: string
  theirs: string | null
  tag: string
  mine: string | null
}

export class ProjectFiles {
  entries = $state.raw<Entry[]>([])
  /** Texts that are not saved. */
  edited = $state<Record<string, string>>({})
  conflict = $state.raw<Conflict | null>(null)
  #saved = new Map<string, string>()
  // The version that the text in `#saved` is.
  #tags = new Map<string, string>()

  constructor(readonly project: string) {}

  get dirty(): string[] {
    return Object.keys(this.edited)
  }
  #address(path: string): string {
    return `/projects/${this.project}/files/${path.split('/').map(encodeURIComponent).join('/')}`
  }

  async load(): Promise<void> {
    this.entries = (await all<Entry>(`/projects/${this.project}/files`)).sort((a, b) => a.path.localeCompare(b.path))
  }
  async content(path: string): Promise<string> {
    if (path in this.edited) return this.edited[path]
    if (!this.#saved.has(path)) {
      const found = await readText(this.#address(path))
      this.#saved.set(path, found.text)
      this.#tags.set(path, found.tag)
    }
    return this.edited[path] ?? this.#saved.get(path)!
  }
  edit(path: string, text: string): void {
    if (text === this.#saved.get(path)) delete this.edited[path]
    else this.edited[path] = text
  }

  /** Saves all that is edited. */
  async save(): Promise<void> {
    for (const [path, text] of Object.entries($state.snapshot(this.edited))) {
      await this.write(path, text)
      if (this.edited[path] === text) delete this.edited[path]
    }
  }
  /** Writes a file unless somebody else has done so since it was read. */
  async write(path: string, text: string): Promise<void> {
    const entry = await this.#unlessMet(path, text, () => putRaw<Entry>(this.#address(path), text, 'text/plain; charset=utf-8', { version: this.#tags.get(path) ?? '' }))
    this.#saved.set(path, text)
    if (entry?.hash) this.#tags.set(path, entry.hash)
  }
  /** A new file; there must be none of its path. */
  async create(path: string, text: string): Promise<void> {
    this.#tags.delete(path)
    await this.write(path, text)
  }
  async erase(path: string): Promise<void> {
    await this.content(path)
    await this.#unlessMet(path, null, () => remove(this.#address(path), { version: this.#tags.get(path) }))
    this.#forget(path)
  }
  #forget(path: string): void {
    delete this.edited[path]
    this.#saved.delete(path)
    this.#tags.delete(path)
  }

  async #unlessMet<T>(path: string, mine: string | null, act: () => Promise<T>): Promise<T> {
    try {
      return await act()
    } catch (error) {
      if (error instanceof Problem && (error.status === 409 || error.status === 412)) {
        const theirs = await readText(this.#address(path)).catch(() => null)
        this.conflict = { path, mine, theirs: theirs?.text ?? null, tag: theirs?.tag ?? '' }
      }
      throw error
    }
  }
  /** Ends a conflict with what is there, or with what this person wants. */
  async settle(overwrite: boolean): Promise<void> {
    const { path, theirs, tag, mine } = this.conflict!
    this.conflict = null
    if (theirs === null) this.#tags.delete(path)
    else {
      this.#saved.set(path, theirs)
      this.#tags.set(path, tag)
    }
    if (!overwrite) {
      if (theirs === null) this.#forget(path)
      else delete this.edited[path]
    } else if (mine !== null) {
      await this.write(path, mine)
      if (this.edited[path] === mine) delete this.edited[path]
    } else if (theirs !== null) await this.erase(path)
  }
}
