import { BerthError } from '../lib/error.ts'
import { runBounded } from '../lib/run-bounded.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { isLayerType } from '../oci/media-types.ts'
import { type Platform, printPlatform } from '../oci/platform.ts'
import { familiarReference, parseReference, type Reference } from '../oci/reference.ts'
import { listed } from './choose-manifest.ts'
import { collectImage, type ImageParts, type PartDocument } from './collect-image.ts'
import { onHostWarning } from './host-image.ts'
import type { ImageRecord } from './image-record.ts'
import type { ImageStore } from './image-store.ts'
import { type OnProgress, type ProgressKind, progressId } from './progress.ts'
import { manifestFor } from './stored-image.ts'

/** What pushing needs of a registry's client. */
export interface PushTarget {
  resolve(reference: Reference, signal?: AbortSignal): Promise<Descriptor>
  pushBlob(
    reference: Reference,
    descriptor: Pick<Descriptor, 'digest' | 'sizeBytes'>,
    open: (offset: number) => AsyncIterable<Uint8Array>,
    options: {
      readonly mountFrom?: Reference
      readonly onProgress?: (currentBytes: number) => void
      readonly signal?: AbortSignal
    },
  ): Promise<'exists' | 'mounted' | 'uploaded'>
  pushDocument(
    reference: Reference,
    mediaType: string,
    bytes: Uint8Array,
    signal?: AbortSignal,
  ): Promise<Pick<Descriptor, 'digest'>>
}

/** How to push. */
export interface PushOptions {
  /** Only this one; null: the whole image. */
  readonly platform: Platform | null
  readonly warn: (message: string) => void
  readonly onProgress?: OnProgress
  readonly signal?: AbortSignal
}

const BLOBS_AT_ONCE = 4
const DONE: Readonly<Record<'exists' | 'mounted' | 'uploaded', ProgressKind>> = {
  exists: 'exists',
  mounted: 'mounted',
  uploaded: 'pushed',
}

/**
 * Pushes an image under a reference with a tag, byte for byte as it came, so that it has the same digest there. An index goes whole: where
 * platforms of it are neither here nor there already, the only one that is here goes alone with a warning, and of several none goes.
 * @returns the descriptor of what the tag stands for now
 * @throws {BerthError} conflict: platforms are missing; notFound: the platform is not here; cancelled: `signal`; whatever the registry says
 */
export async function pushImage(
  image: ImageRecord,
  reference: Reference,
  store: ImageStore,
  registry: PushTarget,
  options: PushOptions,
): Promise<Descriptor> {
  const shown = familiarReference(reference)
  if (reference.tag === null || reference.digest !== null)
    throw new BerthError('invalidArgument', `Cannot push "${shown}": expected a tag and no digest`)
  if (store.records.isOnHost(image.digest)) options.warn(onHostWarning(shown))
  using lease = store.records.lease(`push ${shown}`)
  lease.hold(
    'blob',
    store.records.contentOf(image.digest).flatMap(({ kind, digest }) => (kind === 'blob' ? [digest] : [])),
  )
  try {
    const parts = await partsToPush(image, reference, store, registry, options)
    await pushBlobs(parts, reference, store, registry, options)
    for (const { descriptor, bytes } of parts.documents.slice(0, -1)) {
      const place = { ...reference, tag: null, digest: descriptor.digest }
      await registry.pushDocument(place, descriptor.mediaType, bytes, options.signal)
    }
    return await pushTagged(lastOf(parts, shown), reference, registry, options)
  } catch (error) {
    if (!options.signal?.aborted) throw error
    throw new BerthError('cancelled', `Cannot push "${shown}": interrupted`, { cause: error })
  }
}

function lastOf({ documents }: ImageParts, shown: string): PartDocument {
  const last = documents.at(-1)
  if (last === undefined) throw new BerthError('notFound', `Cannot push "${shown}": its manifest is missing`)
  return last
}

