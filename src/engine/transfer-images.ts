import { findImage } from '../image/find-image.ts'
import type { ImageRecord } from '../image/image-record.ts'
import { type ImageStore, openImageStore } from '../image/image-store.ts'
import { type PulledImage, type PullOptions, pullImage } from '../image/pull-image.ts'
import { type PushOptions, pushImage } from '../image/push-image.ts'
import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { familiarReference, parseReference, printRepository, type Reference, withDefaultTag } from '../oci/reference.ts'
import type { RegistryClient } from '../registry/registry-client.ts'
import { findSignatures } from './find-signatures.ts'
import type { ImageEngine } from './image-engine.ts'
import { ImageTrust } from './image-trust.ts'
import { withSpace } from './keep-space.ts'
import { openRegistry } from './open-registry.ts'

/** A store and a client of registries, for some transfers. */
export class ImageTransfers implements Disposable {
  readonly store: ImageStore
  readonly #engine: ImageEngine
  readonly #registry: RegistryClient
  readonly #trust: ImageTrust

  private constructor(store: ImageStore, engine: ImageEngine, trust: ImageTrust) {
    this.store = store
    this.#engine = engine
    this.#registry = openRegistry(engine.warn)
    this.#trust = trust
  }

  /** Dispose it after the last transfer. */
  static async open(engine: ImageEngine): Promise<ImageTransfers> {
    // First: with a policy that is not understood nothing is even opened.
    const trust = ImageTrust.open(engine)
    return new ImageTransfers(await openImageStore(engine.roots.data, engine.database.sqlite), engine, trust)
  }

  /** As {@link pullImage}, if the machine's policy trusts the image. */
  async pull(reference: Reference, options: Omit<PullOptions, 'checkTrust'>): Promise<PulledImage> {
    const checkTrust = this.#trust.pullCheck((name, digests, requirements) =>
      findSignatures(name, digests, requirements, this.#registry, options.signal),
    )
    return await withSpace(this.#engine, () =>
      pullImage(reference, this.store, this.#registry, { ...options, checkTrust }),
    )
  }

  /** As {@link pushImage}, of the image that the reference names here. */
  async push(reference: Reference, options: PushOptions): Promise<Descriptor> {
    return await pushImage(this.#imageOf(reference), reference, this.store, this.#registry, options)
  }

  /** The tags that a repository has in its registry, as references. */
  async *tagsOf(repository: Reference, signal?: AbortSignal): AsyncGenerator<Reference> {
    for await (const tag of this.#registry.tags(repository, signal))
      yield parseReference(`${printRepository(repository)}:${tag}`)
  }

  /** The tags that a repository has here, as references, sorted. @throws {BerthError} notFound: none */
  localTagsOf(repository: Reference): readonly Reference[] {
    const wanted = printRepository(repository)
    const references = this.store.records.names().map(({ name }) => parseReference(name))
    const found = references.filter(each => printRepository(each) === wanted && each.tag !== null)
    if (found.length > 0) return found
    throw new BerthError(
      'notFound',
      `Cannot find image "${familiarReference(repository)}": no tag of it is in the store`,
    )
  }

  #imageOf(reference: Reference): ImageRecord {
    return findImage(familiarReference(withDefaultTag(reference)), this.store.records).image
  }

  [Symbol.dispose](): void {
    this.#registry[Symbol.dispose]()
  }
}
