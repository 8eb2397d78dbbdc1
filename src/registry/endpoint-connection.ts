import { DOCUMENT_LIMIT_BYTES } from '../oci/document.ts'
import { Authorizer, type Grant } from './authorizer.ts'
import type { CredentialSource } from './credentials.ts'
import { type Endpoint, hostOf } from './endpoint.ts'
import type { RegistryLimits } from './limits.ts'
import { nextUrl, sendFollowing } from './redirects.ts'
import { refusalError, shortUrl } from './registry-error.ts'
import { pauseAfter, withRetries } from './retry.ts'
import type { TokenContext } from './token.ts'
import type { HttpAnswer, HttpRequest } from './transport.ts'

/** One question to an endpoint. */
export interface Ask {
  /** What it is for, in errors: `fetch manifest "example.com/app:1"`. */
  readonly action: string
  readonly method: HttpRequest['method']
  /** Below the endpoint's base, `/app/tags/list?n=100`; or a URL that the endpoint has given. */
  readonly target: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: NonNullable<HttpRequest['body']>
  readonly grant: Grant
  /** The statuses that are no failure. */
  readonly accept: readonly number[]
}

/** A document as it came. */
export interface ReceivedDocument {
  readonly bytes: Uint8Array
  readonly headers: Headers
  /** Of the answer, after redirects; relative links refer to it. */
  readonly url: string
}

/** What errors of registries say fits in; a page of a proxy that is larger is not read to its end. */
const ERROR_LIMIT_BYTES = 64 * 1024
const USER_AGENT = 'berth'
/** How many 401s one request may meet: the first challenge, and a token that has ended early. */
const CHALLENGES_LIMIT = 2
/** A server may send a warning with every answer (RFC 7234, section 5.5); each text is shown once, and not without end. */
const WARNINGS_LIMIT = 20

/** What an {@link EndpointConnection} needs beside its endpoint. */
export interface ConnectionContext extends TokenContext {
  readonly credentials: CredentialSource
  readonly warn: (message: string) => void
  /** false: a 401 is a refusal, whoever asks. */
  readonly answersChallenges?: boolean
}

/** Asks one endpoint: authorization, redirects, retries, and errors that say what happened. */
export class EndpointConnection {
  readonly endpoint: Endpoint
  readonly #context: ConnectionContext
  readonly #authorizer: Authorizer
  readonly #origin: string
  readonly #warned = new Set<string>()

  constructor(endpoint: Endpoint, context: ConnectionContext) {
    this.endpoint = endpoint
    this.#context = context
    this.#authorizer = new Authorizer(endpoint, context.credentials, context)
    this.#origin = new URL(endpoint.base).origin
  }

  get limits(): RegistryLimits {
    return this.#context.limits
  }

  /** Asks, again when that may help. @throws {RegistryError} the last failure */
  ask(question: Ask, signal?: AbortSignal): Promise<HttpAnswer> {
    return this.#retrying(() => this.askOnce(question, signal), signal)
  }

