import { TemplateError } from './template-error.ts'
import { isList, isMap, kindOf, typeName, type Value } from './value.ts'

/** `index`: an element of a list, the value of a map's key, a byte of a text; several keys go deeper. @throws {TemplateError} */
export function indexValue(value: Value, keys: readonly Value[]): Value {
  let found = value
  for (const key of keys) found = indexOnce(found, key)
  return found
}

function indexOnce(value: Value, key: Value): Value {
  if (value === undefined || value === null) throw new TemplateError('index of untyped nil')
  if (isMap(value)) {
    if (typeof key !== 'string') throw new TemplateError(`value has type ${typeName(key)}; should be string`)
    return value.get(key)
  }
  if (isList(value)) return value[positionOf(key, value.length - 1)]
  if (typeof value === 'string') {
    const bytes = Buffer.from(value)
    return bytes[positionOf(key, bytes.length - 1)]
  }
  throw new TemplateError(`can't index item of type ${typeName(value)}`)
}

function positionOf(key: Value, last: number): number {
  if (key === undefined || key === null) throw new TemplateError('cannot index slice/array with nil')
  if (kindOf(key) !== 'int') throw new TemplateError(`cannot index slice/array with type ${typeName(key)}`)
  const position = Number(key)
  if (position < 0 || position > last) throw new TemplateError(`index out of range: ${position}`)
  return position
}

/** `slice`: a part of a list, or of a text by its bytes. @throws {TemplateError} */
export function sliceValue(value: Value, bounds: readonly Value[]): Value {
  if (value === undefined || value === null) throw new TemplateError('slice of untyped nil')
  if (bounds.length > 3) throw new TemplateError(`too many slice indexes: ${bounds.length}`)
  if (typeof value !== 'string' && !isList(value)) {
    throw new TemplateError(`can't slice item of type ${typeName(value)}`)
  }
  if (typeof value === 'string' && bounds.length === 3) throw new TemplateError('cannot 3-index slice a string')
  const bytes = typeof value === 'string' ? Buffer.from(value) : null
  const length = bytes?.length ?? value.length
  const [from = 0, to = length, capacity = length] = bounds.map(bound => positionOf(bound, length))
  if (from > to) throw new TemplateError(`invalid slice index: ${from} > ${to}`)
  if (to > capacity) throw new TemplateError(`invalid slice index: ${to} > ${capacity}`)
  return bytes === null ? value.slice(from, to) : bytes.subarray(from, to).toString()
}

/** `len`: elements, keys, or the bytes of a text. @throws {TemplateError} */
export function lengthOf(value: Value): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (isList(value)) return value.length
  if (isMap(value)) return value.size
  if (value === undefined || value === null) throw new TemplateError('len of nil pointer')
  throw new TemplateError(`len of type ${typeName(value)}`)
}
