import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { Index } from '../oci/manifest.ts'
import { formatIndex } from '../oci/manifest-format.ts'
import { DOCKER_INDEX, DOCKER_MANIFEST, isIndexType, OCI_INDEX } from '../oci/media-types.ts'
import { type Platform, parsePlatform } from '../oci/platform.ts'
import { parseReference, printReference, withDefaultTag } from '../oci/reference.ts'
import { findImage, lookUpReference } from './find-image.ts'
import { readTarget } from './image-documents.ts'
import type { ImageRecord } from './image-record.ts'
import type { ImageStore } from './image-store.ts'
import { manifestDescriptor } from './manifest-document.ts'
import { registerImage } from './register-image.ts'
import { forgetImage } from './remove-image.ts'

/** What to change of an entry's platform; null leaves it as it is. */
export interface PlatformChange {
  readonly os: string | null
  readonly architecture: string | null
  readonly variant: string | null
  readonly osVersion: string | null
  /** Empty: as it is. */
  readonly osFeatures: readonly string[]
}

/** What the Engine allows in a list, and registries take. */
const ENTRIES_LIMIT = 500

/**
 * Makes a list (an index) of images that are here, with the platforms that their configs say; `amend` adds to one that is there.
 * @throws {BerthError} notFound: an image is not here; conflict: the list is there already; invalidArgument: the name
 */
export async function createManifestList(
  list: string,
  sources: readonly string[],
  amend: boolean,
  store: ImageStore,
): Promise<ImageRecord> {
  const name = listName(list)
  const known = store.records.named(name)
  if (known !== null && !amend) {
    throw new BerthError(
      'conflict',
      `Cannot create manifest list "${list}": an image has this name, expected none or --amend`,
    )
  }
  const before = known === null ? [] : (await listOf(list, known, store)).manifests
  const added: Descriptor[] = []
  for (const source of sources) added.push(...(await entriesOf(source, store)))
  const entries = new Map([...before, ...added].map(entry => [entry.digest, entry]))
  if (entries.size === 0 || entries.size > ENTRIES_LIMIT) {
    throw new BerthError(
      'invalidArgument',
      `Cannot create manifest list "${list}": it has ${entries.size} manifests, expected 1 to ${ENTRIES_LIMIT}`,
    )
  }
  return await replaceList(name, [...entries.values()], known, store)
}

/**
 * Changes what a list says of the platform of one of its images.
 * @throws {BerthError} notFound: no such list, or nothing of the image in it
 */
export async function annotateManifestList(
  list: string,
  source: string,
  change: PlatformChange,
  store: ImageStore,
): Promise<ImageRecord> {
  const name = listName(list)
  const { image } = findImage(list, store.records)
  const index = await listOf(list, image, store)
  const wanted = new Set((await entriesOf(source, store)).map(({ digest }) => digest))
  if (!index.manifests.some(({ digest }) => wanted.has(digest))) {
    throw new BerthError('notFound', `Cannot annotate "${source}" in manifest list "${list}": it is not in the list`)
  }
  const entries = index.manifests.map(entry =>
    wanted.has(entry.digest) ? { ...entry, platform: changed(entry.platform, change) } : entry,
  )
  return await replaceList(name, entries, image, store)
}

/** Forgets a list; the images in it stay if they have names of their own. @throws {BerthError} notFound; invalidArgument: no list */
export async function removeManifestList(list: string, store: ImageStore): Promise<void> {
  const found = lookUpReference(withDefaultTag(parseReference(list)), store.records)
  if (found === null)
    throw new BerthError('notFound', `Cannot remove manifest list "${list}": there is none of that name`)
  await listOf(list, found.image, store)
  const name = listName(list)
  if (found.image.names.length > 1) store.records.untag(name)
  else await forgetImage(found.image, store, false)
}

function listName(list: string): string {
  const reference = withDefaultTag(parseReference(list))
  if (reference.digest === null) return printReference(reference)
  throw new BerthError(
    'invalidArgument',
    `Cannot use manifest list "${list}": expected a name with a tag, not a digest`,
  )
}

async function listOf(list: string, image: ImageRecord, { content }: ImageStore): Promise<Index> {
  const document = await readTarget(content, image)
  if (document.kind === 'index') return document.index
  throw new BerthError('invalidArgument', `Cannot use manifest list "${list}": it is one image, expected a list`)
}

/** The manifests of an image, each with its platform. */
async function entriesOf(source: string, { records, content }: ImageStore): Promise<readonly Descriptor[]> {
  const { image, manifest } = findImage(source, records)
  const chosen = manifest === null ? image.manifests : [manifest]
  return await Promise.all(
    chosen.map(async ({ digest, platform }) => ({
      ...(await manifestDescriptor(digest, content)),
      platform: parsePlatform(platform),
    })),
  )
}

function changed(platform: Platform | undefined, change: PlatformChange): Platform {
  const { os, architecture, variant, osVersion, osFeatures } = change
  return {
    ...platform,
    os: os ?? platform?.os ?? 'linux',
    architecture: architecture ?? platform?.architecture ?? 'unknown',
    ...(variant === null ? {} : { variant }),
    ...(osVersion === null ? {} : { 'os.version': osVersion }),
    ...(osFeatures.length === 0 ? {} : { 'os.features': osFeatures }),
  }
}

async function replaceList(
  name: string,
  manifests: readonly Descriptor[],
  before: ImageRecord | null,
  store: ImageStore,
): Promise<ImageRecord> {
  // Docker's own list where all are Docker's, as older registries and clients know no other with such manifests.
  const isDocker = manifests.every(({ mediaType }) => mediaType === DOCKER_MANIFEST)
  const mediaType = isDocker ? DOCKER_INDEX : OCI_INDEX
  const bytes = formatIndex({ schemaVersion: 2, mediaType, manifests })
  using lease = store.records.lease(`manifest list ${name}`)
  lease.hold('blob', [digestOf(bytes), ...manifests.map(({ digest }) => digest)])
  const image = await registerImage({ mediaType, ...(await store.content.put(bytes)) }, [name], store)
  const old = before === null || before.digest === image.digest ? null : store.records.get(before.digest)
  // What the list was before has no name any more, and nobody wants it.
  if (old !== null && old.names.length === 0 && isIndexType(old.mediaType)) await forgetImage(old, store, false)
  return image
}

function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${new Bun.CryptoHasher('sha256').update(bytes).digest('hex')}` as Digest
}
