import { BerthError } from '../lib/error.ts'
import { object, oneOf, parseJson, required } from '../lib/json-shape.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { parseImageConfig } from '../oci/image-config.ts'
import { parseIndex } from '../oci/manifest.ts'
import { formatManifest } from '../oci/manifest-format.ts'
import { OCI_INDEX, OCI_MANIFEST } from '../oci/media-types.ts'
import { type Platform, platformDistance, printPlatform } from '../oci/platform.ts'
import { parseReference, printReference, withDefaultTag } from '../oci/reference.ts'
import { decompress } from '../snapshot/decompress.ts'
import { DEFAULT_UNPACK_LIMITS, type UnpackLimits } from '../snapshot/unpack-limits.ts'
import { type ArchiveContents, readArchive } from './archive-reader.ts'
import { chooseManifest } from './choose-manifest.ts'
import { type DockerArchiveImage, dockerArchiveImages, dockerArchiveManifest } from './docker-archive.ts'
import { readTarget } from './image-documents.ts'
import { REF_NAME } from './image-index.ts'
import type { ImageRecord } from './image-record.ts'
import type { MovedName } from './image-records.ts'
import type { ImageStore } from './image-store.ts'
import type { Lease } from './lease.ts'
import type { OnProgress } from './progress.ts'
import { registerImage } from './register-image.ts'
import { unpackLoaded } from './unpack-loaded.ts'

/** How to load an archive. */
export interface LoadOptions {
  /** Only this platform of each image; default: all that the archive holds. */
  readonly platform?: Platform
  readonly limits?: UnpackLimits
  readonly onProgress?: OnProgress
  /** Told of what is left out. */
  readonly warn: (message: string) => void
  readonly onMoved?: (moved: readonly MovedName[]) => void
  /** Decides whether an image may come in, before it is registered, and throws when it may not; default: all may. */
  readonly checkTrust?: LoadCheck
  readonly signal?: AbortSignal
}

/** Which form an image is loaded from, what it is called there, and its target's digest. */
export type LoadCheck = (form: ArchiveForm, names: readonly string[], digest: Digest) => Promise<void>

/** Forms in which images are loaded, as policies name them; a layout is `oci`. */
export type ArchiveForm = 'docker-archive' | 'oci-archive' | 'oci'

/** An image that was loaded, with the names that it has by the archive. */
export interface LoadedImage {
  readonly image: ImageRecord
  readonly names: readonly string[]
}

/** Containerd's name of an image in a layout, in full; `org.opencontainers.image.ref.name` is but the tag there. */
export const IMAGE_NAME = 'io.containerd.image.name'

const IMAGES_LIMIT = 1000

const marker = object<{ readonly imageLayoutVersion: string }>({ imageLayoutVersion: required(oneOf(['1.0.0'])) })

/** What is to become an image. */
export interface LoadTarget {
  readonly descriptor: Descriptor
  readonly names: readonly string[]
}

/**
 * Loads the images of an archive: of `docker save` in any of its forms, or an OCI layout; compressed with gzip, zstd or xz, or not. The
 * archive is read once. An image is visible when all of it is here and its layers for this machine are verified and unpacked.
 * @throws {BerthError} invalidArgument: no image archive, a damaged or a hostile one; notImplemented: compressed with
 * bzip2; notFound: nothing of the platform; unavailable: a limit is exceeded, the disk is full
 */
export async function loadImages(
  archive: AsyncIterable<Uint8Array>,
  store: ImageStore,
  options: LoadOptions,
): Promise<readonly LoadedImage[]> {
  const { limits = DEFAULT_UNPACK_LIMITS, onProgress = () => undefined, signal } = options
  using lease = store.records.lease('load')
  const contents = await readArchive(uncompressed(archive, limits), store.content, {
    lease,
    onProgress,
    ...(signal === undefined ? {} : { signal }),
  })
  const form = isLayout(contents) ? 'oci-archive' : 'docker-archive'
  return await registerTargets(form, await targetsOf(contents, store, lease, options), store, lease, options)
}

function isLayout({ documents }: ArchiveContents): boolean {
  return documents.has('oci-layout') && documents.has('index.json')
}

/** Verifies and unpacks what is for this machine, and makes images of it all. */
export async function registerTargets(
  form: ArchiveForm,
  targets: readonly LoadTarget[],
  store: ImageStore,
  lease: Lease,
  options: LoadOptions,
): Promise<readonly LoadedImage[]> {
  const { onMoved, checkTrust } = options
  // All before one: an archive comes in as a whole.
  for (const { descriptor, names } of targets) await checkTrust?.(form, names, descriptor.digest)
  const loaded: LoadedImage[] = []
  for (const { descriptor, names } of targets) {
    await unpackLoaded(descriptor, store, lease, options)
    const image = await registerImage(descriptor, names, store, onMoved === undefined ? {} : { onMoved })
    loaded.push({ image, names })
  }
  return loaded
}

/**
 * The images that a layout's index names, once each; of each only the platform that was asked for, if one was.
 * @throws {BerthError} notFound: nothing of the platform; invalidArgument: too many images
 */
