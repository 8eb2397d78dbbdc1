import { BerthError } from '../lib/error.ts'
import { formatJson } from '../lib/json-shape.ts'
import { TarWriter } from '../lib/tar/writer.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { type Digest, digestAlgorithm, digestHex } from '../oci/digest.ts'
import { formatIndex } from '../oci/manifest-format.ts'
import { OCI_INDEX } from '../oci/media-types.ts'
import { bestMatch, type Platform, parsePlatform, printPlatform } from '../oci/platform.ts'
import { familiarReference, parseReference } from '../oci/reference.ts'
import type { FoundImage } from './find-image.ts'
import { REF_NAME } from './image-index.ts'
import { type ImageManifest, type ImageRecord, ownManifest } from './image-record.ts'
import type { ImageStore } from './image-store.ts'
import type { Lease } from './lease.ts'
import { IMAGE_NAME } from './load-images.ts'
import { manifestDescriptor } from './manifest-document.ts'

/** Forms of an archive: Docker's holds an OCI layout too, and so is read by programs of either kind. */
export type ArchiveFormat = 'docker-archive' | 'oci-archive'

/** How to save. */
export interface SaveOptions {
  readonly format: ArchiveFormat
  /** Only this platform; default: all that is here of an image. */
  readonly platform?: Platform
  readonly signal?: AbortSignal
}

/** An image as it goes into the archive. */
interface SavedImage {
  readonly target: Descriptor
  /** What programs see that know no indexes. */
  readonly manifest: ImageManifest
  /** Canonical. */
  readonly names: readonly string[]
  readonly blobs: ReadonlyMap<Digest, number>
}

/** The tar entries of one archive have no times of their own, so that the same images make the same archive. */
const FIXED = {
  linkname: '',
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  devmajor: 0,
  devminor: 0,
  xattrs: new Map<string, string>(),
} as const

/**
 * The archive of some images, piece by piece: documents first, then every blob once, as it is stored, verified while it is read.
 * The same images give the same bytes. An image that was found by a name is saved under that name, one found by its id without any.
 * @throws {BerthError} notFound: an image has nothing for the platform, or a blob is gone; invalidArgument: a blob is damaged
 */
export async function* saveImages(
  found: readonly FoundImage[],
  { content, records }: Pick<ImageStore, 'content' | 'records'>,
  options: SaveOptions,
): AsyncGenerator<Uint8Array> {
  using lease = records.lease('save')
  const images: SavedImage[] = []
  for (const image of merged(found)) images.push(await savedImage(image, { content, records }, lease, options.platform))
  const writer = new TarWriter()
  const blobs = new Map(images.flatMap(image => [...image.blobs]))
  addDocument(writer, 'oci-layout', '{"imageLayoutVersion":"1.0.0"}')
  addDocument(writer, 'index.json', indexOf(images, options.format))
  if (options.format === 'docker-archive') {
    addDocument(writer, 'manifest.json', formatJson(images.map(dockerImage)))
    addDocument(writer, 'repositories', formatJson(repositories(images)))
  }
  for (const name of ['blobs/', ...new Set([...blobs.keys()].map(digest => `blobs/${digestAlgorithm(digest)}/`))]) {
    writer.entry({ ...FIXED, type: 'directory', name, mode: 0o755, sizeBytes: 0 })
  }
  for (const [digest, sizeBytes] of [...blobs].sort(([a], [b]) => (a < b ? -1 : 1))) {
    writer.entry({ ...FIXED, type: 'file', name: blobPath(digest), mode: 0o644, sizeBytes })
    for await (const piece of content.read({ digest, sizeBytes }, options.signal)) {
      writer.data(piece)
      yield writer.take()
    }
  }
  writer.finish()
  yield writer.take()
}

