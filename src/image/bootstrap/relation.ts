/**
 * Relations between packages: `a (>= 1.0), b | c:any`.
 * Source: deb-control(5), Debian Policy › Declaring relationships between packages.
 */
import { BerthError } from '../../lib/error.ts'
import { compareDebVersions } from './deb-version.ts'

const OPERATORS = ['<<', '<=', '=', '>=', '>>'] as const

type Operator = (typeof OPERATORS)[number]

/** A package by name, and which versions of it. */
export interface PackageNeed {
  readonly name: string
  readonly version: { readonly operator: Operator; readonly value: string } | null
}

/** Any one of these will do; the first is the preferred. */
export type Alternatives = readonly PackageNeed[]

const NEED =
  /^([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?\s*(?:\(\s*(<<|<=|>=|>>|=|<|>)\s*([^\s()=<>]+)\s*\))?\s*(?:\[[^\]]*\])?\s*(?:<[^>]*>\s*)*$/

/**
 * Parses the value of a field such as Depends; `name` is the package's, for errors.
 * @throws {BerthError} invalidArgument
 */
export function parseRelation(value: string, name: string): readonly Alternatives[] {
  return value
    .split(',')
    .map(part => part.trim())
    .filter(part => part !== '')
    .map(part => part.split('|').map(each => parseNeed(each.trim(), name)))
}

function parseNeed(text: string, name: string): PackageNeed {
  const [, needed, operator, value] = NEED.exec(text) ?? []
  if (needed === undefined)
    throw new BerthError('invalidArgument', `Cannot read the relations of package "${name}": ${JSON.stringify(text)}`)
  if (operator === undefined || value === undefined) return { name: needed, version: null }
  return { name: needed, version: { operator: operatorOf(operator), value } }
}

/** `<` and `>` are old spellings of "or equal". */
function operatorOf(text: string): Operator {
  const modern = text === '<' ? '<=' : text === '>' ? '>=' : text
  return OPERATORS.find(each => each === modern) ?? '='
}

/** Whether a version is one of those needed. A version that is not known (a virtual package's) is none of a particular one. */
export function isVersionOf({ version }: PackageNeed, actual: string | null): boolean {
  if (version === null) return true
  if (actual === null) return false
  const order = compareDebVersions(actual, version.value)
  switch (version.operator) {
    case '<<':
      return order < 0
    case '<=':
      return order <= 0
    case '=':
      return order === 0
    case '>=':
      return order >= 0
    case '>>':
      return order > 0
  }
}
