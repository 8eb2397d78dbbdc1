import type { TlsSettings } from './endpoint.ts'
import type { RegistryLimits } from './limits.ts'
import { RegistryError, shortUrl } from './registry-error.ts'
import type { HttpAnswer, HttpRequest, Transport } from './transport.ts'

/** A request whose redirects are followed. */
export interface FollowedRequest extends HttpRequest {
  /** Headers for the origin of `url` alone: authorization, and what the configuration adds. */
  readonly ownHeaders: Readonly<Record<string, string>>
}

/** How {@link sendFollowing} sends. */
export interface FollowOptions {
  readonly tls: TlsSettings
  readonly limits: RegistryLimits
  /** What it is for, in errors. */
  readonly action: string
  readonly signal?: AbortSignal | undefined
}

/** An answer and whether another origin than the one that was asked has given it. */
export interface FollowedAnswer {
  readonly answer: HttpAnswer
  readonly isForeign: boolean
}

const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308]

/**
 * Sends a request and follows its redirects by hand: what is for the first origin never goes to another one, and does not
 * come back either when another one redirects there, as that URL is a stranger's choice.
 * @throws {RegistryError} invalidArgument: too many redirects, or one from https to plain HTTP
 */
export async function sendFollowing(
  transport: Transport,
  request: FollowedRequest,
  options: FollowOptions,
): Promise<FollowedAnswer> {
  const { action, limits, signal } = options
  const { ownHeaders, ...plain } = request
  const { origin } = new URL(request.url)
  let url = request.url
  let isForeign = false
  for (let count = 0; count <= limits.redirects; count++) {
    const headers = isForeign ? plain.headers : { ...plain.headers, ...ownHeaders }
    const tls = isForeign ? withoutClient(options.tls) : options.tls
    const answer = await transport.send({ ...plain, url, headers }, tls, action, signal)
    if (!canFollow(request, answer.status)) return { answer, isForeign }
    await answer.finish()
    url = nextUrl(url, answer.headers.get('location'), action)
    isForeign ||= new URL(url).origin !== origin
  }
  throw refused(action, url, `more than ${limits.redirects} redirects`)
}

// A body that was iterated is gone, and after other methods than GET a redirect is not an answer of the specification.
function canFollow({ method, body }: HttpRequest, status: number): boolean {
  if (!REDIRECTS.includes(status)) return false
  return method === 'GET' || method === 'HEAD' || ((status === 307 || status === 308) && body === undefined)
}

/** Where an answer of `url` points to. @throws {RegistryError} invalidArgument: nowhere, or somewhere less safe */
export function nextUrl(url: string, location: string | null, action: string): string {
  if (location === null || location === '' || !URL.canParse(location, url))
    throw refused(action, url, 'it points to no URL')
  const [from, to] = [new URL(url), new URL(location, url)]
  if (to.protocol !== 'https:' && to.protocol !== 'http:') throw refused(action, url, `it points to ${to.protocol}`)
  // A stranger on the way could change what plain HTTP carries, and would see what is sent.
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    const hint = to.host === from.host ? '; a proxy before it may not tell it of https (X-Forwarded-Proto)' : ''
    throw refused(action, url, `it points from https to plain HTTP at ${to.host}${hint}`)
  }
  to.username = ''
  to.password = ''
  to.hash = ''
  return to.href
}

function refused(action: string, url: string, why: string): RegistryError {
  return new RegistryError('invalidArgument', `Cannot ${action}: ${shortUrl(url)}: ${why}`)
}

const withoutClients = new WeakMap<TlsSettings, TlsSettings>()

/**
 * The settings for places that a registry points to: its authorities serve its storage too, and a registry that is not
 * verified may say what it wants anyway; but its client certificate is for itself.
 */
export function withoutClient(tls: TlsSettings): TlsSettings {
  if (tls.client === null) return tls
  const known = withoutClients.get(tls) ?? { ...tls, client: null }
  withoutClients.set(tls, known)
  return known
}