export async function layoutTargets(
  manifests: readonly Descriptor[],
  store: ImageStore,
  { platform, warn }: LoadOptions,
): Promise<readonly LoadTarget[]> {
  if (manifests.length > IMAGES_LIMIT) throw unusable(`its index names ${manifests.length} images`)
  const targets = byDigest(manifests, warn)
  return platform === undefined ? targets : await Promise.all(targets.map(target => narrowed(target, platform, store)))
}

/** The archive's own compression; errors speak of the archive. */
async function* uncompressed(archive: AsyncIterable<Uint8Array>, limits: UnpackLimits): AsyncGenerator<Uint8Array> {
  try {
    yield* decompress(archive, limits)
  } catch (error) {
    if (!(error instanceof BerthError)) throw error
    const message = error.message.replace(/^Cannot (?:unpack|decompress) the layer/, 'Cannot load the archive')
    throw new BerthError(error.category, message, { cause: error })
  }
}

async function targetsOf(
  contents: ArchiveContents,
  store: ImageStore,
  lease: Lease,
  options: LoadOptions,
): Promise<readonly LoadTarget[]> {
  const [layout, index, manifest] = ['oci-layout', 'index.json', 'manifest.json'].map(name =>
    contents.documents.get(name),
  )
  if (layout !== undefined && index !== undefined) {
    parseJson(layout, 'oci-layout', marker)
    const { manifests } = parseIndex(index, 'index.json', OCI_INDEX)
    return await layoutTargets(manifests, store, options)
  }
  if (manifest === undefined) {
    throw unusable('it holds neither manifest.json nor an OCI layout, expected an archive of images')
  }
  const images = dockerArchiveImages(contents, manifest)
  return await Promise.all(images.map(image => dockerTarget(image, store, lease, options)))
}

function unusable(why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot load the archive: ${why}`)
}

/** A layout names an image once per tag. */
function byDigest(manifests: readonly Descriptor[], warn: LoadOptions['warn']): readonly LoadTarget[] {
  const groups = Map.groupBy(manifests, ({ digest }) => digest)
  return [...groups.values()].flatMap(group => {
    const [first] = group
    if (first === undefined) return []
    const { mediaType, digest, sizeBytes } = first
    const names = group.flatMap(({ annotations = {} }) => {
      const full = annotations[IMAGE_NAME]
      const short = annotations[REF_NAME]
      if (full !== undefined) return canonicalNames([full], warn)
      // A bare word is a tag within this layout, and the archive does not say of what.
      return short !== undefined && /[:/]/.test(short) ? canonicalNames([short], warn) : []
    })
    return [{ descriptor: { mediaType, digest, sizeBytes }, names: [...new Set(names)] }]
  })
}

/** Names in full. Those that can't be names are left out: the image is still there by its id. */
function canonicalNames(texts: readonly string[], warn: LoadOptions['warn']): readonly string[] {
  return texts.flatMap(text => {
    try {
      const reference = withDefaultTag(parseReference(text))
      if (reference.digest === null) return [printReference(reference)]
      // With a digest it would be a claim about content from elsewhere, which an archive can't make.
      return reference.tag === null ? [] : [printReference({ ...reference, digest: null })]
    } catch (error) {
      if (!(error instanceof BerthError)) throw error
      warn(`a name is left out: ${error.message}`)
      return []
    }
  })
}

async function narrowed(target: LoadTarget, platform: Platform, store: ImageStore): Promise<LoadTarget> {
  let { descriptor } = target
  const where = `image ${target.names[0] ?? descriptor.digest}`
  for (;;) {
    const document = await readTarget(store.content, descriptor)
    if (document.kind === 'manifest') return { descriptor, names: target.names }
    const { mediaType, digest, sizeBytes } = chooseManifest(document.index.manifests, platform, where)
    if (digest === descriptor.digest) throw unusable(`${where} contains itself`)
    descriptor = { mediaType, digest, sizeBytes }
  }
}

async function dockerTarget(
  image: DockerArchiveImage,
  { content }: ImageStore,
  lease: Lease,
  { platform, warn }: LoadOptions,
): Promise<LoadTarget> {
  const config = Buffer.from(await content.readDocument(image.config)).toString()
  const offered = parseImageConfig(config, `config ${image.config.digest}`).platform
  if (platform !== undefined && platformDistance(platform, offered) === null) {
    const name = image.tags[0] ?? image.config.digest
    throw new BerthError(
      'notFound',
      `Cannot load image "${name}": it is for ${printPlatform(offered)}, expected ${printPlatform(platform)}`,
    )
  }
  const bytes = formatManifest(dockerArchiveManifest(image, config))
  lease.hold('blob', [digestOf(bytes)])
  const { digest, sizeBytes } = await content.put(bytes)
  return { descriptor: { mediaType: OCI_MANIFEST, digest, sizeBytes }, names: canonicalNames(image.tags, warn) }
}

function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${new Bun.CryptoHasher('sha256').update(bytes).digest('hex')}` as Digest
}