async function pushTagged(
  { descriptor, bytes }: PartDocument,
  reference: Reference,
  registry: PushTarget,
  { signal }: PushOptions,
): Promise<Descriptor> {
  const { digest } = await registry.pushDocument(reference, descriptor.mediaType, bytes, signal)
  if (digest === descriptor.digest) return descriptor
  throw new BerthError(
    'unavailable',
    `Cannot push "${familiarReference(reference)}": the registry has it as ${digest}, expected ${descriptor.digest}`,
  )
}

async function partsToPush(
  image: ImageRecord,
  reference: Reference,
  store: ImageStore,
  registry: PushTarget,
  options: PushOptions,
): Promise<ImageParts> {
  const shown = familiarReference(reference)
  const { platform, signal } = options
  if (platform !== null) {
    const manifest = manifestFor(image, platform)
    if (manifest !== null) return await collectImage(image, store.content, manifest.digest)
    const offered = listed(image.manifests.map(each => each.platform))
    throw new BerthError(
      'notFound',
      `Cannot push "${shown}" for ${printPlatform(platform)}: of its platforms ${offered} is here`,
    )
  }
  const parts = await collectImage(image, store.content)
  const missing: Descriptor[] = []
  for (const entry of parts.missing)
    if (!(await isThere({ ...reference, tag: null, digest: entry.digest }, registry, signal))) missing.push(entry)
  if (missing.length === 0) return parts
  const names = listed(missing.map(nameOf))
  const [only, ...more] = image.manifests
  if (only === undefined || more.length > 0)
    throw new BerthError(
      'conflict',
      `Cannot push "${shown}": of its index ${names} is missing here; pull that, or push one platform with --platform`,
    )
  options.warn(
    `of the index of "${shown}" only ${only.platform} is here, so that it is pushed alone; missing: ${names}`,
  )
  return await collectImage(image, store.content, only.digest)
}

function nameOf({ platform, digest }: Descriptor): string {
  return platform === undefined ? digest : printPlatform(platform)
}

async function isThere(reference: Reference, registry: PushTarget, signal?: AbortSignal): Promise<boolean> {
  try {
    await registry.resolve(reference, signal)
    return true
  } catch (error) {
    if (error instanceof BerthError && error.category === 'notFound') return false
    throw error
  }
}

async function pushBlobs(
  { blobs }: ImageParts,
  reference: Reference,
  store: ImageStore,
  registry: PushTarget,
  { onProgress, signal }: PushOptions,
): Promise<void> {
  const tell = ({ digest, sizeBytes, mediaType }: Descriptor, kind: ProgressKind, currentBytes: number): void => {
    if (isLayerType(mediaType)) onProgress?.({ id: progressId(digest), kind, currentBytes, totalBytes: sizeBytes })
  }
  for (const blob of blobs) tell(blob, 'waiting', 0)
  const push = async (blob: Descriptor, either: AbortSignal): Promise<void> => {
    const mountFrom = mountSource(blob.digest, reference, store)
    const outcome = await registry.pushBlob(reference, blob, offset => readFrom(blob, offset, store, either), {
      ...(mountFrom === null ? {} : { mountFrom }),
      onProgress: currentBytes => tell(blob, 'uploading', currentBytes),
      signal: either,
    })
    tell(blob, DONE[outcome], blob.sizeBytes)
  }
  await runBounded(blobs, BLOBS_AT_ONCE, push, signal)
}

/** A repository of the same registry that should have the blob, by the names of the images here that consist of it. */
function mountSource(digest: Digest, { domain, path }: Reference, { records }: ImageStore): Reference | null {
  const references = records.namesWith(digest).map(parseReference)
  return references.find(each => each.domain === domain && each.path !== path) ?? null
}

/** The rest of a blob. All of it is read: it is verified on its way. */
async function* readFrom(
  blob: Descriptor,
  offset: number,
  { content }: ImageStore,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let position = 0
  for await (const piece of content.read(blob, signal)) {
    const start = Math.max(0, offset - position)
    position += piece.length
    if (start < piece.length) yield piece.subarray(start)
  }
}
