/**
 * Tokens: what a registry's authorization server gives for credentials, or to anybody.
 * Source: distribution › Token Authentication Specification, OAuth2 Token Authentication.
 */
import { BerthError } from '../lib/error.ts'
import { integer, object, parseJson, text } from '../lib/json-shape.ts'
import type { Credential } from './credentials.ts'
import { type Endpoint, hostOf, isLoopback } from './endpoint.ts'
import type { RegistryLimits } from './limits.ts'
import { sendFollowing, withoutClient } from './redirects.ts'
import { RegistryError, refusalError } from './registry-error.ts'
import type { Pause } from './retry.ts'
import type { HttpRequest, Transport } from './transport.ts'

/** A token and when it is to be replaced. */
export interface Token {
  readonly value: string
  readonly endsAtMs: number
  /** An identity token for later, when one was asked for and the server has given it. */
  readonly identityToken: string | null
}

/** What a token is asked for. */
export interface TokenRequest {
  readonly realm: string
  readonly service: string | null
  readonly scopes: readonly string[]
  /** An identity token is wanted too. */
  readonly isLogin: boolean
}

/** What fetching tokens needs. */
export interface TokenContext {
  readonly transport: Transport
  readonly limits: RegistryLimits
  readonly pause: Pause
  readonly now: () => number
  /** Hosts that are configured to be reached by plain HTTP. */
  readonly isPlainHttp: (host: string) => Promise<boolean>
}

/** What the authorization server knows us as. */
const CLIENT_ID = 'berth'
/** Tokens with long lists of permissions have some kilobytes. */
const ANSWER_LIMIT_BYTES = 256 * 1024
const ERROR_LIMIT_BYTES = 64 * 1024
/** What the specification says of a token without `expires_in`, and the least it allows. */
const DEFAULT_SECONDS = 60
/** A token is replaced before it ends, as it has to arrive before that. */
const USED_PART = 0.9

interface Answer {
  readonly token?: string
  readonly access_token?: string
  readonly expires_in?: number
  readonly refresh_token?: string
}

const answerShape = object<Answer>({
  token: text,
  access_token: text,
  expires_in: integer(0, Number.MAX_SAFE_INTEGER),
  refresh_token: text,
})

/** The value of Authorization for a name and a password. Source: RFC 7617. */
export function basicHeader({ username, password }: Credential & { readonly kind: 'password' }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

/**
 * Asks the server at the realm once for a token; without credentials for one that anybody gets. Whoever needs it asks again.
 * @throws {RegistryError} forbidden: the realm is not a place to send credentials to; what the server answers
 */
export async function fetchToken(
  request: TokenRequest,
  credential: Credential | null,
  endpoint: Endpoint,
  context: TokenContext,
  signal?: AbortSignal,
): Promise<Token> {
  const host = hostOf(endpoint)
  const action = `get a token for ${host}`
  const realm = await checkRealm(request.realm, endpoint, context)
  const { transport, limits, now } = context
  const secrets = credential === null ? [] : [credential.kind === 'password' ? credential.password : credential.token]
  const sent =
    credential?.kind === 'identityToken' ? byPost(realm, request, credential) : byGet(realm, request, credential)
  const tls = realm.host === host ? endpoint.tls : withoutClient(endpoint.tls)
  const { answer } = await sendFollowing(transport, sent, { tls, limits, action, signal })
  await using received = answer
  const { status, headers, url } = received
  if (status !== 200) {
    const body = await received.readBeginning(ERROR_LIMIT_BYTES)
    const facts = { action, method: sent.method, url, status, headers, body, secrets, host }
    throw refusalError({ ...facts, hasCredentials: request.isLogin ? null : credential !== null }, now())
  }
  return readToken(await received.readAll(ANSWER_LIMIT_BYTES), action, now())
}

/**
 * Where credentials may go: to https, or to a plain HTTP that carries the registry's requests anyway. A registry that is
 * reached by https must not move them to a connection that others can read.
 */
async function checkRealm(text: string, endpoint: Endpoint, context: TokenContext): Promise<URL> {
  const host = hostOf(endpoint)
  const action = `Cannot get a token for ${host}: its realm`
  if (!URL.canParse(text)) throw new RegistryError('invalidArgument', `${action} is no URL`)
  const [realm, base] = [new URL(text), new URL(endpoint.base)]
  realm.username = ''
  realm.password = ''
  realm.hash = ''
  if (realm.protocol === 'https:') return realm
  const isOwn = base.protocol === 'http:' && (realm.host === base.host || bothLoopback(realm, base))
  if (realm.protocol === 'http:' && (isOwn || (await context.isPlainHttp(realm.host)))) return realm
  throw new RegistryError('forbidden', `${action} is ${realm.origin}, expected https, or plain HTTP that is configured`)
}

function bothLoopback(a: URL, b: URL): boolean {
  return isLoopback(a.hostname) && isLoopback(b.hostname)
}

type Sent = HttpRequest & { readonly ownHeaders: Readonly<Record<string, string>> }

function byGet(realm: URL, request: TokenRequest, credential: Credential | null): Sent {
  const url = new URL(realm)
  if (request.service !== null) url.searchParams.set('service', request.service)
  for (const scope of request.scopes) url.searchParams.append('scope', scope)
  if (request.isLogin) url.searchParams.set('offline_token', 'true')
  if (credential?.kind !== 'password') return { method: 'GET', url: url.href, headers: {}, ownHeaders: {} }
  url.searchParams.set('client_id', CLIENT_ID)
  url.searchParams.set('account', credential.username)
  return { method: 'GET', url: url.href, headers: {}, ownHeaders: { authorization: basicHeader(credential) } }
}

// A redirect of a POST is not followed (sendFollowing): its body is the credential.
function byPost(realm: URL, request: TokenRequest, credential: Credential & { readonly kind: 'identityToken' }): Sent {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    client_id: CLIENT_ID,
    refresh_token: credential.token,
  })
  if (request.service !== null) form.set('service', request.service)
  if (request.scopes.length > 0) form.set('scope', request.scopes.join(' '))
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  return { method: 'POST', url: realm.href, headers, ownHeaders: {}, body: new TextEncoder().encode(form.toString()) }
}

function readToken(bytes: Uint8Array, action: string, nowMs: number): Token {
  let answer: Answer
  try {
    answer = parseJson(new TextDecoder().decode(bytes), 'answer', answerShape).value
  } catch (cause) {
    // Not the parser's words: they may quote the token.
    if (!(cause instanceof BerthError)) throw cause
    throw new RegistryError('invalidArgument', `Cannot ${action}: the answer is no JSON of a token`)
  }
  const value = answer.token || answer.access_token || ''
  // It becomes part of a header.
  if (!/^[\x21-\x7e]+$/.test(value)) throw new RegistryError('invalidArgument', `Cannot ${action}: the answer has none`)
  const seconds = Math.max(answer.expires_in ?? DEFAULT_SECONDS, DEFAULT_SECONDS)
  return { value, endsAtMs: nowMs + seconds * 1000 * USED_PART, identityToken: answer.refresh_token || null }
}
