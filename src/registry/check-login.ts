import { parseChallenges } from './challenge.ts'
import type { Credential } from './credentials.ts'
import { type Endpoint, hostOf } from './endpoint.ts'
import { sendFollowing } from './redirects.ts'
import { RegistryError, refusalError } from './registry-error.ts'
import { withRetries } from './retry.ts'
import { basicHeader, fetchToken, type Token, type TokenContext } from './token.ts'

const ERROR_LIMIT_BYTES = 64 * 1024

interface Outcome {
  /** What the registry wants to see; null: it has let us in. */
  readonly challenges: string | null
}

/**
 * Whether an endpoint takes a credential; returns what is to be kept for later: an identity token when its authorization
 * server gives one, so that the password need not be kept. A registry that lets everybody in can't be asked.
 * Source: distribution-spec › Determining Support; distribution › Token Authentication (offline_token).
 * @throws {RegistryError} unauthorized: it does not; notFound: the place is no registry
 */
export async function checkLogin(
  endpoint: Endpoint,
  credential: Credential,
  context: TokenContext,
  signal?: AbortSignal,
): Promise<Credential> {
  const { challenges } = await knock(endpoint, null, credential, context, signal)
  if (challenges === null) return credential
  const offered = parseChallenges(challenges)
  const bearer = offered.find(({ scheme, parameters }) => scheme === 'bearer' && parameters['realm'] !== undefined)
  const realm = bearer?.parameters['realm']
  if (realm !== undefined) {
    const service = bearer?.parameters['service'] ?? null
    const request = { realm, service, scopes: [], isLogin: true }
    const asking = (): Promise<Token> => fetchToken(request, credential, endpoint, context, signal)
    const token = await withRetries(asking, { ...context, signal })
    await knock(endpoint, `Bearer ${token.value}`, credential, context, signal)
    return token.identityToken === null ? credential : { kind: 'identityToken', token: token.identityToken }
  }
  if (credential.kind === 'password' && offered.some(({ scheme }) => scheme === 'basic')) {
    await knock(endpoint, basicHeader(credential), credential, context, signal)
    return credential
  }
  const why = 'it asks for neither a password nor a token'
  throw new RegistryError('notImplemented', `Cannot log in to "${hostOf(endpoint)}": ${why}`)
}

/** Asks for the API's root; a 401 is an answer as long as nothing was shown. */
async function knock(
  endpoint: Endpoint,
  authorization: string | null,
  credential: Credential,
  context: TokenContext,
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  const { transport, limits, pause, now } = context
  const host = hostOf(endpoint)
  const action = `log in to "${host}"`
  const ownHeaders = { ...endpoint.headers, ...(authorization !== null && { authorization }) }
  const request = { method: 'GET', url: `${endpoint.base}/`, headers: {}, ownHeaders } as const
  const secrets = credential.kind === 'password' ? [credential.password] : [credential.token]
  const attempt = async (): Promise<Outcome> => {
    const { answer, isForeign } = await sendFollowing(transport, request, { tls: endpoint.tls, limits, action, signal })
    await using received = answer
    const { status, headers, url } = received
    if (status === 200) return { challenges: null }
    if (status === 401 && authorization === null && !isForeign)
      return { challenges: headers.get('www-authenticate') ?? '' }
    const body = await received.readBeginning(ERROR_LIMIT_BYTES)
    const facts = { action, method: 'GET', url, status, headers, body, secrets, host }
    throw refusalError({ ...facts, hasCredentials: null }, now())
  }
  return await withRetries(attempt, { limits, pause, signal })
}
