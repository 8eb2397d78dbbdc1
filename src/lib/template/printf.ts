import type { Budget } from './budget.ts'
import { printFloat, printWith, withExponent } from './print-value.ts'
import { Float, isList, isMap, isStruct, kindOf, typeName, type Value } from './value.ts'

/** One directive: `%[1]-5.2f`. */
interface Directive {
  readonly flags: string
  readonly width: number | null
  readonly precision: number | null
  readonly verb: string
}

/** Go's own limit of a width or a precision (fmt, tooLarge). */
const SIZE_LIMIT = 1_000_000
const DIRECTIVE = /%([-+# 0]*)(?:\[(\d+)\])?(\*|\d+)?(?:\.(?:\[(\d+)\])?(\*|\d+)?)?(?:\[(\d+)\])?/y

/** A text with its `%` directives replaced, as Go's fmt.Sprintf does; mistakes in it show in the text, as `%!d(string=x)`. */
export function sprintf(format: string, values: readonly Value[], budget: Budget): string {
  return new Printer(values, budget).print(format)
}

class Printer {
  readonly #values: readonly Value[]
  readonly #budget: Budget
  #at = 0
  #isReordered = false

  constructor(values: readonly Value[], budget: Budget) {
    this.#values = values
    this.#budget = budget
  }

  print(format: string): string {
    let result = ''
    for (let at = 0; at < format.length; ) {
      const percent = format.indexOf('%', at)
      const end = percent < 0 ? format.length : percent
      result += format.slice(at, end)
      if (percent < 0) break
      const [text, next] = this.#directive(format, percent)
      this.#budget.step()
      this.#budget.text(text.length)
      result += text
      at = next
    }
    return result + this.#extra()
  }

  #directive(format: string, percent: number): readonly [text: string, next: number] {
    DIRECTIVE.lastIndex = percent
    const [whole = '%', flags = '', widthIndex, width, precisionIndex, precision, valueIndex] =
      DIRECTIVE.exec(format) ?? []
    const verb = charAt(format, percent + whole.length)
    const next = percent + whole.length + verb.length
    if (verb === '') return ['%!(NOVERB)', next]
    const hasPrecision = whole.includes('.')
    // An index belongs to the star after it, or else to the verb.
    const isStar = width === '*'
    const good = isStar ? this.#goTo(widthIndex) : this.#goTo(widthIndex ?? valueIndex)
    const wide = this.#size(width)
    this.#goTo(precisionIndex)
    const precise = hasPrecision ? (precision === undefined ? 0 : this.#size(precision)) : null
    const ok = isStar || precisionIndex !== undefined ? this.#goTo(valueIndex) && good : good
    if (verb === '%') return ['%', next]
    if (!ok) return [`%!${verb}(BADINDEX)`, next]
    const bad = `${wide === 'bad' ? '%!(BADWIDTH)' : ''}${precise === 'bad' || (precise ?? 0) < 0 ? '%!(BADPREC)' : ''}`
    if (this.#at >= this.#values.length) return [`${bad}%!${verb}(MISSING)`, next]
    // A negative width from an argument is the flag and the width.
    const isLeft = typeof wide === 'number' && wide < 0
    const directive: Directive = {
      flags: isLeft ? `${flags}-` : flags,
      width: typeof wide === 'number' ? Math.abs(wide) : null,
      precision: typeof precise === 'number' && precise >= 0 ? precise : null,
      verb,
    }
    return [bad + formatValue(this.#values[this.#at++], directive, this.#budget), next]
  }

  /** Whether there is a value of that number, from 1; without a number there is nothing to do. */
  #goTo(index: string | undefined): boolean {
    if (index === undefined) return true
    this.#isReordered = true
    if (Number(index) < 1 || Number(index) > this.#values.length) return false
    this.#at = Number(index) - 1
    return true
  }

  #size(text: string | undefined): number | 'bad' | null {
    if (text === undefined) return null
    const value = text === '*' ? this.#values[this.#at++] : Number(text)
    return kindOf(value) === 'int' && Math.abs(Number(value)) <= SIZE_LIMIT ? Number(value) : 'bad'
  }

  #extra(): string {
    const rest = this.#values.slice(this.#at)
    if (this.#isReordered || rest.length === 0) return ''
    const shown = rest.map(value =>
      value === null || value === undefined ? '<nil>' : `${typeName(value)}=${printWith(value, this.#budget, plain)}`,
    )
    return `%!(EXTRA ${shown.join(', ')})`
  }
}

function charAt(text: string, at: number): string {
  return at < text.length ? String.fromCodePoint(text.codePointAt(at) ?? 0) : ''
}

function plain(value: Value): string {
  return formatValue(value, { flags: '', width: null, precision: null, verb: 'v' }, null)
}

/** One value under one directive; lists, maps and structs apply it to each of their values. */
function formatValue(value: Value, directive: Directive, budget: Budget | null): string {
  const { verb } = directive
  if (verb === 'T') return pad(typeName(value), directive)
  if (budget !== null) {
    budget.text(directive.width ?? 0)
    if (isList(value) || isMap(value) || isStruct(value)) {
      return printWith(value, budget, each => formatValue(each, directive, null))
    }
  }
  if (value === null || value === undefined) return verb === 'v' ? pad('<nil>', directive) : `%!${verb}(<nil>)`
  const text = formatScalar(value, directive)
  return text ?? `%!${verb}(${typeName(value)}=${plain(value)})`
}

/** Null: the verb is not for such a value. */
function formatScalar(value: Value, directive: Directive): string | null {
  switch (kindOf(value)) {
    case 'bool':
      return 'tv'.includes(directive.verb) ? pad(String(value), directive) : null
    case 'string':
      return formatText(String(value), directive)
    case 'int':
      return formatInteger(Number(value), directive)
    case 'float':
      return formatFloat(value instanceof Float ? value.value : Number(value), directive)
    default:
      return directive.verb === 'v' ? pad('func', directive) : null
  }
}

function formatText(text: string, directive: Directive): string | null {
  const { verb, precision, flags } = directive
  const cut = precision === null ? text : [...text].slice(0, precision).join('')
  switch (verb) {
    case 'v':
      return pad(flags.includes('#') ? JSON.stringify(cut) : cut, directive)
    case 's':
      return pad(cut, directive)
    case 'q':
      return pad(flags.includes('#') && !cut.includes('`') ? `\`${cut}\`` : quote(cut, flags.includes('+')), directive)
    case 'x':
    case 'X':
      return pad(hexBytes(cut, directive), directive)
    default:
      return null
  }
}

function hexBytes(text: string, { verb, flags }: Directive): string {
  const prefix = flags.includes('#') ? '0x' : ''
  const bytes = [...Buffer.from(text)].map(byte => byte.toString(16).padStart(2, '0'))
  const joined = flags.includes(' ') ? bytes.map(byte => prefix + byte).join(' ') : prefix + bytes.join('')
  return verb === 'X' ? joined.toUpperCase() : joined
}

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
}

/** A text in quotes, as `%q` writes it: what does not print is escaped, with `isAscii` all that is not ASCII. */
function quote(text: string, isAscii: boolean, mark = '"'): string {
  const escaped = [...text].map(char => {
    const code = char.codePointAt(0) ?? 0
    const short = char === mark ? `\\${mark}` : SHORT_ESCAPES[char]
    if (short !== undefined) return short
    if (code < 0x20 || code === 0x7f) return `\\x${code.toString(16).padStart(2, '0')}`
    if (code < 0x7f || (!isAscii && /[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(char))) return char
    return code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
  })
  return mark + escaped.join('') + mark
}

const BASES: Readonly<Record<string, readonly [base: number, prefix: string]>> = {
  d: [10, ''],
  v: [10, ''],
  b: [2, '0b'],
  o: [8, '0'],
  O: [8, ''],
  x: [16, '0x'],
  X: [16, '0X'],
}

const RUNE_LIMIT = 0x10_ffff

function formatInteger(value: number, directive: Directive): string | null {
  const { verb, flags, precision } = directive
  const isRune = value >= 0 && value <= RUNE_LIMIT
  if (verb === 'c' || verb === 'q') {
    const char = String.fromCodePoint(isRune ? value : 0xfffd)
    return pad(verb === 'c' ? char : quote(char, flags.includes('+'), "'"), directive)
  }
  if (verb === 'U') {
    const shown = flags.includes('#') && isRune ? ` '${String.fromCodePoint(value)}'` : ''
    return pad(`U+${Math.abs(value).toString(16).toUpperCase().padStart(4, '0')}${shown}`, directive)
  }
  const base = BASES[verb]
  if (base === undefined) return null
  const digits = Math.abs(value)
    .toString(base[0])
    .padStart(precision ?? 0, '0')
  const cased = verb === 'X' ? digits.toUpperCase() : digits
  const prefix = verb === 'O' ? '0o' : flags.includes('#') ? base[1] : ''
  return padNumber(prefix + cased, value < 0, directive)
}

function formatFloat(value: number, directive: Directive): string | null {
  const precision = directive.precision
  const size = Math.abs(value)
  const digits = Math.min(precision ?? 6, 100)
  switch (directive.verb) {
    case 'v':
    case 'g':
    case 'G': {
      const text = precision === null ? printFloat(size) : general(size, Math.max(1, digits))
      return padNumber(directive.verb === 'G' ? text.toUpperCase() : text, value < 0, directive)
    }
    case 'f':
    case 'F':
      return padNumber(roundToEven(size, digits), value < 0, directive)
    case 'e':
    case 'E': {
      const text = exponential(size, digits)
      return padNumber(directive.verb === 'E' ? text.toUpperCase() : text, value < 0, directive)
    }
    default:
      return null
  }
}

/** toFixed(), but a tie goes to the even digit, as in C and Go. */
function roundToEven(value: number, digits: number): string {
  const scaled = value * 10 ** digits
  const isTie = scaled - Math.floor(scaled) === 0.5 && scaled < Number.MAX_SAFE_INTEGER
  return isTie && Math.floor(scaled) % 2 === 0
    ? (Math.floor(scaled) / 10 ** digits).toFixed(digits)
    : value.toFixed(digits)
}

function exponential(value: number, digits: number): string {
  const [mantissa = '', exponent = '0'] = value.toExponential(digits).split('e')
  return withExponent(mantissa, Number(exponent))
}

/** `%.3g`: so many digits, without zeros at the end. */
function general(value: number, digits: number): string {
  const [mantissa = '', exponent = '0'] = value.toExponential(digits - 1).split('e')
  const power = Number(exponent)
  const trim = (text: string): string => (text.includes('.') ? text.replace(/\.?0+$/, '') : text)
  if (power < -4 || power >= digits) return withExponent(trim(mantissa), power)
  return trim(value.toFixed(Math.max(0, digits - 1 - power)))
}

/** Zeros go between the sign and the digits. */
function padNumber(digits: string, isNegative: boolean, directive: Directive): string {
  const { flags, width, precision, verb } = directive
  const sign = isNegative ? '-' : flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : ''
  const isInteger = Object.hasOwn(BASES, verb) && !digits.includes('.')
  const isZeroed = flags.includes('0') && !flags.includes('-') && !(isInteger && precision !== null)
  const padded = isZeroed ? digits.padStart((width ?? 0) - sign.length, '0') : digits
  return pad(sign + padded, { ...directive, flags: flags.replaceAll('0', '') })
}

function pad(text: string, { flags, width }: Directive): string {
  const missing = (width ?? 0) - [...text].length
  if (missing <= 0) return text
  if (flags.includes('-')) return text + ' '.repeat(missing)
  return (flags.includes('0') ? '0' : ' ').repeat(missing) + text
}
