import { type Challenge, parseChallenges } from './challenge.ts'
import type { Credential, CredentialSource } from './credentials.ts'
import { type Endpoint, hostOf } from './endpoint.ts'
import { basicHeader, fetchToken, type Token, type TokenContext } from './token.ts'

/** What a request needs authorization for. */
export interface Grant {
  /** The repository whose credentials count; empty: those of the registry. */
  readonly repository: string
  /** `repository:library/debian:pull`, `registry:catalog:*`; none for the registry itself. */
  readonly scopes: readonly string[]
}

type Bearer = { readonly kind: 'bearer'; readonly realm: string; readonly service: string | null }
type Scheme = { readonly kind: 'unknown' } | { readonly kind: 'basic' } | Bearer

interface KnownToken {
  readonly promise: Promise<Token>
  /** null: it is being fetched. */
  endsAtMs: number | null
}

/**
 * Authorization at one endpoint: learns from the first challenge how it wants to be asked, and keeps tokens until they end.
 * Source: distribution › Token Authentication Specification; RFC 7617 (Basic).
 */
export class Authorizer {
  readonly #endpoint: Endpoint
  readonly #source: CredentialSource
  readonly #context: TokenContext
  readonly #credentials = new Map<string, Promise<Credential | null>>()
  readonly #tokens = new Map<string, KnownToken>()
  readonly #secrets = new Set<string>()
  #scheme: Scheme = { kind: 'unknown' }

  constructor(endpoint: Endpoint, source: CredentialSource, context: TokenContext) {
    this.#endpoint = endpoint
    this.#source = source
    this.#context = context
  }

  /** Texts that errors must not show. */
  get secrets(): readonly string[] {
    return [...this.#secrets]
  }

  /** Whether the user has credentials for what is asked. */
  async hasCredentials({ repository }: Grant): Promise<boolean> {
    return (await this.#credential(repository)) !== null
  }

  /** The value of Authorization; null: none is known to be needed, or none can be given. */
  async header(grant: Grant, signal?: AbortSignal): Promise<string | null> {
    const scheme = this.#scheme
    if (scheme.kind === 'unknown') return null
    if (scheme.kind === 'bearer') return bearerHeader(await this.#token(scheme, grant, signal))
    const credential = await this.#credential(grant.repository)
    if (credential?.kind !== 'password') return null
    const header = basicHeader(credential)
    this.#secrets.add(header.slice('Basic '.length))
    return header
  }

  /**
   * Takes note of the challenges of a 401 that `sent` has brought (null: a request without Authorization). Returns whether
   * asking again makes sense; it does not when the same header would be sent again.
   */
  async accept(challenges: string | null, grant: Grant, sent: string | null): Promise<boolean> {
    const scheme = choose(parseChallenges(challenges ?? ''))
    if (scheme.kind === 'unknown') return false
    this.#scheme = scheme
    if (scheme.kind === 'basic') return sent === null && (await this.#credential(grant.repository))?.kind === 'password'
    const key = keyOf(grant)
    const known = this.#tokens.get(key)
    // Another request may have replaced the token that was refused.
    if (known?.endsAtMs != null && bearerHeader(await known.promise) === sent) this.#tokens.delete(key)
    return true
  }

  #credential(repository: string): Promise<Credential | null> {
    const known = this.#credentials.get(repository)
    if (known !== undefined) return known
    const finding = this.#source.find(hostOf(this.#endpoint), repository).then(credential => {
      if (credential !== null)
        this.#secrets.add(credential.kind === 'password' ? credential.password : credential.token)
      return credential
    })
    this.#credentials.set(repository, finding)
    return finding
  }

  // Layers are asked for at the same time: one token serves them all.
  async #token(scheme: Bearer, grant: Grant, signal?: AbortSignal): Promise<Token> {
    const key = keyOf(grant)
    const known = this.#tokens.get(key)
    if (known !== undefined && (known.endsAtMs === null || known.endsAtMs > this.#context.now()))
      return await unlessAborted(known.promise, signal)
    const fresh: KnownToken = { promise: this.#fetch(scheme, grant), endsAtMs: null }
    this.#tokens.set(key, fresh)
    fresh.promise.then(
      ({ endsAtMs }) => {
        fresh.endsAtMs = endsAtMs
      },
      // Whoever waits for it gets the error; the next request tries again.
      () => void this.#tokens.delete(key),
    )
    return await unlessAborted(fresh.promise, signal)
  }

  async #fetch({ realm, service }: Bearer, { repository, scopes }: Grant): Promise<Token> {
    const credential = await this.#credential(repository)
    const token = await fetchToken(
      { realm, service, scopes, isLogin: false },
      credential,
      this.#endpoint,
      this.#context,
    )
    this.#secrets.add(token.value)
    return token
  }
}

function bearerHeader({ value }: Token): string {
  return `Bearer ${value}`
}

function keyOf({ repository, scopes }: Grant): string {
  return JSON.stringify([repository, [...scopes].sort()])
}

/** Bearer where it is offered: its tokens are for one purpose and end, a password is for all and stays. */
function choose(challenges: readonly Challenge[]): Scheme {
  const bearer = challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters['realm'] !== undefined)
  const realm = bearer?.parameters['realm']
  if (realm !== undefined) return { kind: 'bearer', realm, service: bearer?.parameters['service'] ?? null }
  return challenges.some(({ scheme }) => scheme === 'basic') ? { kind: 'basic' } : { kind: 'unknown' }
}

/** Waits for work that others wait for too: the signal ends the waiting, not the work. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}
