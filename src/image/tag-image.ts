import { BerthError } from '../lib/error.ts'
import { parseReference, printReference, withDefaultTag } from '../oci/reference.ts'
import { findImage } from './find-image.ts'
import { projectNames } from './image-index.ts'
import type { ImageStore } from './image-store.ts'

/**
 * Gives an image one name more; another image that had it loses it.
 * @returns the canonical name
 * @throws {BerthError} notFound: no such image; invalidArgument: no name, or one with a digest, which is not chosen freely
 */
export async function tagImage(
  source: string,
  target: string,
  store: Pick<ImageStore, 'records' | 'content'>,
): Promise<string> {
  const reference = withDefaultTag(parseReference(target))
  if (reference.digest !== null) {
    throw new BerthError('invalidArgument', `Cannot tag image "${source}" as "${target}": a tag can't have a digest`)
  }
  const name = printReference(reference)
  store.records.tag(findImage(source, store.records).image.digest, name)
  await projectNames(store)
  return name
}
