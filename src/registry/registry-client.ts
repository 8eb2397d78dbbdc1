import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { printReference, printRepository, type Reference } from '../oci/reference.ts'
import { checkLogin } from './check-login.ts'
import type { Credential, CredentialSource } from './credentials.ts'
import type { Capability, Endpoint } from './endpoint.ts'
import { type ConnectionContext, EndpointConnection, placeOf } from './endpoint-connection.ts'
import { fetchBlob } from './fetch-blob.ts'
import { fetchForeignBlob } from './fetch-foreign-blob.ts'
import { type FetchedDocument, fetchManifest, resolveManifest } from './fetch-manifest.ts'
import { DEFAULT_LIMITS, type RegistryLimits } from './limits.ts'
import { listReferrers } from './list-referrers.ts'
import { listTags } from './list-tags.ts'
import type { ProxyRules } from './proxy-rules.ts'
import { type BlobPushResult, pushBlob } from './push-blob.ts'
import { pushManifest } from './push-manifest.ts'
import type { RegistryHosts } from './registry-hosts.ts'
import { type Pause, pause } from './retry.ts'
import { type FoundRepository, searchRegistry } from './search-registry.ts'
import { Transport } from './transport.ts'

/** What a client works with. */
export interface RegistryOptions {
  readonly hosts: RegistryHosts
  readonly credentials: CredentialSource
  readonly proxies: ProxyRules
  /** Takes what a person should know though the work goes on. */
  readonly warn: (message: string) => void
  readonly limits?: Partial<RegistryLimits>
  /** How pauses are waited; the clock's unless a test says otherwise. */
  readonly pause?: Pause
}

/** How a blob is opened. */
export interface OpenBlobOptions {
  /** The position of the first byte that is wanted. */
  readonly offset?: number
  readonly signal?: AbortSignal
}

/** How a blob is pushed. */
export interface PushBlobOptions {
  /** A reference to a repository of the same registry that is known to have the blob. */
  readonly mountFrom?: Reference
  /** Bytes of the blob that have been sent; goes back when a broken connection makes some necessary again. */
  readonly onProgress?: (currentBytes: number) => void
  readonly signal?: AbortSignal
}

/**
 * A client of registries. It asks the endpoints of a registry in the order of their configuration (mirrors, then itself) and
 * keeps their connections and tokens, so that one client should serve a whole pull or push. Dispose closes idle connections.
 *
 * Errors are {@link RegistryError}s: notFound, unauthorized, forbidden, invalidArgument (the registry's answer is not right),
 * unavailable; an aborted signal's reason is thrown as it is.
 * Source: distribution-spec 1.1.
 */
export class RegistryClient implements Disposable {
  readonly #options: RegistryOptions
  readonly #transport: Transport
  readonly #context: ConnectionContext
  readonly #connections = new Map<Endpoint, EndpointConnection>()

