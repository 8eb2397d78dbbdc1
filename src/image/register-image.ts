import type { ContentStore } from '../content/content-store.ts'
import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { Index, Manifest } from '../oci/manifest.ts'
import { isConfigType, isIndexType, isManifestType } from '../oci/media-types.ts'
import { INDEX_DEPTH_LIMIT } from './choose-manifest.ts'
import {
  type DocumentSource,
  imageManifest,
  isForNoPlatform,
  pairLayers,
  readConfig,
  readTarget,
} from './image-documents.ts'
import { type IndexTarget, projectNames } from './image-index.ts'
import type { ImageManifest, ImageRecord } from './image-record.ts'
import type { ContentItem, ImageRecords, MovedName } from './image-records.ts'
import type { Lease } from './lease.ts'

/** What registering needs of an image store. */
export interface RegisterStore {
  readonly content: DocumentSource & IndexTarget & Pick<ContentStore, 'keep'>
  readonly records: ImageRecords
}

/** How to register an image. */
export interface RegisterOptions {
  /** Told of the names that belonged to other images. */
  readonly onMoved?: (moved: readonly MovedName[]) => void
  /** It is being made here, as a layer on top of the machine's own root filesystem. */
  readonly isOnHost?: boolean
}

/** Documents that one image may consist of: a hundred platforms with an attestation and a signature each are fewer. */
export const IMAGE_DOCUMENTS_LIMIT = 1000

/**
 * Makes an image of content that is here, with these canonical names: all platforms of which every blob is here are put down, and what
 * must stay for them. Layers need not be unpacked. It is all there afterwards, or nothing is.
 * @throws {BerthError} notFound: the target, or a blob of each of its platforms, is missing; invalidArgument: a document is damaged,
 * or a size is wrong; notImplemented: a kind of layer that is not read
 */
export async function registerImage(
  target: Descriptor,
  names: readonly string[],
  store: RegisterStore,
  { onMoved, isOnHost = false }: RegisterOptions = {},
): Promise<ImageRecord> {
  const { records } = store
  using lease = records.lease(`register ${names[0] ?? target.digest}`)
  const walk = new Walk(store.content, lease)
  await walk.target(target, 0)
  const { digest, mediaType, sizeBytes } = target
  if (walk.manifests.size === 0) throw nothingToRun(target, walk.missing)
  await store.content.keep()
  const content = [...walk.content.values()]
  const image = { digest, mediaType, sizeBytes, manifests: [...walk.manifests.values()], content, isOnHost }
  const moved = records.put(image, names, Date.now())
  if (moved.length > 0) onMoved?.(moved)
  await projectNames(store)
  const record = records.get(digest)
  // Somebody else may have removed it in between, which is as good as right after.
  if (record === null) throw new BerthError('conflict', `Cannot register image "${digest}": it was removed meanwhile`)
  return record
}

function nothingToRun({ digest }: Descriptor, missing: ReadonlySet<Digest>): BerthError {
  const [first] = missing
  const why =
    first === undefined ? 'it holds no image, expected one' : `blob ${first} is missing, and ${missing.size - 1} more`
  return new BerthError(
    first === undefined ? 'invalidArgument' : 'notFound',
    `Cannot register image "${digest}": ${why}`,
  )
}

/** Follows a target down to all that is here of it, holding each digest before it looks for it. */
class Walk {
  readonly content = new Map<string, ContentItem>()
  readonly manifests = new Map<Digest, ImageManifest>()
  /** What kept a platform from being complete. */
  readonly missing = new Set<Digest>()
  readonly #source: DocumentSource
  readonly #lease: Lease
  #documentCount = 0

  constructor(source: DocumentSource, lease: Lease) {
    this.#source = source
    this.#lease = lease
  }

  async target(descriptor: Descriptor, depth: number): Promise<void> {
    if (depth > INDEX_DEPTH_LIMIT) throw tooLarge(descriptor, `its indexes nest deeper than ${INDEX_DEPTH_LIMIT}`)
    if (++this.#documentCount > IMAGE_DOCUMENTS_LIMIT)
      throw tooLarge(descriptor, `it consists of more than ${IMAGE_DOCUMENTS_LIMIT} documents`)
    this.#lease.hold('blob', [descriptor.digest])
    if (!(await this.#isHere(descriptor))) return
    const document = await readTarget(this.#source, descriptor)
    if (document.kind === 'manifest') {
      await this.#manifest(descriptor, document.manifest)
    } else {
      this.#keep([descriptor])
      await this.#index(document.index, depth)
    }
  }

  async #index({ manifests }: Index, depth: number): Promise<void> {
    const entries = manifests.filter(({ mediaType }) => isManifestType(mediaType) || isIndexType(mediaType))
    this.#lease.hold(
      'blob',
      entries.map(({ digest }) => digest),
    )
    for (const entry of entries) {
      const isSeen = this.content.has(`blob ${entry.digest}`)
      if (isSeen || (await this.#source.find(entry.digest)) === null) continue
      await this.target(entry, depth + 1)
    }
  }

  /** Complete or not at all: half of a platform is nobody's. */
  async #manifest(descriptor: Descriptor, manifest: Manifest): Promise<void> {
    const { digest } = descriptor
    const blobs = [manifest.config, ...manifest.layers]
    this.#lease.hold(
      'blob',
      blobs.map(blob => blob.digest),
    )
    const isComplete = await Promise.all(blobs.map(blob => this.#isHere(blob)))
    if (isComplete.includes(false)) return
    if (isForNoPlatform(descriptor) || !isConfigType(manifest.config.mediaType)) {
      this.#keep([descriptor, ...blobs])
      return
    }
    const document = await readConfig(this.#source, manifest)
    this.manifests.set(digest, imageManifest(digest, manifest, document))
    this.#keep([descriptor, ...blobs])
    for (const { diffId } of pairLayers(digest, manifest, document))
      this.content.set(`layer ${diffId}`, { kind: 'layer', digest: diffId, sizeBytes: 0 })
  }

  #keep(blobs: readonly Descriptor[]): void {
    for (const { digest, sizeBytes } of blobs) this.content.set(`blob ${digest}`, { kind: 'blob', digest, sizeBytes })
  }

  async #isHere({ digest, sizeBytes }: Descriptor): Promise<boolean> {
    const found = await this.#source.find(digest)
    if (found === null) {
      this.missing.add(digest)
      return false
    }
    if (found === sizeBytes) return true
    throw new BerthError(
      'invalidArgument',
      `Cannot register blob "${digest}": it has ${found} bytes, expected ${sizeBytes}`,
    )
  }
}

function tooLarge({ digest }: Descriptor, why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot register image with manifest "${digest}": ${why}`)
}