  /** Asks for a whole document, again also when the connection breaks within it. */
  askDocument(question: Ask, signal?: AbortSignal): Promise<ReceivedDocument> {
    return this.#retrying(async () => {
      await using answer = await this.askOnce(question, signal)
      const bytes = await answer.readAll(DOCUMENT_LIMIT_BYTES)
      return { bytes, headers: answer.headers, url: answer.url }
    }, signal)
  }

  /** Asks without reading a body, and closes the answer. */
  async askHeaders(question: Ask, signal?: AbortSignal): Promise<Pick<HttpAnswer, 'status' | 'headers' | 'url'>> {
    await using answer = await this.ask(question, signal)
    await answer.finish()
    return { status: answer.status, headers: answer.headers, url: answer.url }
  }

  /** One attempt, in which challenges are answered and redirects followed. @throws {RegistryError} */
  async askOnce(question: Ask, signal?: AbortSignal): Promise<HttpAnswer> {
    for (let challenges = 0; ; challenges++) {
      const url = this.#urlOf(question.target)
      const isOwn = new URL(url).origin === this.#origin
      const sent = isOwn ? await this.#authorizer.header(question.grant, signal) : null
      const { answer, isForeign } = await sendFollowing(
        this.#context.transport,
        requestOf(question, url, this.endpoint, isOwn, sent),
        {
          tls: this.endpoint.tls,
          limits: this.#context.limits,
          action: question.action,
          signal,
        },
      )
      this.#showWarnings(answer.headers)
      // A challenge of another origin is not answered: it would get the credentials of this one (CVE-2020-15157).
      const mayAnswer = isOwn && !isForeign && this.#context.answersChallenges !== false
      if (answer.status === 401 && mayAnswer && challenges < CHALLENGES_LIMIT) {
        if (await this.#authorizer.accept(answer.headers.get('www-authenticate'), question.grant, sent)) {
          await answer.finish()
          continue
        }
      }
      if (question.accept.includes(answer.status)) return answer
      await using refused = answer
      throw await this.#refusal(question, refused)
    }
  }

  /** Waits before the next attempt of something that is not a single question. @throws the error, when none makes sense */
  pauseAfter(error: unknown, failures: number, signal?: AbortSignal): Promise<void> {
    return pauseAfter(error, failures, { ...this.#context, signal })
  }

  /** The URL that an answer's Location names, for the next question. @throws {RegistryError} it names none */
  locationOf(answer: Pick<HttpAnswer, 'url' | 'headers'>, action: string): string {
    return nextUrl(answer.url, answer.headers.get('location'), action)
  }

  #retrying<T>(attempt: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return withRetries(attempt, { ...this.#context, signal })
  }

  #urlOf(target: string): string {
    if (!target.startsWith('/')) return target
    const url = new URL(this.endpoint.base + target)
    if (this.endpoint.isMirror) url.searchParams.set('ns', this.endpoint.domain)
    return url.href
  }

  async #refusal({ action, method, grant }: Ask, answer: HttpAnswer): Promise<Error> {
    const { status, headers, url } = answer
    const body = await answer.readBeginning(ERROR_LIMIT_BYTES)
    const facts = { action, method, url, status, headers, body, secrets: this.#authorizer.secrets }
    // Who logged in matters to these alone: a key ring is not to be opened for a tag that is not there.
    const hasCredentials = [401, 403, 429].includes(status) && (await this.#authorizer.hasCredentials(grant))
    return refusalError({ ...facts, host: hostOf(this.endpoint), hasCredentials }, this.#context.now())
  }

  // distribution-spec › Warnings: code 299, no host, a quoted text.
  #showWarnings(headers: Headers): void {
    for (const [, said = ''] of (headers.get('warning') ?? '').matchAll(/299 - "((?:[^"\\]|\\.)*)"/g)) {
      const text = said
        .replace(/\\(.)/g, '$1')
        .replace(/[^\x20-\x7e]+/g, ' ')
        .slice(0, 4096)
      if (this.#warned.has(text) || this.#warned.size >= WARNINGS_LIMIT) continue
      this.#warned.add(text)
      this.#context.warn(`${hostOf(this.endpoint)} says: ${text}`)
    }
  }
}

function requestOf(question: Ask, url: string, endpoint: Endpoint, isOwn: boolean, authorization: string | null) {
  return {
    method: question.method,
    url,
    // Proxies must not compress what is named by a digest.
    headers: { 'user-agent': USER_AGENT, 'accept-encoding': 'identity', ...question.headers },
    ...(question.body !== undefined && { body: question.body }),
    ownHeaders: {
      ...(isOwn && endpoint.headers),
      ...(authorization !== null && { authorization }),
    },
  }
}

/** Where an endpoint is, for people. */
export function placeOf({ base }: Endpoint): string {
  return shortUrl(base)
}
