/**
 * Parsers of JSON values, put together like their types: `object<Root>({ path: required(text), readonly: flag })`.
 *
 * A shape returns the value it has checked or throws an error that names the document and the path in it. Properties
 * that a shape does not know are left out and reported as warnings. `null` counts as absent, as in Go, whose programs
 * write most of these documents. 64-bit integers keep every digit.
 */

import { BerthError } from './error.ts'

/** Where a value is and who is told about it. Plain, since one is made for each value, and almost none is ever asked for its path. */
export interface Place {
  readonly document: Document
  /** The object or array that the value is in; null: it is the document itself. */
  readonly outer: Place | null
  /** The name of a property or the index of an item. */
  readonly key: string | number
}

/** The place of a document's own value. */
export function topOf(document: Document): Place {
  return { document, outer: null, key: '' }
}

/** Such as `linux.seccomp.syscalls[3].names`; empty for the document itself. Keys that are not plain words are quoted. */
export function pathOf({ outer, key }: Place): string {
  if (outer === null) return ''
  const path = pathOf(outer)
  if (typeof key === 'number') return `${path}[${key}]`
  if (/^[A-Za-z_]\w*$/.test(key)) return path === '' ? key : `${path}.${key}`
  return `${path}[${JSON.stringify(key)}]`
}

interface Document {
  /** Its name in errors, such as `config.json`. */
  readonly name: string
  readonly warnings: string[]
}

/** Checks a value and returns it typed. @throws {BerthError} invalidArgument. */
export type Shape<T> = (value: unknown, place: Place) => T

/** The shape of a property that must be there. */
export interface Required<T> {
  readonly required: Shape<T>
}

/** A shape per property: plain for an optional one, `required(…)` for the others; the compiler checks that none is missing. */
export type Properties<T> = {
  readonly [K in keyof T]-?: T extends Readonly<Record<K, T[K]>> ? Required<T[K]> : Shape<NonNullable<T[K]>>
}

/** What parsing a document gives. */
export interface Parsed<T> {
  readonly value: T
  /** One per property that was left out or changed, naming its path. */
  readonly warnings: readonly string[]
}

/**
 * Parses a JSON document.
 * @throws {BerthError} invalidArgument when it is no JSON or has another shape.
 */
export function parseJson<T>(text: string, name: string, shape: Shape<T>): Parsed<T> {
  const warnings: string[] = []
  const value = shape(readJson(text, name), topOf({ name, warnings }))
  return { value, warnings }
}

function readJson(text: string, name: string): unknown {
  try {
    // Only numbers of 16 digits and more can lose some, and a reviver makes JSON.parse several times slower.
    return /\d{16}/.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text)
  } catch (cause) {
    const said = cause instanceof Error ? cause.message.replace(/^JSON Parse error: /, '') : String(cause)
    throw new BerthError('invalidArgument', `Cannot parse ${name}: ${said}, expected JSON`, { cause })
  }
}

function keepDigits(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value
  const source = context?.source ?? ''
  return /^-?\d+$/.test(source) ? BigInt(source) : value
}

/** The JSON text of a value in which a bigint is an integer with all its digits; `indent` as in JSON.stringify. */
export function formatJson(value: unknown, indent = ''): string {
  return JSON.stringify(value, (_key, each: unknown) => (typeof each === 'bigint' ? rawNumber(each) : each), indent)
}

/** ES2026's JSON.rawJSON, which Bun has and TypeScript's library does not declare. */
function rawNumber(value: bigint): unknown {
  return (JSON as unknown as { rawJSON(source: string): unknown }).rawJSON(value.toString())
}

/** The error for a value of the wrong kind: `Cannot parse config.json: root.path is 7, expected a text`. */
export function shapeError(value: unknown, place: Place, expected: string): BerthError {
  return new BerthError(
    'invalidArgument',
    `Cannot parse ${place.document.name}: ${pathOf(place) || 'it'} is ${show(value)}, expected ${expected}`,
  )
}

function show(value: unknown): string {
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'bigint') return value.toString()
  const text = JSON.stringify(value) ?? 'absent'
  return text.length > 80 ? `${text.slice(0, 77)}…` : text
}

/** Marks a property that an object must have; without it a property may be absent. */
export function required<T>(shape: Shape<T>): Required<T> {
  return { required: shape }
}

export const text: Shape<string> = (value, place) => {
  if (typeof value !== 'string') throw shapeError(value, place, 'a text')
  return value
}

export const flag: Shape<boolean> = (value, place) => {
  if (typeof value !== 'boolean') throw shapeError(value, place, 'true or false')
  return value
}

/** A text that matches a pattern, which errors quote. */
export function matching(pattern: RegExp): Shape<string> {
  return (value, place) => {
    if (typeof value !== 'string' || !pattern.test(value)) throw shapeError(value, place, `to match ${pattern.source}`)
    return value
  }
}

/** One of a few texts. */
export function oneOf<const T extends string>(allowed: readonly T[]): Shape<T> {
  return (value, place) => {
    if (!allowed.includes(value as T)) throw shapeError(value, place, `one of ${allowed.join(', ')}`)
    return value as T
  }
}

/** One of the names that a table has. */
export function keyOf<K extends string>(table: Readonly<Record<K, unknown>>): Shape<K> {
  return oneOf(Object.keys(table) as K[])
}

