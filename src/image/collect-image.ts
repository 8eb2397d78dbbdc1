import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { isIndexType, isManifestType } from '../oci/media-types.ts'
import { INDEX_DEPTH_LIMIT } from './choose-manifest.ts'
import { type DocumentSource, parseTarget } from './image-documents.ts'
import type { ImageRecord } from './image-record.ts'

/** An index or a manifest with its bytes. */
export interface PartDocument {
  readonly descriptor: Descriptor
  readonly bytes: Uint8Array
}

/** What an image consists of. */
export interface ImageParts {
  /** Indexes and manifests, each after all that it names; the target last. */
  readonly documents: readonly PartDocument[]
  /** Configs and layers, each once. */
  readonly blobs: readonly Descriptor[]
  /** Entries of indexes that are not here, or not completely. */
  readonly missing: readonly Descriptor[]
}

/**
 * All of an image that is here; or, with `only`, of one of its manifests, which is the target then.
 * @throws {BerthError} notFound: the target or `only` is not here
 */
export async function collectImage(
  image: Pick<ImageRecord, 'digest' | 'mediaType' | 'sizeBytes'>,
  content: DocumentSource,
  only: Digest | null = null,
): Promise<ImageParts> {
  const { digest, mediaType, sizeBytes } = image
  const collection = new Collection(content)
  const isWhole = await collection.add({ digest, mediaType, sizeBytes }, 0)
  if (only === null && isWhole) return collection.parts()
  const part = only === null ? null : collection.partsOf(only)
  if (part !== null) return part
  throw new BerthError('notFound', `Cannot collect image "${only ?? digest}": a part of it is missing`)
}

class Collection {
  readonly #content: DocumentSource
  readonly #documents = new Map<Digest, PartDocument>()
  readonly #blobs = new Map<Digest, readonly Descriptor[]>()
  readonly #missing = new Map<Digest, Descriptor>()

  constructor(content: DocumentSource) {
    this.#content = content
  }

  /** Whether it is here: an index by itself, a manifest with all its blobs. */
  async add(descriptor: Descriptor, depth: number): Promise<boolean> {
    const { digest, sizeBytes, mediaType } = descriptor
    if (this.#documents.has(digest)) return true
    if (depth > INDEX_DEPTH_LIMIT || (await this.#content.find(digest)) !== sizeBytes) return false
    const bytes = await this.#content.readDocument(descriptor)
    const parsed = parseTarget(bytes, descriptor)
    if (parsed.kind === 'index') {
      for (const entry of parsed.index.manifests) await this.#addEntry(entry, depth + 1)
    } else {
      const blobs = [parsed.manifest.config, ...parsed.manifest.layers]
      const sizes = await Promise.all(blobs.map(blob => this.#content.find(blob.digest)))
      if (blobs.some((blob, position) => sizes[position] !== blob.sizeBytes)) return false
      this.#blobs.set(digest, blobs)
    }
    this.#documents.set(digest, { descriptor: { digest, sizeBytes, mediaType }, bytes })
    return true
  }

  async #addEntry(entry: Descriptor, depth: number): Promise<void> {
    const isKnown = isManifestType(entry.mediaType) || isIndexType(entry.mediaType)
    if (!isKnown || !(await this.add(entry, depth))) this.#missing.set(entry.digest, entry)
  }

  parts(): ImageParts {
    const blobs = new Map([...this.#blobs.values()].flat().map(blob => [blob.digest, blob]))
    return {
      documents: [...this.#documents.values()],
      blobs: [...blobs.values()],
      missing: [...this.#missing.values()],
    }
  }

  partsOf(digest: Digest): ImageParts | null {
    const document = this.#documents.get(digest)
    const blobs = this.#blobs.get(digest)
    if (document === undefined || blobs === undefined) return null
    const each = new Map(blobs.map(blob => [blob.digest, blob]))
    return { documents: [document], blobs: [...each.values()], missing: [] }
  }
}
