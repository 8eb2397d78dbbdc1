import { invariant, messageOf } from '../lib/error.ts'
import type { TlsSettings } from './endpoint.ts'
import type { RegistryLimits } from './limits.ts'
import type { ProxyRules } from './proxy-rules.ts'
import { RegistryError, shortUrl, tlsAdvice } from './registry-error.ts'

/** One HTTP request. A body that is iterated is sent as it comes, and must give exactly `contentBytes` bytes. */
export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array | HttpBody
}

/** A body that is not in memory. */
export interface HttpBody {
  readonly contentBytes: number
  readonly open: () => AsyncIterable<Uint8Array>
}

/** Reading so much costs less than another connection. */
const SHORT_BYTES = 16 * 1024

/** The answer to a request: what was asked, the status, the headers, and a body to be read once or discarded. */
export class HttpAnswer implements AsyncDisposable {
  readonly url: string
  readonly status: number
  readonly headers: Headers
  readonly #body: ReadableStream<Uint8Array> | null
  readonly #watch: Watch
  readonly #action: string

  /** Made by {@link Transport.send} only. */
  constructor(response: Response, request: { readonly url: string; readonly action: string }, watch: Watch) {
    this.url = request.url
    this.status = response.status
    this.headers = response.headers
    this.#body = response.body
    this.#watch = watch
    this.#action = request.action
  }

