/**
 * What a registry answers when it refuses, and what a person is told of it.
 * Source: distribution-spec › Error Codes; Docker's documentation of rate limits.
 */
import { BerthError, type ErrorCategory } from '../lib/error.ts'
import { list, object, parseJson, text } from '../lib/json-shape.ts'

/** An error that has to do with a registry: what was asked, what came back, and whether asking again may help. */
export class RegistryError extends BerthError {
  override readonly name = 'RegistryError'
  /** HTTP status; null: there was no answer. */
  readonly status: number | null
  /** The specification's error codes, such as `MANIFEST_UNKNOWN`; empty: the answer named none. */
  readonly codes: readonly string[]
  /** The same request may succeed later. */
  readonly isTransient: boolean
  /** How long the registry asks to wait before that; null: it does not say. */
  readonly retryAfterMs: number | null

  constructor(category: ErrorCategory, message: string, facts: Partial<RegistryErrorFacts> & ErrorOptions = {}) {
    super(category, message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.status = facts.status ?? null
    this.codes = facts.codes ?? []
    this.isTransient = facts.isTransient ?? false
    this.retryAfterMs = facts.retryAfterMs ?? null
  }
}

/** The fields of a {@link RegistryError}. */
export type RegistryErrorFacts = Pick<RegistryError, 'status' | 'codes' | 'isTransient' | 'retryAfterMs'>

/** What an answer that refuses tells. */
export interface Refusal {
  /** What was being done, such as `fetch manifest "example.com/app:1"`. */
  readonly action: string
  readonly method: string
  readonly url: string
  readonly status: number
  readonly headers: Headers
  /** The beginning of the body. */
  readonly body: string
  /** Texts that must not be shown, even when the registry repeats them. */
  readonly secrets: readonly string[]
  /** `berth login` takes it. */
  readonly host: string
  /** Whether the user has some for the host; null: he is giving them just now. */
  readonly hasCredentials: boolean | null
}

const CATEGORIES: Readonly<Record<number, ErrorCategory>> = {
  400: 'invalidArgument',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'notFound',
  405: 'notImplemented',
  413: 'invalidArgument',
  415: 'invalidArgument',
  416: 'invalidArgument',
}

/** Statuses after which the same request may succeed: RFC 9110 and what proxies in front of registries answer. */
const TRANSIENT: readonly number[] = [408, 425, 429, 500, 502, 503, 504]

/** Every error of the specification is a line or two; more is a page that was not made for us. */
const SHOWN_CHARACTERS = 300

/** The error for an answer that refuses; `nowMs` is for a Retry-After that is a date. */
export function refusalError(refusal: Refusal, nowMs: number): RegistryError {
  const { action, method, url, status, headers, secrets } = refusal
  const errors = readErrors(refusal.body)
  const said = errors.map(({ code, message }) => [code, message].filter(part => part !== '').join(': ')).join('; ')
  const shown = said === '' ? '' : ` (${redact(printable(said), secrets)})`
  const advice = adviceFor(refusal)
  return new RegistryError(
    CATEGORIES[status] ?? 'unavailable',
    `Cannot ${action}: ${method} ${shortUrl(url)} gave ${status}${shown}${advice === '' ? '' : `; ${advice}`}`,
    {
      status,
      codes: errors.map(({ code }) => code).filter(code => code !== ''),
      isTransient: TRANSIENT.includes(status),
      retryAfterMs: parseRetryAfter(headers.get('retry-after'), nowMs),
    },
  )
}

/** A URL for people: neither user information nor query, which carry signatures and tokens. */
export function shortUrl(url: string): string {
  const { origin, pathname, search } = new URL(url)
  return `${origin}${pathname}${search === '' ? '' : '?…'}`
}

/** Milliseconds of a Retry-After header, in seconds or as a date (RFC 9110, section 10.2.3); null: none, or malformed. */
export function parseRetryAfter(value: string | null, nowMs: number): number | null {
  if (value === null) return null
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000
  // What Date.parse makes of other texts is no date of HTTP.
  const date = /^[A-Z][a-z]{2,8},? /.test(value) ? Date.parse(value) : Number.NaN
  return Number.isNaN(date) ? null : Math.max(0, date - nowMs)
}

interface SpecError {
  readonly code: string
  readonly message: string
}

const errorDocument = object<{ readonly errors?: readonly Partial<SpecError>[] }>({
  errors: list(object<Partial<SpecError>>({ code: text, message: text })),
})

function readErrors(body: string): readonly SpecError[] {
  if (!body.trimStart().startsWith('{')) return []
  try {
    const { errors = [] } = parseJson(body, 'error', errorDocument).value
    return errors.slice(0, 3).map(({ code = '', message = '' }) => ({ code: code.slice(0, 60), message }))
  } catch {
    // Whatever else a registry or a proxy answers is not for people: the status tells.
    return []
  }
}

/** One line without control characters: what a stranger says must not move the cursor of a terminal. */
function printable(said: string): string {
  const line = said.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+/g, ' ')
  return line.length > SHOWN_CHARACTERS ? `${line.slice(0, SHOWN_CHARACTERS)}…` : line
}

function redact(said: string, secrets: readonly string[]): string {
  return secrets.filter(secret => secret.length > 3).reduce((left, secret) => left.replaceAll(secret, '…'), said)
}

function adviceFor({ status, method, headers, host, hasCredentials, body }: Refusal): string {
  if (status === 429) return rateLimitAdvice(headers, host, hasCredentials)
  if (status === 401 && hasCredentials === null) return 'the user name or the password is wrong'
  if ((status === 401 || status === 403) && hasCredentials !== null) {
    const whose = hasCredentials
      ? `the account that is logged in to ${host} may not do this, or its password has changed`
      : `nobody is logged in to ${host}`
    return `${whose}; see "berth login ${host}"`
  }
  if (status === 404 && method === 'HEAD') return 'it has none of that name'
  if (status === 413) return 'the registry, or a proxy before it, takes no request of this size'
  if (status === 400 && /HTTP request to an HTTPS server/i.test(body)) return tlsAdvice(host, 'https')
  return ''
}

function rateLimitAdvice(headers: Headers, host: string, hasCredentials: boolean | null): string {
  const [, count, window] = /^(\d+);w=(\d+)$/.exec(headers.get('ratelimit-limit') ?? '') ?? []
  const limit =
    count === undefined ? 'its rate limit is reached' : `its limit is ${count} requests in ${window} seconds`
  return hasCredentials !== false ? limit : `${limit}; accounts often have a higher one, see "berth login ${host}"`
}

/** What to do when the registry does not speak what the configuration says. */
export function tlsAdvice(host: string, scheme: 'http' | 'https'): string {
  return `set server = "${scheme}://${host}" in registries.d/${host}/hosts.toml when the registry speaks ${scheme}`
}
