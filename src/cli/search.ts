import { openRegistry } from '../engine/open-registry.ts'
import { BerthError } from '../lib/error.ts'
import type { FoundRepository } from '../registry/search-registry.ts'
import { formatRows, type Listing, type ListingRow } from './format.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { printable } from './table.ts'

const grammar: Grammar = {
  name: 'search',
  operands: '[REGISTRY/]TERM',
  help: 'Looks for repositories in a registry.',
  options: [
    { name: 'filter', short: 'f', kind: 'values', value: 'NAME=VALUE', help: 'only those with: is-official, stars' },
    { name: 'format', kind: 'value', value: 'FORMAT', help: 'table, table TEMPLATE, json, or a Go template' },
    { name: 'limit', kind: 'value', value: 'COUNT', help: 'at most so many (default: 25)' },
    { name: 'no-trunc', kind: 'flag', help: 'whole descriptions' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

const LISTING: Listing = {
  typeName: 'repository',
  columns: [
    { field: 'Name', title: 'NAME' },
    { field: 'Description', title: 'DESCRIPTION' },
    { field: 'StarCount', title: 'STARS' },
    { field: 'IsOfficial', title: 'OFFICIAL' },
  ],
  shown: ['Name', 'Description', 'StarCount', 'IsOfficial'],
}

const DEFAULT_DOMAIN = 'docker.io'
const DEFAULT_LIMIT = 25
const LIMIT_MAX = 100
const SHORT_DESCRIPTION = 45

/** `berth search`. */
export async function searchCommand(args: readonly string[]): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [text, ...more] = parsed.operands
  if (text === undefined || more.length > 0) {
    throw new UsageError(grammar, `Cannot search for ${parsed.operands.length} terms: expected one`)
  }
  const limit = limitOf(parsed.value('limit'))
  const passes = filterOf(parsed.values('filter'))
  const { domain, term } = place(text)
  return await interruptible(async signal => {
    using registry = openRegistry(message => console.error(`berth: warning: ${printable(message)}`))
    const found = (await registry.search(domain, term, limit, signal)).filter(passes)
    const rows = found.map(each => rowOf(each, domain, parsed.flag('no-trunc')))
    process.stdout.write(formatRows(rows, LISTING, parsed.value('format')))
  })
}

/** A first component with the marks of a host is the registry's. */
function place(text: string): { readonly domain: string; readonly term: string } {
  const slash = text.indexOf('/')
  const first = text.slice(0, Math.max(slash, 0))
  const isDomain = /[.:]/.test(first) || first === 'localhost'
  const term = isDomain ? text.slice(slash + 1) : text
  if (term === '') throw new UsageError(grammar, `Cannot search for "${text}": expected a term`)
  return { domain: isDomain ? first : DEFAULT_DOMAIN, term }
}

function limitOf(text: string | undefined): number {
  const limit = text === undefined ? DEFAULT_LIMIT : Number(text)
  if (Number.isInteger(limit) && limit >= 1 && limit <= LIMIT_MAX) return limit
  throw new UsageError(grammar, `Cannot search with limit "${text}": expected 1 to ${LIMIT_MAX}`)
}

function filterOf(texts: readonly string[]): (each: FoundRepository) => boolean {
  const tests = texts.map((text): ((each: FoundRepository) => boolean) => {
    const [, name, value = ''] = /^([^=]+)=(.*)$/.exec(text) ?? []
    if (name === 'is-official' && /^(?:true|false|1|0)$/.test(value)) {
      return each => each.isOfficial === (value === 'true' || value === '1')
    }
    if (name === 'stars' && /^\d{1,15}$/.test(value)) return each => each.starCount >= Number(value)
    throw new BerthError(
      'invalidArgument',
      `Cannot use filter "${text}": expected is-official=true|false or stars=COUNT`,
    )
  })
  return each => tests.every(test => test(each))
}

function rowOf(
  { name, description, starCount, isOfficial }: FoundRepository,
  domain: string,
  whole: boolean,
): ListingRow {
  const line = [...description.replaceAll(/[\r\n]+/g, ' ')]
  const isLong = !whole && line.length > SHORT_DESCRIPTION
  return {
    Description: isLong ? `${line.slice(0, SHORT_DESCRIPTION - 1).join('')}…` : line.join(''),
    IsAutomated: false,
    IsOfficial: isOfficial ? '[OK]' : '',
    Name: domain === DEFAULT_DOMAIN ? name : `${domain}/${name}`,
    StarCount: starCount,
  }
}
