// The editor: CodeMirror with the languages of contracts, marks for diagnostics, colours from the design tokens.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete'
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands'
import { go } from '@codemirror/lang-go'
import { javascript } from '@codemirror/lang-javascript'
import { json } from '@codemirror/lang-json'
import { rust } from '@codemirror/lang-rust'
import { bracketMatching, foldGutter, foldKeymap, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from '@codemirror/language'
import { lintGutter, lintKeymap, setDiagnostics, type Diagnostic as Mark } from '@codemirror/lint'
import { highlightSelectionMatches, searchKeymap } from '@codemirror/search'
import { Compartment, EditorState, StateEffect, StateField, type Extension } from '@codemirror/state'
import { Decoration, type DecorationSet, drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers } from '@codemirror/view'
import { tags } from '@lezer/highlight'
import { solidity } from '@replit/codemirror-lang-solidity'
import { language } from '../lib/i18n.svelte'
import type { Diagnostic } from '../lib/types'

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.modifier, tags.controlKeyword, tags.definitionKeyword], color: 'var(--syntax-word)' },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], color: 'var(--syntax-text)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--syntax-number)' },
  { tag: [tags.comment, tags.lineComment, tags.blockComment], color: 'var(--syntax-comment)', fontStyle: 'italic' },
  { tag: [tags.typeName, tags.className, tags.namespace, tags.function(tags.variableName), tags.definition(tags.function(tags.variableName))], color: 'var(--syntax-name)' },
])

