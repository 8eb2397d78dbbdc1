import type { BlobName } from '../content/verified-read.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import type { Digest } from '../oci/digest.ts'
import type { ImageRecord } from './image-record.ts'
import type { ImageStore } from './image-store.ts'

/** Something of the store that is not as it should be. */
export interface Damage {
  readonly kind: 'blob' | 'layer'
  /** Null: it is no content at all. */
  readonly digest: Digest | null
  /** Such as `its content has another digest`. */
  readonly why: string
  /** Names, or ids, of the images that need it. */
  readonly images: readonly string[]
}

/**
 * Reads all content again and compares it with its digests, and sees whether what images need is there. A layer that is missing is
 * no loss: it is unpacked again when it is needed. One whose record is damaged is.
 */
export async function* verifyImages(store: ImageStore, signal?: AbortSignal): AsyncGenerator<Damage> {
  const images = store.records.list()
  const needs = new Map(images.map(image => [image, store.records.contentOf(image.digest)]))
  const usersOf = (kind: Damage['kind'], digest: Digest | null): readonly string[] =>
    [...needs].flatMap(([image, content]) =>
      content.some(item => item.kind === kind && item.digest === digest) ? [shownImage(image)] : [],
    )
  const expected = [...needs.values()].flat().filter(({ kind }) => kind === 'blob')
  const blobs = new Map<Digest, BlobName>(expected.map(blob => [blob.digest, blob]))
  for await (const { digest, path, why } of store.content.verify(blobs.values(), signal)) {
    yield { kind: 'blob', digest, why: digest === null ? `"${path}": ${why}` : why, images: usersOf('blob', digest) }
  }
  for (const diffId of await store.layers.list()) {
    signal?.throwIfAborted()
    const why = await layerProblem(diffId, store)
    if (why !== null) yield { kind: 'layer', digest: diffId, why, images: usersOf('layer', diffId) }
  }
}

function shownImage(image: ImageRecord): string {
  return image.names[0] ?? image.digest
}

async function layerProblem(diffId: Digest, { layers }: ImageStore): Promise<string | null> {
  try {
    await layers.find(diffId)
    return null
  } catch (error) {
    if (error instanceof BerthError && error.category === 'invalidArgument') return messageOf(error)
    throw error
  }
}

/**
 * Removes damaged blobs, so that the next pull brings them again. Layers stay, as a container may stand on them.
 * @returns how many were removed
 */
export async function removeDamaged(damages: readonly Damage[], { content }: ImageStore): Promise<number> {
  const digests = damages.flatMap(({ kind, digest }) => (kind === 'blob' && digest !== null ? [digest] : []))
  const there = await Promise.all(digests.map(digest => content.find(digest)))
  content.removeNow(digests)
  return there.filter(size => size !== null).length
}