function blobPath(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`
}

function addDocument(writer: TarWriter, name: string, content: string | Uint8Array): void {
  const bytes = Buffer.from(content)
  writer.entry({ ...FIXED, type: 'file', name, mode: 0o644, sizeBytes: bytes.length })
  writer.data(bytes)
}

/** One image by several names is there once, with these names. */
function merged(found: readonly FoundImage[]): readonly (FoundImage & { readonly names: readonly string[] })[] {
  const groups = Map.groupBy(found, ({ image, manifest }) => `${image.digest} ${manifest?.digest ?? ''}`)
  return [...groups.values()].flatMap(group => {
    const [first] = group
    const names = [...new Set(group.flatMap(({ name }) => (name === null ? [] : [name])))].sort()
    return first === undefined ? [] : [{ ...first, names }]
  })
}

async function savedImage(
  { image, manifest, names }: FoundImage & { readonly names: readonly string[] },
  { content, records }: Pick<ImageStore, 'content' | 'records'>,
  lease: Lease,
  platform: Platform | undefined,
): Promise<SavedImage> {
  const all = records.contentOf(image.digest).filter(({ kind }) => kind === 'blob')
  lease.hold(
    'blob',
    all.map(({ digest }) => digest),
  )
  const sizes = new Map(all.map(({ digest, sizeBytes }) => [digest, sizeBytes]))
  const chosen = platform === undefined ? manifest : manifestFor(image, platform)
  const shown = chosen ?? ownManifest(image)
  if (shown === null) throw new BerthError('notFound', `Cannot save image "${image.digest}": nothing of it is here`)
  if (chosen === null || chosen.digest === image.digest) {
    const { mediaType, digest, sizeBytes } = image
    return { target: { mediaType, digest, sizeBytes }, manifest: shown, names, blobs: sizes }
  }
  const wanted = [chosen.digest, chosen.configDigest, ...chosen.layers.map(({ digest }) => digest)]
  const blobs = new Map(wanted.map(digest => [digest, sizes.get(digest) ?? 0]))
  const target = await manifestDescriptor(chosen.digest, content)
  return { target, manifest: shown, names, blobs }
}

function manifestFor(image: ImageRecord, platform: Platform): ImageManifest {
  const offers = image.manifests.map(manifest => ({ manifest, platform: parsePlatform(manifest.platform) }))
  const best = bestMatch(platform, offers)
  if (best !== undefined && best !== null) return best.manifest
  const offered = image.manifests.map(manifest => manifest.platform).join(', ')
  const name = image.names[0] ?? image.digest
  throw new BerthError(
    'notFound',
    `Cannot save image "${name}" for ${printPlatform(platform)}: what is here is for ${offered}`,
  )
}

/** Each name is an entry of its own; an image without one is an entry too. */
function indexOf(images: readonly SavedImage[], format: ArchiveFormat): Uint8Array {
  const manifests = images.flatMap(({ target, names }): readonly Descriptor[] =>
    names.length === 0 ? [target] : names.map(name => ({ ...target, annotations: annotationsOf(name, format) })),
  )
  return formatIndex({ schemaVersion: 2, mediaType: OCI_INDEX, manifests })
}

/** Docker writes the tag alone into the OCI's annotation; podman and skopeo the whole name. */
function annotationsOf(name: string, format: ArchiveFormat): Readonly<Record<string, string>> {
  const { tag, digest } = parseReference(name)
  const short = tag ?? digest ?? name
  return { [IMAGE_NAME]: name, [REF_NAME]: format === 'oci-archive' ? name : short }
}

function dockerImage({ manifest, names }: SavedImage): unknown {
  const tags = names.map(parseReference).filter(({ tag }) => tag !== null)
  return {
    Config: blobPath(manifest.configDigest),
    RepoTags: tags.length === 0 ? null : tags.map(familiarReference),
    Layers: manifest.layers.map(({ digest }) => blobPath(digest)),
  }
}

/** What came before manifest.json: repository → tag → topmost layer. */
function repositories(images: readonly SavedImage[]): Readonly<Record<string, Readonly<Record<string, string>>>> {
  const all: Record<string, Record<string, string>> = {}
  for (const { manifest, names } of images) {
    const top = manifest.layers.at(-1)
    for (const reference of names.map(parseReference)) {
      if (reference.tag === null || top === undefined) continue
      const repository = familiarReference({ ...reference, tag: null, digest: null })
      all[repository] = { ...all[repository], [reference.tag]: digestHex(top.digest) }
    }
  }
  return all
}
