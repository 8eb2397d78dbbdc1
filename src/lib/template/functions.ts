import type { Budget } from './budget.ts'
import { isEqualToAny, isLess } from './comparison.ts'
import { indexValue, lengthOf, sliceValue } from './index-value.ts'
import { printValue } from './print-value.ts'
import { sprintf } from './printf.ts'
import { TemplateError } from './template-error.ts'
import { isList, isTrue, Method, type ParameterType, printJson, typeName, type Value } from './value.ts'

/** A function of templates. */
export interface TemplateFunction {
  /** What it takes; the last one any number of times when `isVariadic`. */
  readonly parameters: readonly ParameterType[]
  readonly isVariadic: boolean
  /** `and` and `or` evaluate no more than they need: this says at which value they stop. */
  readonly stopsAt?: boolean
  readonly call: (values: readonly Value[], budget: Budget) => Value
}

function fixed(parameters: readonly ParameterType[], call: TemplateFunction['call']): TemplateFunction {
  return { parameters, isVariadic: false, call }
}

function variadic(parameters: readonly ParameterType[], call: TemplateFunction['call']): TemplateFunction {
  return { parameters, isVariadic: true, call }
}

const text = (value: Value): string => (typeof value === 'string' ? value : '')
const texts = (value: Value): readonly string[] => (isList(value) ? value.map(text) : [])

/** Go's built-in functions. Source: text/template › Functions. */
const BUILT_IN: Readonly<Record<string, TemplateFunction>> = {
  and: { ...variadic(['any', 'any'], values => values.at(-1)), stopsAt: false },
  or: { ...variadic(['any', 'any'], values => values.at(-1)), stopsAt: true },
  not: fixed(['any'], ([value]) => !isTrue(value)),
  call: variadic(['any', 'any'], ([method, ...values]) => {
    if (!(method instanceof Method)) throw new TemplateError(`non-function of type ${typeName(method)}`)
    if (values.length !== method.parameters.length) {
      throw new TemplateError(`wrong number of args: got ${values.length} want ${method.parameters.length}`)
    }
    return method.call(...values.map(text))
  }),
  html: variadic(['any'], (values, budget) => escapeHtml(joined(values, budget))),
  js: variadic(['any'], (values, budget) => escapeJs(joined(values, budget))),
  urlquery: variadic(['any'], (values, budget) => escapeQuery(joined(values, budget))),
  index: variadic(['any', 'any'], ([value, ...keys]) => indexValue(value, keys)),
  slice: variadic(['any', 'any'], ([value, ...bounds]) => sliceValue(value, bounds)),
  len: fixed(['any'], ([value]) => lengthOf(value)),
  print: variadic(['any'], print),
  printf: variadic(['string', 'any'], ([format, ...values], budget) => sprintf(text(format), values, budget)),
  println: variadic(['any'], (values, budget) => `${values.map(value => printValue(value, budget)).join(' ')}\n`),
  eq: variadic(['any', 'any'], ([first, ...others]) => isEqualToAny(first, others)),
  ne: fixed(['any', 'any'], ([left, right]) => !isEqualToAny(left, [right])),
  lt: fixed(['any', 'any'], ([left, right]) => isLess(left, right)),
  le: fixed(['any', 'any'], ([left, right]) => isLess(left, right) || isEqualToAny(left, [right])),
  gt: fixed(['any', 'any'], ([left, right]) => !isLess(left, right) && !isEqualToAny(left, [right])),
  ge: fixed(['any', 'any'], ([left, right]) => !isLess(left, right)),
}

/** What Docker's command line adds. Source: docs.docker.com › Format command and log output. */
const DOCKER: Readonly<Record<string, TemplateFunction>> = {
  json: fixed(['any'], ([value], budget) => printJson(value, budget)),
  split: fixed(['string', 'string'], ([value, separator], budget) => {
    budget.text(text(value).length)
    return text(separator) === '' ? [...text(value)] : text(value).split(text(separator))
  }),
  join: fixed(['strings', 'string'], ([values, separator], budget) => {
    budget.text(texts(values).reduce((sum, each) => sum + each.length + text(separator).length, 0))
    return texts(values).join(text(separator))
  }),
  title: fixed(['string'], ([value]) =>
    text(value).replace(/(?<![\p{L}\p{Nd}_])\p{L}/gu, first => first.toUpperCase()),
  ),
  lower: fixed(['string'], ([value]) => text(value).toLowerCase()),
  upper: fixed(['string'], ([value]) => text(value).toUpperCase()),
  pad: fixed(['string', 'int', 'int'], ([value, before, after], budget) => {
    if (text(value) === '') return ''
    const [left, right] = [Number(before), Number(after)]
    if (left < 0 || right < 0) throw new TemplateError('strings: negative Repeat count')
    budget.text(left + right)
    return ' '.repeat(left) + text(value) + ' '.repeat(right)
  }),
  // By characters: Docker cuts between bytes, and so makes texts that are no UTF-8.
  truncate: fixed(['string', 'int'], ([value, length]) => {
    if (Number(length) < 0) throw new TemplateError(`slice bounds out of range [:${String(length)}]`)
    return [...text(value)].slice(0, Number(length)).join('')
  }),
}

/** All functions of templates, by name. */
export const TEMPLATE_FUNCTIONS: ReadonlyMap<string, TemplateFunction> = new Map(
  Object.entries({ ...BUILT_IN, ...DOCKER }),
)

const unchanged: TemplateFunction['call'] = ([value]) => value

/** The functions as they are for the titles of a table: what changes a value leaves a title as it is. */
export const TITLE_FUNCTIONS: ReadonlyMap<string, TemplateFunction> = new Map([
  ...TEMPLATE_FUNCTIONS,
  ...['json', 'title', 'lower', 'upper'].map(name => [name, fixed(['string'], unchanged)] as const),
  ['truncate', fixed(['string', 'int'], unchanged)],
])

/** As Go's fmt.Sprint: a space between values of which neither is a text. */
function print(values: readonly Value[], budget: Budget): string {
  const isText = (value: Value): boolean => typeof value === 'string'
  return values
    .map((value, index) => {
      const gap = index > 0 && !isText(value) && !isText(values[index - 1]) ? ' ' : ''
      return gap + printValue(value, budget)
    })
    .join('')
}

function joined(values: readonly Value[], budget: Budget): string {
  const [only] = values
  if (values.length === 1) return only === undefined ? '<no value>' : printValue(only, budget)
  return print(values, budget)
}

const HTML_ESCAPES: Readonly<Record<string, string>> = {
  '"': '&#34;',
  "'": '&#39;',
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '\0': '\ufffd',
}

function escapeHtml(value: string): string {
  return value.replace(/["'&<>\0]/g, char => HTML_ESCAPES[char] ?? char)
}

function escapeJs(value: string): string {
  return value.replace(/[\\'"<>&=]|[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, char => {
    if ('\\\'"'.includes(char)) return `\\${char}`
    const code = (char.codePointAt(0) ?? 0).toString(16).toUpperCase()
    return `\\u${code.padStart(4, '0')}`
  })
}

function escapeQuery(value: string): string {
  const encoded = encodeURIComponent(value.toWellFormed())
  return encoded.replace(/[!'()*]/g, char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`).replaceAll('%20', '+')
}
