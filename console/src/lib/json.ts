// JSON without loss: whole numbers that JavaScript cannot hold stay as they are written, as text.
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g
const unsafe = (token: string): boolean => /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token))

// Sixteen digits in a row are rare; only then is every number looked at.
const mark = (text: string, around: string): string => (/\d{16}/.test(text) ? text.replace(TOKENS, (token) => (unsafe(token) ? `"${around}${token}${around}"` : token)) : text)

/** Reads JSON; throws what `JSON.parse` throws. */
export function parseJson<T = unknown>(text: string): T {
  return JSON.parse(mark(text, '')) as T
}

/** JSON over lines, with every number as it was written; throws what `JSON.parse` throws. */
export function prettyJson(text: string): string {
  return JSON.stringify(JSON.parse(mark(text, '\uE000')), null, 2).replace(/"\uE000(-?\d+)\uE000"/g, '$1')
}
