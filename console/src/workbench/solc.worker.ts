// Runs a Solidity compiler script apart from the page. A classic worker: the script is loaded as it is, unmodified.
interface Emscripten {
  cwrap: (name: string, result: string, parameters: string[]) => (...values: unknown[]) => string
  calledRun?: boolean
  onRuntimeInitialized?: () => void
  [name: string]: unknown
}
interface Scope {
  Module: Emscripten
  importScripts: (url: string) => void
  onmessage: ((event: MessageEvent<{ id: number; url: string; input: string }>) => void) | null
  postMessage: (message: unknown) => void
}
const scope = self as unknown as Scope
let loaded = ''
let compile: ((input: string) => string) | null = null

function load(url: string): Promise<void> {
  return new Promise((done, failed) => {
    const ready = () => {
      const m = scope.Module
      if ('_solidity_compile' in m) {
        const call = m.cwrap('solidity_compile', 'string', ['string', 'number', 'number'])
        compile = (input) => call(input, 0, 0)
      } else if ('_compileStandard' in m) {
        const call = m.cwrap('compileStandard', 'string', ['string', 'number'])
        compile = (input) => call(input, 0)
      } else failed(new Error('not a Solidity compiler'))
      loaded = url
      done()
    }
    scope.Module = { onRuntimeInitialized: ready, print: () => {}, printErr: () => {} } as unknown as Emscripten
    try {
      scope.importScripts(url)
    } catch (error) {
      failed(error as Error)
      return
    }
    if (scope.Module.calledRun && !compile) ready()
  })
}

scope.onmessage = async ({ data }) => {
  try {
    if (loaded !== data.url) {
      if (loaded) throw new Error('another compiler is loaded')
      await load(data.url)
    }
    scope.postMessage({ id: data.id, output: compile!(data.input) })
  } catch (error) {
    scope.postMessage({ id: data.id, error: String((error as Error).message ?? error) })
  }
}