  /**
   * The body as it comes, each piece within the time without activity.
   * @throws {RegistryError} unavailable and transient: the connection broke or fell silent
   */
  async *read(): AsyncGenerator<Uint8Array> {
    if (this.#body === null) return
    const reader = this.#body.getReader()
    try {
      for (;;) {
        const { done, value } = await this.#watch.within(reader.read())
        if (done) return
        yield value
      }
    } catch (error) {
      throw this.#watch.explain(error, this.#action, this.url)
    } finally {
      // What is left of a broken or abandoned body has no reader: its failure is known already.
      await reader.cancel().catch(() => undefined)
      this.#watch[Symbol.dispose]()
    }
  }

  /** The whole body. @throws {RegistryError} invalidArgument: it has more bytes than the limit; as {@link read} */
  async readAll(limitBytes: number): Promise<Uint8Array> {
    const pieces: Uint8Array[] = []
    let total = 0
    for await (const piece of this.read()) {
      total += piece.length
      if (total > limitBytes) {
        const why = `${shortUrl(this.url)} gave more than ${limitBytes} bytes`
        throw new RegistryError('invalidArgument', `Cannot ${this.#action}: ${why}`, { status: this.status })
      }
      pieces.push(piece)
    }
    return Buffer.concat(pieces)
  }

  /** The beginning of the body, for an error: what breaks on the way ends it. */
  async readBeginning(limitBytes: number): Promise<string> {
    const pieces: Uint8Array[] = []
    let total = 0
    try {
      for await (const piece of this.read()) {
        pieces.push(piece)
        total += piece.length
        if (total >= limitBytes) break
      }
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error
      // The status has been received, and it says more than that the rest of its text did not come.
    }
    return Buffer.concat(pieces).subarray(0, limitBytes).toString('utf8')
  }

  /** Done with the answer: a short rest of it is read, so that the next request can have its connection. */
  async finish(): Promise<void> {
    const length = this.headers.get('content-length')
    if (length !== null && Number(length) <= SHORT_BYTES && this.#body?.locked === false)
      await this.readBeginning(SHORT_BYTES)
    await this[Symbol.asyncDispose]()
  }

  /** Gives up the body, and with it the connection unless all has come. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#body !== null && !this.#body.locked) await this.#body.cancel().catch(() => undefined)
    this.#watch[Symbol.dispose]()
  }
}

/** Sends single requests: connections, proxies, time limits. It knows neither redirects nor authentication. */
export class Transport implements Disposable {
  readonly #proxies: ProxyRules
  readonly #limits: RegistryLimits
  readonly #sessions = new Map<TlsSettings, Map<string | null, Bun.FetchSession>>()

  constructor(proxies: ProxyRules, limits: RegistryLimits) {
    this.#proxies = proxies
    this.#limits = limits
  }

  /**
   * Sends a request and returns its answer, whatever the status; redirects are answers too.
   * `action` is what it is for, in errors: `fetch manifest "example.com/app:1"`.
   * @throws {RegistryError} unavailable: no connection, or silence; the signal's reason
   */
  async send(request: HttpRequest, tls: TlsSettings, action: string, signal?: AbortSignal): Promise<HttpAnswer> {
    const { url, method, headers, body } = request
    const inactivityMs = body === undefined ? this.#limits.inactivityMs : this.#limits.uploadAnswerMs
    const watch = new Watch(this.#limits.inactivityMs, signal)
    try {
      const sent = body === undefined || body instanceof Uint8Array ? body : streamOf(body, watch)
      const length = body === undefined || body instanceof Uint8Array ? undefined : String(body.contentBytes)
      const response = await watch.within(
        this.#session(url, tls).fetch(url, {
          method,
          headers: { ...headers, ...(length !== undefined && { 'content-length': length }) },
          // Bytes have digests: nobody may unpack them on the way.
          decompress: false,
          redirect: 'manual',
          // Time is watched by us, only while we wait for the other side.
          timeout: false,
          signal: watch.signal,
          ...(sent !== undefined && { body: sent }),
        }),
        inactivityMs,
      )
      return new HttpAnswer(response, { url, action }, watch)
    } catch (error) {
      watch[Symbol.dispose]()
      throw watch.explain(error, action, url)
    }
  }

  /** Closes idle connections. */
  [Symbol.dispose](): void {
    for (const each of this.#sessions.values()) for (const session of each.values()) session.close()
    this.#sessions.clear()
  }

  // A session has connections of its own, so those that were made with a client certificate serve nobody else.
  #session(url: string, tls: TlsSettings): Bun.FetchSession {
    const proxy = this.#proxies.proxyOf(new URL(url))
    const sessions = this.#sessions.get(tls) ?? new Map<string | null, Bun.FetchSession>()
    this.#sessions.set(tls, sessions)
    const known = sessions.get(proxy)
    if (known !== undefined) return known
    const session = new Bun.FetchSession({
      tls: tlsOptions(tls),
      // Without this Bun obeys the environment by rules of its own.
      proxy: proxy === null ? false : { url: proxy, respectNoProxy: false },
    })
    sessions.set(proxy, session)
    return session
  }
}

function tlsOptions({ authorities, client, skipVerify }: TlsSettings): Bun.TLSOptions {
  return {
    ...(authorities !== null && { ca: [...authorities] }),
    ...(client !== null && { cert: client.certificate, key: client.key }),
    rejectUnauthorized: !skipVerify,
  }
}

function streamOf(body: HttpBody, watch: Watch): ReadableStream<Uint8Array> {
  let left = body.contentBytes
  const pieces = body.open()[Symbol.asyncIterator]()
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      // Whoever asks for the next piece has sent the last one.
      watch.touch()
      try {
        const next = await pieces.next()
        left -= next.value?.length ?? 0
        invariant(left >= 0 && (next.done !== true || left === 0), `a body of ${body.contentBytes} bytes`)
        if (next.done === true) controller.close()
        else controller.enqueue(next.value)
      } catch (error) {
        watch.fail(error)
        controller.error(error)
      }
    },
    async cancel() {
      await pieces.return?.()
    },
  })
}

/** Aborts one exchange when the caller wants it or the other side is silent for too long. */
class Watch implements Disposable {
  readonly #controller = new AbortController()
  readonly #caller: AbortSignal | undefined
  readonly #inactivityMs: number
  readonly #onAbort = (): void => this.#controller.abort(this.#caller?.reason)
  #timer: ReturnType<typeof setTimeout> | null = null
  #currentMs = 0
  /** Since when the other side has been silent; null: it is not its turn. */
  #waitsSinceMs: number | null = null
  #isSilent = false
  #ownFailure: { readonly error: unknown } | null = null