  constructor(options: RegistryOptions) {
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#options = options
    this.#transport = new Transport(options.proxies, limits)
    this.#context = {
      transport: this.#transport,
      limits,
      pause: options.pause ?? pause,
      now: Date.now,
      isPlainHttp: host => options.hosts.isPlainHttp(host),
      credentials: options.credentials,
      warn: options.warn,
    }
  }

  /** The descriptor of what a tag or digest names: its media type, digest and size. */
  resolve(reference: Reference, signal?: AbortSignal): Promise<Descriptor> {
    const capability = reference.digest === null ? 'resolve' : 'pull'
    return this.#first(reference, capability, connection => resolveManifest(connection, reference, signal))
  }

  /** A manifest or an index, whole, at most 4 MiB; of the digest that the reference has, if it has one. */
  fetchDocument(reference: Reference, signal?: AbortSignal): Promise<FetchedDocument> {
    const capability = reference.digest === null ? 'resolve' : 'pull'
    return this.#first(reference, capability, connection => fetchManifest(connection, reference, signal))
  }

  /**
   * The bytes of a blob, over as many connections as it takes. Never more than `descriptor.sizeBytes`, and an end without an
   * error has given all of them; their digest is for who reads them to verify.
   */
  async *openBlob(
    reference: Reference,
    descriptor: Descriptor,
    { offset = 0, signal }: OpenBlobOptions = {},
  ): AsyncGenerator<Uint8Array> {
    const { path } = reference
    const blob = {
      action: `fetch blob ${descriptor.digest} of "${printRepository(reference)}"`,
      target: `/${path}/blobs/${descriptor.digest}`,
      grant: { repository: path, scopes: [`repository:${path}:pull`] },
      descriptor,
      offset,
    }
    const connections = await this.#connectionsFor(reference, 'pull')
    for (const [index, connection] of connections.entries()) {
      try {
        yield* fetchBlob(connection, blob, signal)
        return
      } catch (error) {
        if (index < connections.length - 1) this.#giveUp(error, connection, signal)
        else if (isNotFound(error) && (descriptor.urls?.length ?? 0) > 0)
          return yield* fetchForeignBlob(connection, blob, descriptor, this.#context, signal)
        else throw error
      }
    }
  }

  /**
   * Brings a blob into a repository. `open` gives its content from a position on, and is called again when a connection
   * broke; what it throws is thrown.
   */
  async pushBlob(
    reference: Reference,
    descriptor: Pick<Descriptor, 'digest' | 'sizeBytes'>,
    open: (offset: number) => AsyncIterable<Uint8Array>,
    { mountFrom, onProgress, signal }: PushBlobOptions = {},
  ): Promise<BlobPushResult> {
    const { path, domain } = reference
    const push = {
      action: `push blob ${descriptor.digest} to "${printRepository(reference)}"`,
      repository: path,
      mountFrom:
        mountFrom !== undefined && mountFrom.domain === domain && mountFrom.path !== path ? mountFrom.path : null,
      grant: { repository: path, scopes: [`repository:${path}:pull,push`] },
      descriptor,
      open,
      ...(onProgress !== undefined && { onProgress }),
    }
    return await pushBlob(await this.#pushConnection(reference), push, signal)
  }

  /**
   * Stores a manifest or an index under the reference's digest or tag (with both, under the digest), and in the list of
   * referrers of its subject. All it refers to must be there.
   */
  async pushDocument(
    reference: Reference,
    mediaType: string,
    bytes: Uint8Array,
    signal?: AbortSignal,
  ): Promise<Descriptor> {
    return await pushManifest(await this.#pushConnection(reference), reference, { mediaType, bytes }, signal)
  }

  /** The manifests whose subject is `digest`, of one type if one is given; none is an empty list. */
  referrers(
    reference: Reference,
    digest: Digest,
    artifactType: string | null = null,
    signal?: AbortSignal,
  ): Promise<readonly Descriptor[]> {
    return this.#first(reference, 'resolve', connection =>
      listReferrers(connection, reference, { digest, artifactType }, signal),
    )
  }

  /** The tags of a repository, as the registry orders them. */
  async *tags(reference: Reference, signal?: AbortSignal): AsyncGenerator<string> {
    // Mirrors know what was asked of them, not what there is.
    yield* listTags(await this.#itself(reference), reference, signal)
  }

  /** Repositories of a registry that have to do with a term, at most `limit`. */
  async search(domain: string, term: string, limit: number, signal?: AbortSignal): Promise<readonly FoundRepository[]> {
    return await searchRegistry(await this.#itself({ domain }), { term, limit }, signal)
  }

  /**
   * Whether a host, a registry or a mirror, takes a credential; returns what is to be kept of it.
   * @throws {RegistryError} unauthorized: it does not; notFound: it is no registry
   */
  async checkLogin(host: string, credential: Credential, signal?: AbortSignal): Promise<Credential> {
    return await checkLogin(await this.#options.hosts.endpointAt(host), credential, this.#context, signal)
  }

  /** Closes idle connections. */
  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]()
  }

  async #first<T>(
    reference: Reference,
    capability: Capability,
    work: (connection: EndpointConnection) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const connections = await this.#connectionsFor(reference, capability)
    for (const connection of connections.slice(0, -1)) {
      try {
        return await work(connection)
      } catch (error) {
        this.#giveUp(error, connection, signal)
      }
    }
    const last = connections.at(-1)
    if (last === undefined)
      throw new BerthError(
        'forbidden',
        `Cannot ${capability} "${printReference(reference)}": no endpoint of ${reference.domain} is configured for that`,
      )
    return await work(last)
  }

  /** A mirror has failed: what is not an error of a registry is not its fault; that it lacks something is usual. */
  #giveUp(error: unknown, { endpoint }: EndpointConnection, signal: AbortSignal | undefined): void {
    if (signal?.aborted === true || !(error instanceof BerthError) || error.category === 'cancelled') throw error
    if (error.category !== 'notFound')
      this.#options.warn(`the mirror ${placeOf(endpoint)} of ${endpoint.domain} was no help: ${error.message}`)
  }

  async #pushConnection(reference: Reference): Promise<EndpointConnection> {
    // One place takes all parts of an image; a mirror that takes content stands before the registry only when it is meant to.
    const [first] = await this.#connectionsFor(reference, 'push')
    if (first !== undefined) return first
    throw new BerthError(
      'forbidden',
      `Cannot push "${printReference(reference)}": no endpoint of ${reference.domain} is configured for that`,
    )
  }

  async #itself({ domain }: Pick<Reference, 'domain'>): Promise<EndpointConnection> {
    const endpoint = (await this.#options.hosts.endpointsOf(domain)).find(({ isMirror }) => !isMirror)
    if (endpoint === undefined) throw new BerthError('internal', `Cannot ask "${domain}": it has no endpoint`)
    return this.#connectionTo(endpoint)
  }

  async #connectionsFor({ domain }: Reference, capability: Capability): Promise<readonly EndpointConnection[]> {
    const endpoints = await this.#options.hosts.endpointsOf(domain)
    return endpoints
      .filter(({ capabilities }) => capabilities.includes(capability))
      .map(each => this.#connectionTo(each))
  }

  #connectionTo(endpoint: Endpoint): EndpointConnection {
    const known = this.#connections.get(endpoint) ?? new EndpointConnection(endpoint, this.#context)
    this.#connections.set(endpoint, known)
    return known
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof BerthError && error.category === 'notFound'
}