const look = EditorView.theme({
  '&': { height: '100%', fontSize: '13px', color: 'var(--text)', backgroundColor: 'var(--surface)' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.55' },
  '.cm-gutters': { color: 'var(--text-3)', backgroundColor: 'var(--surface)', borderRight: '1px solid var(--line)' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'color-mix(in srgb, var(--accent) 7%, transparent)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'color-mix(in srgb, var(--accent) 24%, transparent)' },
  '.cm-matchingBracket': { backgroundColor: 'color-mix(in srgb, var(--accent) 24%, transparent)' },
  '.cm-tooltip, .cm-panels': { color: 'var(--text)', backgroundColor: 'var(--surface)', border: '1px solid var(--line)' },
  '.cm-panels input, .cm-panels button': { color: 'var(--text)', background: 'var(--sunken)' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { color: 'var(--text)', backgroundColor: 'var(--selected)' },
  '.cm-diagnostic': { fontFamily: 'var(--font)', whiteSpace: 'pre-wrap' },
  '.cm-step-line': { backgroundColor: 'color-mix(in srgb, var(--warn) 22%, transparent)' },
})

// The editor's own words; English is what it has.
const PHRASES: Record<string, string> = {
  Find: '查找',
  Replace: '替换',
  next: '下一个',
  previous: '上一个',
  all: '全部',
  'match case': '区分大小写',
  regexp: '正则表达式',
  'by word': '整词匹配',
  replace: '替换',
  'replace all': '全部替换',
  close: '关闭',
  'current match': '当前匹配',
  'replaced $ matches': '已替换 $ 处',
  'replaced match on line $': '已替换第 $ 行的匹配',
  'on line': '位于行',
  'Go to line': '转到行',
  go: '转到',
  'Fold line': '折叠',
  'Unfold line': '展开',
  'Folded lines': '已折叠的行',
  'Unfolded lines': '已展开的行',
  to: '至',
  'folded code': '已折叠的代码',
  unfold: '展开',
  Diagnostics: '问题',
  'No diagnostics': '没有问题',
  Completions: '补全',
  'Control character': '控制字符',
  'Selection deleted': '已删除所选内容',
}

function languageOf(path: string): Extension {
  if (path.endsWith('.sol')) return solidity
  if (path.endsWith('.go')) return go()
  if (path.endsWith('.rs')) return rust()
  if (/\.tsx?$/.test(path)) return javascript({ typescript: true })
  if (/\.[cm]?jsx?$/.test(path)) return javascript()
  if (path.endsWith('.json')) return json()
  return []
}

const setMarked = StateEffect.define<number | null>()
const markedLine = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(value, transaction) {
    value = value.map(transaction.changes)
    for (const effect of transaction.effects) {
      if (!effect.is(setMarked)) continue
      const line = effect.value
      value = line && line <= transaction.state.doc.lines ? Decoration.set([Decoration.line({ class: 'cm-step-line' }).range(transaction.state.doc.line(line).from)]) : Decoration.none
    }
    return value
  },
  provide: (field) => EditorView.decorations.from(field),
})

export interface EditorOptions {
  readOnly?: boolean
  label?: string
  change?: (text: string) => void
  save?: () => void
  build?: () => void
}

/** An editor in an element. */
export class Editor {
  #view: EditorView
  #language = new Compartment()
  #states = new Map<string, EditorState>()
  #path = ''
  #extensions: Extension[]

  constructor(parent: HTMLElement, options: EditorOptions) {
    const run = (act?: () => void) => () => {
      act?.()
      return Boolean(act)
    }
    this.#extensions = [
      lineNumbers(),
      highlightActiveLineGutter(),
      highlightSpecialChars(),
      history(),
      foldGutter(),
      drawSelection(),
      indentOnInput(),
      bracketMatching(),
      closeBrackets(),
      autocompletion(),
      highlightActiveLine(),
      highlightSelectionMatches(),
      lintGutter(),
      markedLine,
      syntaxHighlighting(colours),
      look,
      indentUnit.of('    '),
      EditorState.phrases.of(language() === 'zh' ? PHRASES : {}),
      EditorState.readOnly.of(Boolean(options.readOnly)),
      EditorView.contentAttributes.of({ 'aria-label': options.label ?? 'editor' }),
      keymap.of([
        { key: 'Mod-s', run: run(options.save), preventDefault: true },
        { key: 'Mod-Enter', run: run(options.build) },
        ...closeBracketsKeymap,
        ...defaultKeymap,
        ...searchKeymap,
        ...historyKeymap,
        ...foldKeymap,
        ...completionKeymap,
        ...lintKeymap,
        indentWithTab,
      ]),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) options.change?.(update.state.doc.toString())
      }),
    ]
    this.#view = new EditorView({ parent, state: EditorState.create({ extensions: this.#extensions }) })
  }

  /** Shows a file; each keeps its own history. `fresh` drops what was kept. */
  open(path: string, text: string, fresh = false): void {
    if (this.#path) this.#states.set(this.#path, this.#view.state)
    this.#path = path
    const kept = fresh ? undefined : this.#states.get(path)
    this.#view.setState(kept && kept.doc.toString() === text ? kept : EditorState.create({ doc: text, extensions: [...this.#extensions, this.#language.of(languageOf(path))] }))
  }

  /** Marks problems at their lines. */
  mark(diagnostics: Diagnostic[]): void {
    const doc = this.#view.state.doc
    const at = (line: number, column: number): number => {
      const l = doc.line(Math.min(Math.max(line, 1), doc.lines))
      return Math.min(l.from + Math.max(column - 1, 0), l.to)
    }
    const marks = diagnostics.filter((d) => d.line > 0 && d.line <= doc.lines).map((d): Mark => {
      const from = at(d.line, d.column)
      let to = d.end_line ? at(d.end_line, d.end_column ?? d.column) : from
      if (to <= from) to = Math.max(doc.lineAt(from).to, from)
      return { from, to, severity: d.severity === 'error' ? 'error' : d.severity === 'warning' ? 'warning' : 'info', message: [d.message, (language() === 'zh' && d.hint_zh) || d.hint].filter(Boolean).join('\n'), source: d.code }
    })
    this.#view.dispatch(setDiagnostics(this.#view.state, marks))
  }

  /** Goes to a line. */
  reveal(line: number, column = 1, focus = true): void {
    const l = this.#view.state.doc.line(Math.min(Math.max(line, 1), this.#view.state.doc.lines))
    const pos = Math.min(l.from + Math.max(column - 1, 0), l.to)
    this.#view.dispatch({ selection: { anchor: pos }, effects: EditorView.scrollIntoView(pos, { y: 'center' }) })
    if (focus) this.#view.focus()
  }

  /** Colours a line, for the step of a trace. */
  highlight(line: number | null): void {
    const effects: StateEffect<unknown>[] = [setMarked.of(line)]
    if (line && line <= this.#view.state.doc.lines) effects.push(EditorView.scrollIntoView(this.#view.state.doc.line(line).from, { y: 'center' }))
    this.#view.dispatch({ effects })
  }

  get text(): string {
    return this.#view.state.doc.toString()
  }

  destroy(): void {
    this.#view.destroy()
  }
}
