import { BerthError } from '../lib/error.ts'
import type { Digest } from '../oci/digest.ts'
import { parseReference, printReference, printRepository, type Reference, withDefaultTag } from '../oci/reference.ts'
import type { ImageManifest, ImageRecord } from './image-record.ts'
import type { ImageRecords } from './image-records.ts'

/** An image that a user has named. */
export interface FoundImage {
  readonly image: ImageRecord
  /** The canonical name by which it was found; null: by an id. */
  readonly name: string | null
  /** The platform that was named, by the id or digest of its own; null: the whole image was. */
  readonly manifest: ImageManifest | null
}

const ID = /^(?:sha256:)?([0-9a-f]{1,64})$/

/**
 * The image that a text names, as docker understands it: a reference, in full or as users write it; else an id, a digest, or the
 * beginning of one, with `sha256:` or without. Names come first: an image called `cafe` is not taken for an id.
 * @throws {BerthError} notFound; conflict: more than one id begins so; invalidArgument: neither a name nor an id
 */
export function findImage(text: string, records: ImageRecords): FoundImage {
  const found = lookUpImage(text, records)
  if (found !== null) return found
  throw new BerthError('notFound', `Cannot find image "${text}": no image in the store has that name or id`)
}

/** As {@link findImage}; null when there is none. */
export function lookUpImage(text: string, records: ImageRecords): FoundImage | null {
  const [, prefix] = ID.exec(text) ?? []
  if (prefix === undefined) return lookUpReference(parseReference(text), records)
  // What is an id by its form, with the algorithm or in full length, is no reference.
  const isReference = prefix.length < 64 && !text.startsWith('sha256:')
  const named = isReference ? lookUpReference(parseReference(text), records) : null
  return named ?? lookUpId(text, `sha256:${prefix}`, records)
}

/** The image of a reference. By digest: the target or a platform of it, if the repository has an image of that content. */
export function lookUpReference(reference: Reference, records: ImageRecords): FoundImage | null {
  const { digest } = reference
  if (digest === null) {
    const name = printReference(withDefaultTag(reference))
    const image = records.named(name)
    return image === null ? null : { image, name, manifest: null }
  }
  const repository = printRepository(reference)
  for (const image of records.beginning(digest)) {
    const name = image.names.find(each => printRepository(parseReference(each)) === repository)
    const manifest = image.manifests.find(each => each.digest === digest) ?? null
    if (name === undefined || (image.digest !== digest && manifest === null)) continue
    return { image, name, manifest: image.digest === digest ? null : manifest }
  }
  return null
}

function lookUpId(text: string, prefix: string, records: ImageRecords): FoundImage | null {
  const images = records.beginning(prefix)
  // What users know as the id is the config's; the target's digest stands behind the name in a reference.
  const isId = (digest: Digest): boolean => digest.startsWith(prefix)
  const configs = new Set(images.flatMap(image => image.manifests.map(each => each.configDigest)).filter(isId))
  const others = new Set(
    images.flatMap(image => [image.digest, ...image.manifests.map(each => each.digest)]).filter(isId),
  )
  const [digest, ...more] = configs.size > 0 ? configs : others
  if (digest === undefined) return null
  if (more.length > 0)
    throw new BerthError('conflict', `Cannot find image "${text}": ${more.length + 1} ids begin so, expected one`)
  // The same image may have come under several targets: the newest counts.
  const image = images.find(
    each => each.digest === digest || each.manifests.some(one => one.configDigest === digest || one.digest === digest),
  )
  if (image === undefined) return null
  const manifest = image.manifests.find(one => one.configDigest === digest || one.digest === digest)
  return { image, name: null, manifest: (image.digest === digest ? null : manifest) ?? null }
}
