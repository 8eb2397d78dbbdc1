import { BerthError } from '../lib/error.ts'
import type { Digest } from '../oci/digest.ts'
import { familiarReference, parseReference, printRepository } from '../oci/reference.ts'
import { findImage } from './find-image.ts'
import { projectNames } from './image-index.ts'
import { type ImageRecord, imageId } from './image-record.ts'
import type { ContentItem } from './image-records.ts'
import type { ImageStore } from './image-store.ts'

/** How to remove an image. */
export interface RemoveImageOptions {
  /** Also when it has several names, or containers that have ended were made of it. */
  readonly force: boolean
  /** Leaves the content to the garbage collector. */
  readonly keepContent: boolean
  /** Of the containers those that run: nothing takes their image away. */
  readonly isRunning: (container: string) => boolean
}

/** What went, in its order, as docker tells it. */
export interface RemovedImage {
  /** Names as users write them. */
  readonly untagged: readonly string[]
  /** The image's id and the layers' diffIDs. */
  readonly deleted: readonly Digest[]
  readonly freedBytes: number
}

/**
 * Removes a name, and the image with its last one; or, named by its id, the image. Content that others use stays.
 * @throws {BerthError} notFound; conflict: several names, or containers use it, and `force` is not given, or a container runs
 */
export async function removeImage(text: string, store: ImageStore, options: RemoveImageOptions): Promise<RemovedImage> {
  const { image, name } = findImage(text, store.records)
  if (name === null) return await removeById(text, imagesOfId(imageId(image), store.records), store, options)
  if (image.names.some(each => each !== name)) {
    store.records.untag(name)
    await projectNames(store)
    return { untagged: [shown(name)], deleted: [], freedBytes: 0 }
  }
  checkUse(text, image, store, options)
  return await forgetImage(image, store, options.keepContent)
}

/** All images with an id: the same image may have come under several targets. */
export function imagesOfId(id: Digest, records: ImageStore['records']): readonly ImageRecord[] {
  return records.beginning(id).filter(image => imageId(image) === id)
}

async function removeById(
  text: string,
  images: readonly ImageRecord[],
  store: ImageStore,
  options: RemoveImageOptions,
): Promise<RemovedImage> {
  const repositories = new Set(images.flatMap(image => image.names.map(parseReference).map(printRepository)))
  if (!options.force && repositories.size > 1) {
    throw refused(text, `it has names in ${repositories.size} repositories, expected one or --force`)
  }
  for (const image of images) checkUse(text, image, store, options)
  const removed: RemovedImage[] = []
  for (const image of images) removed.push(await forgetImage(image, store, options.keepContent))
  return {
    untagged: removed.flatMap(({ untagged }) => untagged),
    deleted: [...new Set(removed.flatMap(({ deleted }) => deleted))],
    freedBytes: removed.reduce((sum, each) => sum + each.freedBytes, 0),
  }
}

/** Forgets an image with all its names, and removes content that nothing else needs. */
export async function forgetImage(image: ImageRecord, store: ImageStore, keepContent: boolean): Promise<RemovedImage> {
  const content = store.records.contentOf(image.digest)
  store.records.remove(image.digest)
  await projectNames(store)
  if (keepContent) return { untagged: image.names.map(shown), deleted: [], freedBytes: 0 }
  return await releaseContent(image, content, store)
}

/**
 * Forgets an image as {@link forgetImage}, unless something needs it by now: a container, a pin or, if not `evenNamed`, a name. Null
 * when it stays, or is gone already.
 */
export async function forgetUnused(
  image: ImageRecord,
  store: ImageStore,
  evenNamed: boolean,
): Promise<RemovedImage | null> {
  const content = store.records.contentOf(image.digest)
  if (!store.records.removeUnused(image.digest, evenNamed)) return null
  if (image.names.length > 0) await projectNames(store)
  return await releaseContent(image, content, store)
}

async function releaseContent(
  image: ImageRecord,
  content: readonly ContentItem[],
  store: ImageStore,
): Promise<RemovedImage> {
  const untagged = image.names.map(shown)
  const of = (kind: 'blob' | 'layer'): Digest[] => content.flatMap(item => (item.kind === kind ? [item.digest] : []))
  const layerBytes = new Map<Digest, number>()
  for (const diffId of of('layer')) layerBytes.set(diffId, (await store.layers.sizeOf(diffId)) ?? 0)
  const { blobBytes, layers } = store.records.collect({ blob: of('blob'), layer: of('layer') }, garbage => ({
    blobBytes: store.content.removeNow(garbage.blob),
    layers: store.layers.condemnNow(garbage.layer),
  }))
  await store.layers.removeCondemned()
  const freedBytes = layers.reduce((sum, diffId) => sum + (layerBytes.get(diffId) ?? 0), blobBytes)
  return { untagged, deleted: [imageId(image), ...layers.toReversed()], freedBytes }
}

function checkUse(text: string, image: ImageRecord, { records }: ImageStore, options: RemoveImageOptions): void {
  const containers = records.containersOf(image.digest)
  const running = containers.find(options.isRunning)
  if (running !== undefined) throw refused(text, `container ${shortId(running)} runs of it, expected none`)
  const [first] = containers
  if (first === undefined || options.force) return
  throw refused(text, `container ${shortId(first)} was made of it, expected none or --force`)
}

function shown(name: string): string {
  return familiarReference(parseReference(name))
}

function shortId(id: string): string {
  return id.slice(0, 12)
}

function refused(text: string, why: string): BerthError {
  return new BerthError('conflict', `Cannot remove image "${text}": ${why}`)
}
