/**
 * Extended headers: `length key=value\n` records. Source: POSIX.1-2024 pax › pax Extended Header.
 * Keys and values are byte strings: one char per byte.
 */
import { byteString, type Segment, TarFormatError } from './header.ts'

/** The records of one extended header; of a key that comes twice the last counts. */
export interface PaxRecords {
  readonly values: ReadonlyMap<string, string>
  /** `GNU.sparse.offset` and `GNU.sparse.numbytes` in their order: the one format in which keys repeat. */
  readonly sparse: readonly (readonly [key: string, value: string])[]
}

const NUL_FREE = new Set(['path', 'linkpath', 'GNU.sparse.name'])

/** Reads an extended header. @throws {TarFormatError} */
export function readPax(bytes: Uint8Array): PaxRecords {
  const text = byteString(bytes)
  const values = new Map<string, string>()
  const sparse: [string, string][] = []
  for (let at = 0; at < text.length; ) {
    const space = text.indexOf(' ', at)
    const length = decimal(text.slice(at, space < 0 || space > at + 20 ? at : space), 'length of an extended record')
    const end = at + length
    const equals = text.indexOf('=', space)
    if (end > text.length || equals < 0 || equals >= end || text[end - 1] !== '\n') {
      throw new TarFormatError(`an extended record of ${length} bytes is malformed`)
    }
    const key = text.slice(space + 1, equals)
    const value = text.slice(equals + 1, end - 1)
    if (key.includes('\0') || (NUL_FREE.has(key) && value.includes('\0'))) {
      throw new TarFormatError(`the extended record ${JSON.stringify(key)} holds a NUL`)
    }
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') sparse.push([key, value])
    else values.set(key, value)
    at = end
  }
  return { values, sparse }
}

/** A non-negative decimal number. @throws {TarFormatError} */
export function decimal(text: string, name: string): number {
  const value = /^\d{1,20}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw new TarFormatError(`${name} is ${JSON.stringify(text)}, expected a number`)
  return value
}

/** A moment: whole seconds, which may be negative, and the nanoseconds after them. */
export interface Timestamp {
  readonly seconds: number
  readonly nanoseconds: number
}

/** A time in decimal seconds with any number of fraction digits, cut to nanoseconds downwards. @throws {TarFormatError} */
export function readTime(text: string): Timestamp {
  const [, sign, whole = '', fraction = ''] = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text) ?? []
  if (sign === undefined) throw new TarFormatError(`mtime is ${JSON.stringify(text)}, expected seconds`)
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'))
  const seconds = Number(whole)
  if (sign === '') return { seconds, nanoseconds }
  return nanoseconds === 0
    ? { seconds: 0 - seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1e9 - nanoseconds }
}

/** A time as {@link readTime} reads it, with no more digits than it needs. */
export function printTime({ seconds, nanoseconds }: Timestamp): string {
  const isNegative = seconds < 0 && nanoseconds !== 0
  const whole = isNegative ? -seconds - 1 : Math.abs(seconds)
  const fraction = isNegative ? 1e9 - nanoseconds : nanoseconds
  const digits = fraction === 0 ? '' : `.${String(fraction).padStart(9, '0').replace(/0+$/, '')}`
  return `${seconds < 0 ? '-' : ''}${whole}${digits}`
}

/** The sparse map of formats 0.0 and 0.1, if the records hold one. @throws {TarFormatError} */
export function readPaxSegments({ values, sparse }: PaxRecords): Segment[] | null {
  const map = values.get('GNU.sparse.map')
  const numbers =
    map !== undefined
      ? map.split(',').map(each => decimal(each, 'sparse map'))
      : sparse.map(([key, value], index) => {
          if ((key === 'GNU.sparse.offset') !== (index % 2 === 0))
            throw new TarFormatError('the sparse map is malformed')
          return decimal(value, 'sparse map')
        })
  return map === undefined && sparse.length === 0 ? null : pairs(numbers)
}

/** Numbers two by two. @throws {TarFormatError} */
export function pairs(numbers: readonly number[]): Segment[] {
  if (numbers.length % 2 !== 0) throw new TarFormatError('the sparse map is malformed')
  return Array.from({ length: numbers.length / 2 }, (_, index) => ({
    offset: numbers[2 * index] ?? 0,
    bytes: numbers[2 * index + 1] ?? 0,
  }))
}
