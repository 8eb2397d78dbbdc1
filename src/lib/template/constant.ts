import { Float } from './value.ts'

/** What is wrong with a constant; the parser adds where. */
export class ConstantError extends Error {
  override readonly name = 'ConstantError'
}

const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
}

const ESCAPE = /^(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{3}))/
const RUNE_LIMIT = 0x10_ffff

/** The text of a quoted string, either kind of quotes. @throws {ConstantError} */
export function unquote(quoted: string): string {
  if (quoted.startsWith('`')) return quoted.slice(1, -1).replaceAll('\r', '')
  return readEscapes(quoted.slice(1, -1), '"')
}

/** The code point of a character constant such as `'a'`. @throws {ConstantError} */
export function readCharacter(quoted: string): number {
  const chars = [...readEscapes(quoted.slice(1, -1), "'")]
  const [only] = chars
  if (only === undefined || chars.length !== 1) throw new ConstantError(`malformed character constant: ${quoted}`)
  return only.codePointAt(0) ?? 0
}

function readEscapes(text: string, quote: string): string {
  let result = ''
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? ''
    if (char !== '\\') {
      result += char
      continue
    }
    const next = text[++at] ?? ''
    const simple = next === quote ? quote : SIMPLE_ESCAPES[next]
    if (simple !== undefined) {
      result += simple
      continue
    }
    const [whole, hex, short, long, octal] = ESCAPE.exec(text.slice(at)) ?? []
    if (whole === undefined) throw new ConstantError('invalid syntax')
    const code = octal === undefined ? Number.parseInt(hex ?? short ?? long ?? '', 16) : Number.parseInt(octal, 8)
    if (code > RUNE_LIMIT) throw new ConstantError('invalid syntax')
    result += String.fromCodePoint(code)
    at += whole.length - 1
  }
  return result
}

/** A number: an integer, or with a point or an exponent a floating-point one. @throws {ConstantError} */
export function readNumber(text: string): number | Float {
  const digits = text.replaceAll('_', '')
  const [, sign = '', prefix = '', rest = ''] = /^([+-]?)(0[xXbBoO])?(.*)$/.exec(digits) ?? []
  const factor = sign === '-' ? -1 : 1
  // A leading zero without a letter means octal too.
  const isOctal = prefix === '' && /^0\d+$/.test(rest)
  if (isOctal && /[89]/.test(rest)) throw new ConstantError(`illegal number syntax: ${JSON.stringify(text)}`)
  if (prefix === '' && /[.eE]/.test(rest)) return new Float(factor * Number(rest))
  const value = factor * Number(isOctal ? `0o${rest}` : prefix.toLowerCase() + rest)
  if (Number.isNaN(value)) throw new ConstantError(`illegal number syntax: ${JSON.stringify(text)}`)
  if (!Number.isSafeInteger(value)) throw new ConstantError(`integer overflow: ${JSON.stringify(text)}`)
  return value === 0 ? 0 : value
}
