import { parseJson, type Shape } from '../lib/json-shape.ts'
import type { Ask, EndpointConnection, ReceivedDocument } from './endpoint-connection.ts'
import { nextUrl } from './redirects.ts'
import { RegistryError, shortUrl } from './registry-error.ts'

/**
 * The pages of a list, following `Link: <…>; rel="next"` (RFC 8288) as long as it leads on, at the same origin.
 * @throws {RegistryError} invalidArgument: a page is malformed, too large, leads elsewhere or to itself, or there are too many
 */
export async function* pagesOf<T>(
  connection: EndpointConnection,
  question: Omit<Ask, 'method' | 'accept'>,
  shape: Shape<T>,
  signal?: AbortSignal,
): AsyncGenerator<{ readonly page: T; readonly headers: Headers }> {
  let target: string | null = question.target
  const seen = new Set<string>()
  for (let count = 0; target !== null; count++) {
    if (count >= connection.limits.pages) throw problem(question, target, `more than ${count} pages`)
    const received = await connection.askDocument({ ...question, target, method: 'GET', accept: [200] }, signal)
    const text = new TextDecoder().decode(received.bytes)
    yield { page: parseJson(text, `the answer of ${shortUrl(received.url)}`, shape).value, headers: received.headers }
    seen.add(received.url)
    target = nextPage(received, question)
    if (target !== null && seen.has(target)) throw problem(question, target, 'its pages lead in a circle')
  }
}

function nextPage({ headers, url }: ReceivedDocument, question: Pick<Ask, 'action'>): string | null {
  const link = nextLink(headers.get('link'))
  if (link === null) return null
  const next = nextUrl(url, link, question.action)
  if (new URL(next).origin !== new URL(url).origin) throw problem(question, next, 'its next page is at another place')
  return next
}

function problem({ action }: Pick<Ask, 'action'>, url: string, why: string): RegistryError {
  const place = URL.canParse(url) ? `${shortUrl(url)}: ` : ''
  return new RegistryError('invalidArgument', `Cannot ${action}: ${place}${why}`)
}

/** The target of the link whose relation is `next`; null: there is none. */
export function nextLink(header: string | null): string | null {
  for (const [, target = '', parameters = ''] of (header ?? '').matchAll(
    /<([^>]*)>((?:\s*;\s*[^,;"]+(?:"[^"]*")?)*)/g,
  )) {
    if (/;\s*rel\s*=\s*(?:next\b|"(?:[^"]*\s)?next(?:\s[^"]*)?")/i.test(parameters)) return target
  }
  return null
}
