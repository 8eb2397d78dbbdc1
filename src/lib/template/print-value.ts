import type { Budget } from './budget.ts'
import { Float, fieldsOf, isList, isMap, isStruct, Method, sortedKeys, type Value } from './value.ts'

/** A value as `%v` of Go's fmt writes it. */
export function printValue(value: Value, budget: Budget): string {
  return printWith(value, budget, printScalar)
}

/** A value whose lists, maps and structs are Go's, and whose scalars are written by `scalar`. */
export function printWith(value: Value, budget: Budget, scalar: (value: Value) => string): string {
  budget.step()
  const inner = (each: Value): string => printWith(each, budget, scalar)
  if (isList(value)) return `[${value.map(inner).join(' ')}]`
  if (isMap(value))
    return `map[${sortedKeys(value)
      .map(key => `${scalar(key)}:${inner(value.get(key))}`)
      .join(' ')}]`
  if (isStruct(value))
    return `{${fieldsOf(value)
      .map(([, each]) => inner(each))
      .join(' ')}}`
  const text = scalar(value)
  budget.text(text.length)
  return text
}

function printScalar(value: Value): string {
  if (value === undefined || value === null) return '<nil>'
  if (value instanceof Float) return printFloat(value.value)
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : printFloat(value)
  return value instanceof Method ? 'func' : String(value)
}

/** A floating-point number in Go's shortest form: with an exponent below 1e-4 and from 1e6 on (`%g`). */
export function printFloat(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf'
  if (Object.is(value, -0)) return '-0'
  const [mantissa = '', exponent = '0'] = value.toExponential().split('e')
  const power = Number(exponent)
  if (power < -4 || power >= 6) return withExponent(mantissa, power)
  return value.toFixed(Math.max(0, mantissa.replace(/[-.]/g, '').length - 1 - power))
}

/** Go writes at least two digits of an exponent, and always its sign. */
export function withExponent(mantissa: string, power: number): string {
  return `${mantissa}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`
}