  constructor(inactivityMs: number, caller: AbortSignal | undefined) {
    this.#inactivityMs = inactivityMs
    this.#caller = caller
    if (caller?.aborted === true) this.#onAbort()
    else caller?.addEventListener('abort', this.#onAbort, { once: true })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Waits for something the other side does. */
  async within<T>(work: Promise<T>, limitMs = this.#inactivityMs): Promise<T> {
    // A blob is read in tens of thousands of pieces: a timer stays and looks at the clock instead of one being made for each.
    if (limitMs !== this.#currentMs) this.#setTimer(limitMs)
    this.#currentMs = limitMs
    this.#waitsSinceMs = performance.now()
    try {
      return await work
    } finally {
      this.#waitsSinceMs = null
    }
  }

  /** The other side has done something. */
  touch(): void {
    if (this.#waitsSinceMs !== null) this.#waitsSinceMs = performance.now()
  }

  /** What was to be sent could not be read: that is the reason for whatever fetch says of it. */
  fail(error: unknown): void {
    this.#ownFailure ??= { error }
  }

  /** What to throw for what fetch threw. */
  explain(error: unknown, action: string, url: string): unknown {
    if (this.#caller?.aborted === true) return this.#caller.reason
    if (this.#ownFailure !== null) return this.#ownFailure.error
    if (error instanceof RegistryError) return error
    if (this.#isSilent) {
      const why = `${shortUrl(url)} was silent for ${this.#currentMs / 1000} seconds`
      return new RegistryError('unavailable', `Cannot ${action}: ${why}`, { isTransient: true })
    }
    return connectionError(error, action, url)
  }

  [Symbol.dispose](): void {
    this.#setTimer(null)
    this.#caller?.removeEventListener('abort', this.#onAbort)
  }

  #setTimer(ms: number | null): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = ms === null ? null : setTimeout(() => this.#look(), ms)
  }

  #look(): void {
    const leftMs =
      this.#waitsSinceMs === null ? this.#currentMs : this.#waitsSinceMs + this.#currentMs - performance.now()
    if (leftMs > 0) {
      this.#setTimer(Math.ceil(leftMs))
      return
    }
    this.#isSilent = true
    this.#controller.abort(new Error('silence'))
  }
}

/** Trying again does not help when the place does not exist or is not who it should be. */
const FINAL =
  /^(?:ECONNREFUSED|ENOTFOUND|EACCES|ENETUNREACH|EHOSTUNREACH)$|CERT|SIGNATURE|ISSUER|ALTNAME|SSL|TLS|^EPROTO$/

function connectionError(error: unknown, action: string, url: string): RegistryError {
  const code = (error as { readonly code?: unknown } | null)?.code
  const name = typeof code === 'string' ? code : messageOf(error)
  const { host, protocol } = new URL(url)
  return new RegistryError('unavailable', `Cannot ${action}: ${shortUrl(url)}: ${wordsFor(name, host, protocol)}`, {
    isTransient: !FINAL.test(name),
    cause: error,
  })
}

function wordsFor(code: string, host: string, protocol: string): string {
  if (code === 'ECONNREFUSED') return `nothing listens at ${host} (ECONNREFUSED)`
  if (code === 'ENOTFOUND') return 'the host has no address (ENOTFOUND)'
  if (code === 'ECONNRESET') return 'the connection broke (ECONNRESET)'
  if (/SELF_SIGNED|UNABLE_TO_(?:GET|VERIFY)|ISSUER/.test(code)) {
    return `its certificate is of an authority that is not trusted here (${code}); set ca in registries.d/${host}/hosts.toml`
  }
  if (/ALTNAME/.test(code)) return `its certificate is for another host (${code})`
  if (/EXPIRED/.test(code)) return `its certificate has expired (${code})`
  if (protocol === 'https:' && /SSL|TLS|^EPROTO$/.test(code)) return `${code}; ${tlsAdvice(host, 'http')}`
  return code
}
