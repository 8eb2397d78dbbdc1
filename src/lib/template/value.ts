/** The values that a template works with. */
import type { Budget } from './budget.ts'

/** A floating-point number whose value may be whole; other numbers are integers when they are whole. */
export class Float {
  readonly value: number

  constructor(value: number) {
    this.value = value
  }
}

/** A value that is asked with arguments: `{{.Label "name"}}`. It says what arguments it wants. */
export class Method {
  readonly parameters: readonly ParameterType[]
  readonly call: (...values: readonly string[]) => Value

  /** A method whose arguments all are texts. */
  constructor(count: number, call: (...values: readonly string[]) => Value) {
    this.parameters = Array.from({ length: count }, () => 'string' as const)
    this.call = call
  }
}

/** An object with known fields: to ask for another is an error. */
export interface Struct {
  readonly [field: string]: Value
}

/**
 * Go's kinds by JavaScript's: a `Map` is a map, whose absent keys are no error; a plain object is a struct, whose are;
 * `undefined` is no value, such as an absent key's; `null` a nil pointer.
 */
export type Value =
  | null
  | undefined
  | boolean
  | number
  | string
  | Float
  | Method
  | readonly Value[]
  | ReadonlyMap<string, Value>
  | Struct

/** Go's kind of a value. */
export type Kind = 'invalid' | 'nil' | 'bool' | 'int' | 'float' | 'string' | 'list' | 'map' | 'struct' | 'method'

/** What a function takes. */
export type ParameterType = 'any' | 'string' | 'int' | 'strings'

/** The kind of a value. */
export function kindOf(value: Value): Kind {
  if (value === undefined) return 'invalid'
  if (value === null) return 'nil'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'string') return 'string'
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float'
  if (value instanceof Float) return 'float'
  if (value instanceof Method) return 'method'
  if (isList(value)) return 'list'
  return isMap(value) ? 'map' : 'struct'
}

/** Narrows to a list. */
export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value)
}

/** Narrows to a map. */
export function isMap(value: Value): value is ReadonlyMap<string, Value> {
  return value instanceof Map
}

/** Narrows to a struct. */
export function isStruct(value: Value): value is Struct {
  return kindOf(value) === 'struct'
}

/** The keys of a map in the order in which Go shows them. */
export function sortedKeys(map: ReadonlyMap<string, Value>): readonly string[] {
  return [...map.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

/** The fields of a struct that hold data. */
export function fieldsOf(struct: Struct): readonly (readonly [name: string, value: Value])[] {
  return Object.entries(struct).filter(([, value]) => !(value instanceof Method))
}

/** Go's name of a value's type, for errors and `%T`. */
export function typeName(value: Value): string {
  switch (kindOf(value)) {
    case 'invalid':
    case 'nil':
      return '<nil>'
    case 'float':
      return 'float64'
    case 'list':
      return isList(value) && value.every(each => typeof each === 'string') ? '[]string' : '[]interface {}'
    case 'map':
      return 'map[string]interface {}'
    case 'method':
      return 'func'
    default:
      return kindOf(value)
  }
}

/** Whether a value counts as true: neither zero nor empty. Source: text/template › Actions. */
export function isTrue(value: Value): boolean {
  if (isList(value)) return value.length > 0
  if (isMap(value)) return value.size > 0
  if (value instanceof Float) return value.value !== 0
  // A struct always is true.
  return kindOf(value) === 'struct' || Boolean(value)
}

/** JSON as Docker's `json` writes it: no escapes for HTML, the keys of maps sorted. */
export function printJson(value: Value, budget: Budget): string {
  budget.step()
  if (value === undefined || value === null || value instanceof Method) return 'null'
  if (value instanceof Float) return JSON.stringify(value.value)
  if (isList(value)) return `[${value.map(each => printJson(each, budget)).join(',')}]`
  if (isMap(value))
    return printMembers(
      sortedKeys(value).map(key => [key, value.get(key)] as const),
      budget,
    )
  if (isStruct(value)) return printMembers(fieldsOf(value), budget)
  return JSON.stringify(value)
}

function printMembers(members: readonly (readonly [string, Value])[], budget: Budget): string {
  return `{${members.map(([key, each]) => `${JSON.stringify(key)}:${printJson(each, budget)}`).join(',')}}`
}

/** A value as JSON.stringify() takes it. */
export function plainOf(value: Value): unknown {
  if (value === undefined || value instanceof Method) return null
  if (value instanceof Float) return value.value
  if (isList(value)) return value.map(plainOf)
  if (isMap(value)) return Object.fromEntries(sortedKeys(value).map(key => [key, plainOf(value.get(key))]))
  if (isStruct(value)) return Object.fromEntries(fieldsOf(value).map(([key, each]) => [key, plainOf(each)]))
  return value
}

/** JSON that was parsed, as a value; its objects are structs. */
export function fromJson(json: unknown): Value {
  if (Array.isArray(json)) return json.map(fromJson)
  if (typeof json === 'object' && json !== null) {
    return Object.fromEntries(Object.entries(json).map(([key, each]) => [key, fromJson(each)]))
  }
  return typeof json === 'string' || typeof json === 'number' || typeof json === 'boolean' ? json : null
}
