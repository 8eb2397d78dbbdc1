import { TemplateError } from './template-error.ts'
import { Float, fieldsOf, isList, isMap, isStruct, kindOf, typeName, type Value } from './value.ts'

const INCOMPATIBLE = 'incompatible types for comparison'
const BAD_TYPE = 'invalid type for comparison'

/** Whether the first equals any of the others. @throws {TemplateError} they can't be compared */
export function isEqualToAny(first: Value, others: readonly Value[]): boolean {
  if (others.length === 0) throw new TemplateError('missing argument for comparison')
  if (isList(first) || isMap(first)) throw new TemplateError(`non-comparable type ${typeName(first)}`)
  return others.some(other => isEqual(first, other))
}

function isEqual(left: Value, right: Value): boolean {
  const isNil = (value: Value): boolean => value === null || value === undefined
  if (isNil(left) || isNil(right)) return isNil(left) && isNil(right)
  if (isList(right) || isMap(right)) throw new TemplateError(`non-comparable type ${typeName(right)}`)
  if (kindOf(left) !== kindOf(right)) throw new TemplateError(INCOMPATIBLE)
  if (isStruct(left) && isStruct(right)) {
    const others = new Map(fieldsOf(right))
    const fields = fieldsOf(left)
    return fields.length === others.size && fields.every(([name, value]) => isEqualToAny(value, [others.get(name)]))
  }
  return plain(left) === plain(right)
}

/** Whether the first comes before the second. @throws {TemplateError} they have no order */
export function isLess(left: Value, right: Value): boolean {
  const [a, b] = [left, right].map(value => {
    const isOrdered = ['int', 'float', 'string'].includes(kindOf(value))
    if (!isOrdered && kindOf(value) !== 'bool') throw new TemplateError(BAD_TYPE)
    return plain(value)
  })
  if (kindOf(left) !== kindOf(right)) throw new TemplateError(INCOMPATIBLE)
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0
  if (typeof a === 'number' && typeof b === 'number') return a < b
  throw new TemplateError(BAD_TYPE)
}

function plain(value: Value): Value {
  return value instanceof Float ? value.value : value
}