/** An integer that a number holds exactly, within limits. */
export function integer(min: number, max: number): Shape<number> {
  return (value, place) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      throw shapeError(value, place, `an integer from ${min} to ${max}`)
    }
    // The sign of -0 would come out again where the number is printed.
    return value === 0 ? 0 : value
  }
}

/** An integer of up to 64 bits. */
export function bigInteger(min: bigint, max: bigint): Shape<bigint> {
  return (value, place) => {
    const number = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value
    if (typeof number !== 'bigint' || number < min || number > max) {
      throw shapeError(value, place, `an integer from ${min} to ${max}`)
    }
    return number
  }
}

export const uint16: Shape<number> = integer(0, 0xffff)
export const uint32: Shape<number> = integer(0, 0xffff_ffff)
export const int32: Shape<number> = integer(-0x8000_0000, 0x7fff_ffff)
export const uint64: Shape<bigint> = bigInteger(0n, (1n << 64n) - 1n)
export const int64: Shape<bigint> = bigInteger(-(1n << 63n), (1n << 63n) - 1n)

/** An array of one shape, with at least `minItems`; errors name the index of the wrong item. */
export function list<T>(item: Shape<T>, minItems = 0): Shape<readonly T[]> {
  return (value, place) => {
    if (!Array.isArray(value)) throw shapeError(value, place, 'an array')
    if (value.length < minItems) throw shapeError(value, place, `an array of at least ${minItems}`)
    return value.map((each, index) => item(each, below(place, index)))
  }
}

export const texts: Shape<readonly string[]> = list(text)

/** An object whose keys are free and whose values have one shape. */
export function map<T>(item: Shape<T>): Shape<Readonly<Record<string, T>>> {
  return (value, place) => {
    const entries = Object.entries(plainObject(value, place))
    // Object.fromEntries defines properties, so that a key `__proto__` is a key like others.
    return Object.fromEntries(entries.map(([key, each]) => [key, item(each, below(place, key))]))
  }
}

/** An object with known properties; of others it leaves a warning. */
export function object<T>(properties: Properties<T>): Shape<T> {
  const shapes: Readonly<Record<string, Shape<unknown> | Required<unknown>>> = properties
  // Found at the first use: most shapes of a program are never used in one run of it.
  let requiredNames: readonly string[] | null = null
  return (value, place) => {
    const source = plainObject(value, place)
    requiredNames ??= Object.keys(shapes).filter(name => typeof shapes[name] !== 'function')
    for (const name of requiredNames) {
      if (!Object.hasOwn(source, name) || source[name] === null) throw missingError(name, place)
    }
    const result: Record<string, unknown> = {}
    for (const name of Object.keys(source)) {
      const each = source[name]
      const shape = Object.hasOwn(shapes, name) ? shapes[name] : undefined
      if (shape === undefined) {
        place.document.warnings.push(
          `${place.document.name}: unknown property ${pathOf(below(place, name))} is ignored`,
        )
      } else if (each !== null) {
        result[name] = (typeof shape === 'function' ? shape : shape.required)(each, below(place, name))
      }
    }
    return result as T
  }
}

/**
 * Like `object()`, but refuses a property whose name differs from a known one in case only: Go's parser takes one for the other, so
 * that two readers of the same bytes would see two documents.
 */
export function exactObject<T>(properties: Properties<T>): Shape<T> {
  const shape = object(properties)
  const names = new Map(Object.keys(properties).map(name => [name.toLowerCase(), name]))
  return (value, place) => {
    for (const name of Object.keys(plainObject(value, place))) {
      const known = names.get(name.toLowerCase())
      if (known !== undefined && known !== name) {
        throw shapeError(name, below(place, name), `the spelling ${known}`)
      }
    }
    return shape(value, place)
  }
}

/** The properties of an object that are not among `known`, as they are. They may nest as deep as `DEPTH_LIMIT`. */
export function otherProperties(known: ReadonlySet<string>): Shape<Readonly<Record<string, unknown>>> {
  return (value, place) => {
    const entries = Object.entries(plainObject(value, place)).filter(([name]) => !known.has(name))
    for (const [name, each] of entries) checkDepth(each, below(place, name), DEPTH_LIMIT)
    return Object.fromEntries(entries)
  }
}

/** What is written out again by a recursive function must not nest deeper than its stack. */
const DEPTH_LIMIT = 64

function checkDepth(value: unknown, place: Place, limit: number): void {
  if (typeof value !== 'object' || value === null) return
  if (limit === 0) throw shapeError(value, place, `a value that nests at most ${DEPTH_LIMIT} deep`)
  for (const each of Object.values(value)) checkDepth(each, place, limit - 1)
}

function missingError(name: string, place: Place): BerthError {
  return new BerthError(
    'invalidArgument',
    `Cannot parse ${place.document.name}: ${pathOf(below(place, name))} is absent, expected it to be there`,
  )
}

function plainObject(value: unknown, place: Place): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw shapeError(value, place, 'an object')
  return value as Readonly<Record<string, unknown>>
}

/** The place of a property or an item. */
export function below(place: Place, key: string | number): Place {
  return { document: place.document, outer: place, key }
}

/** A shape that is put together when it is first used: for what documents rarely have. */
export function later<T>(make: () => Shape<T>): Shape<T> {
  let shape: Shape<T> | null = null
  return (value, place) => {
    shape ??= make()
    return shape(value, place)
  }
}
