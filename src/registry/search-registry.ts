import { BerthError } from '../lib/error.ts'
import { flag, integer, list, object, text } from '../lib/json-shape.ts'
import type { EndpointConnection } from './endpoint-connection.ts'
import { pagesOf } from './pages.ts'
import { RegistryError } from './registry-error.ts'

/** A repository that a search has found. What a registry does not know is empty, 0 and false. */
export interface FoundRepository {
  readonly name: string
  readonly description: string
  readonly starCount: number
  readonly isOfficial: boolean
}

/** What is looked for. */
export interface Search {
  readonly term: string
  /** The most results that are wanted. */
  readonly limit: number
}

interface WireResult {
  readonly name?: string
  readonly description?: string
  readonly star_count?: number
  readonly is_official?: boolean
}

const results = object<{ readonly results?: readonly WireResult[] }>({
  results: list(
    object<WireResult>({
      name: text,
      description: text,
      star_count: integer(0, Number.MAX_SAFE_INTEGER),
      is_official: flag,
    }),
  ),
})
const catalog = object<{ readonly repositories?: readonly string[] }>({ repositories: list(text) })

/** The default registry's search is at its old host. */
const DEFAULT_SEARCH = 'https://index.docker.io/v1/search'
const PAGE_SIZE = 1000
/** The most that search APIs give at once. */
const RESULTS_LIMIT = 100
const DESCRIPTION_LIMIT = 1000

/**
 * Looks for repositories: by the search API of Docker's first registries where there is one, else in the registry's catalogue
 * by a part of the name (distribution › Catalog, which the specification leaves out).
 * @throws {RegistryError} notImplemented: the registry offers neither
 */
export async function searchRegistry(
  connection: EndpointConnection,
  search: Search,
  signal?: AbortSignal,
): Promise<readonly FoundRepository[]> {
  const { domain, base } = connection.endpoint
  if (domain === 'docker.io') return await byApi(connection, DEFAULT_SEARCH, search, signal)
  try {
    return await byCatalog(connection, search, signal)
  } catch (error) {
    if (!isAbsent(error)) throw error
  }
  try {
    return await byApi(connection, `${new URL(base).origin}/v1/search`, search, signal)
  } catch (error) {
    if (!isAbsent(error)) throw error
    const why = 'it offers neither a catalogue nor a search'
    throw new RegistryError('notImplemented', `Cannot search "${domain}": ${why}`, { cause: error })
  }
}

// Registries that keep the catalogue to themselves refuse it in all these ways; an API that is not there may answer with a page.
function isAbsent(error: unknown): boolean {
  if (!(error instanceof BerthError)) return false
  const status = error instanceof RegistryError ? error.status : null
  return status === null ? error.category === 'invalidArgument' : [400, 401, 403, 404, 405, 501].includes(status)
}

async function byApi(
  connection: EndpointConnection,
  url: string,
  { term, limit }: Search,
  signal: AbortSignal | undefined,
): Promise<readonly FoundRepository[]> {
  const query = new URLSearchParams({ q: term, n: String(Math.min(limit, RESULTS_LIMIT)) })
  const question = {
    ...questionFor(connection, term),
    target: `${url}?${query}`,
    grant: { repository: '', scopes: [] },
  }
  for await (const { page } of pagesOf(connection, question, results, signal))
    return (page.results ?? []).map(foundOf).filter(isNamed).slice(0, limit)
  return []
}

async function byCatalog(
  connection: EndpointConnection,
  { term, limit }: Search,
  signal: AbortSignal | undefined,
): Promise<readonly FoundRepository[]> {
  const grant = { repository: '', scopes: ['registry:catalog:*'] }
  const question = { ...questionFor(connection, term), target: `/_catalog?n=${PAGE_SIZE}`, grant }
  const found: FoundRepository[] = []
  for await (const { page } of pagesOf(connection, question, catalog, signal)) {
    const names = (page.repositories ?? []).filter(name => name.includes(term.toLowerCase()))
    found.push(...names.map(name => foundOf({ name })).filter(isNamed))
    if (found.length >= limit) break
  }
  return found.slice(0, limit)
}

function questionFor({ endpoint }: EndpointConnection, term: string) {
  return { action: `search "${term}" in ${endpoint.domain}` }
}

function foundOf({ name = '', description = '', star_count = 0, is_official = false }: WireResult): FoundRepository {
  // A stranger's text goes to a terminal.
  const plain = description.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+/g, ' ').trim()
  return { name, description: plain.slice(0, DESCRIPTION_LIMIT), starCount: star_count, isOfficial: is_official }
}

function isNamed({ name }: FoundRepository): boolean {
  return /^[a-z0-9][a-z0-9._/:-]{0,254}$/.test(name)
}
