import type { ContentStore } from '../content/content-store.ts'
import { formatJson } from '../lib/json-shape.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { parseImageConfig } from '../oci/image-config.ts'
import { parseManifest } from '../oci/manifest.ts'
import { formatManifest } from '../oci/manifest-format.ts'
import { OCI_CONFIG, OCI_LAYER, OCI_MANIFEST } from '../oci/media-types.ts'
import type { Platform } from '../oci/platform.ts'
import type { ConfigDocument } from './config-changes.ts'
import { pairLayers } from './image-documents.ts'
import type { ImageRecord } from './image-record.ts'
import type { ImageStore } from './image-store.ts'
import type { Lease } from './lease.ts'
import { registerImage } from './register-image.ts'

const DOCKER_LAYER = /^application\/vnd\.docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.(gzip|zstd))?$/

/** An image that another one is made from: its documents as they are. */
export interface BaseImage {
  readonly platform: Platform
  /** The lowest first. */
  readonly layers: readonly Descriptor[]
  readonly diffIds: readonly Digest[]
  readonly config: ConfigDocument
  readonly history: readonly ConfigDocument[]
  /** It stands for the machine's own root filesystem, which is below the layers and never in an image. */
  readonly isHost?: boolean
}

/** A layer that is in the content store. */
export interface NewLayer {
  readonly diffId: Digest
  readonly descriptor: Descriptor
}

/** What a new image says of itself. */
export interface ImageDescription {
  readonly config: ConfigDocument
  /** RFC 3339, whole seconds. */
  readonly created: string
  readonly author: string
  readonly comment: string
  /** What made its layer. */
  readonly createdBy: string
}

/** The documents of one platform of an image that is here. @throws {BerthError} notFound: it is gone; invalidArgument: damaged */
export async function readBaseImage(
  manifest: Pick<Descriptor, 'digest' | 'sizeBytes'>,
  content: Pick<ContentStore, 'readDocument'>,
): Promise<BaseImage> {
  const name = `manifest ${manifest.digest}`
  const manifestJson = textOf(await content.readDocument(manifest))
  const { mediaType = OCI_MANIFEST } = JSON.parse(manifestJson) as { mediaType?: string }
  const document = parseManifest(manifestJson, name, mediaType)
  const json = textOf(await content.readDocument(document.config))
  const image = parseImageConfig(json, `config ${document.config.digest}`)
  pairLayers(manifest.digest, document, image)
  const { config, history } = JSON.parse(json) as { config?: ConfigDocument; history?: readonly ConfigDocument[] }
  return {
    platform: image.platform,
    layers: document.layers,
    diffIds: image.diffIds,
    config: config ?? {},
    history: history ?? [],
  }
}

/** An image of nothing. */
export function emptyBase(platform: Platform): BaseImage {
  return { platform, layers: [], diffIds: [], config: {}, history: [] }
}

/**
 * The machine's own root filesystem as what an image is made from. What was made on top of it before goes on in the config and the history;
 * its layer does not, since the next one holds all that differs from the machine.
 */
export function hostBase(platform: Platform, { config, history }: Pick<BaseImage, 'config' | 'history'>): BaseImage {
  const steps = history.map(step => ({ ...step, empty_layer: true }))
  return { platform, layers: [], diffIds: [], config, history: steps, isHost: true }
}

/**
 * Makes an image of a base's layers and a new one on top, and registers it. Its layers are named, not copied. The same input gives the
 * same digest. `lease` holds all that it consists of.
 * @throws {BerthError} invalidArgument: the config is not an image's
 */
export async function composeImage(
  base: BaseImage,
  layer: NewLayer,
  description: ImageDescription,
  names: readonly string[],
  store: Pick<ImageStore, 'content' | 'records'>,
  lease: Lease,
): Promise<ImageRecord> {
  const { config, created, author, comment, createdBy } = description
  const entry = { created, ...(author && { author }), created_by: createdBy, ...(comment && { comment }) }
  const text = formatJson({
    created,
    ...(author && { author }),
    architecture: base.platform.architecture,
    ...(base.platform.variant && { variant: base.platform.variant }),
    os: base.platform.os,
    config: sortKeys(config),
    rootfs: { type: 'layers', diff_ids: [...base.diffIds, layer.diffId] },
    history: [...base.history, entry],
  })
  parseImageConfig(text, 'the new config')
  const configBlob = await put(Buffer.from(text), store, lease)
  const manifest = formatManifest({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { ...configBlob, mediaType: OCI_CONFIG },
    layers: [...base.layers.map(asOciLayer), layer.descriptor],
  })
  const target = { ...(await put(manifest, store, lease)), mediaType: OCI_MANIFEST }
  return await registerImage(target, names, store, { isOnHost: base.isHost === true })
}

/** A manifest of the OCI names layers by its media types; Docker's mean the same bytes. */
function asOciLayer(layer: Descriptor): Descriptor {
  const match = DOCKER_LAYER.exec(layer.mediaType)
  if (match === null) return layer
  return { ...layer, mediaType: match[1] === undefined ? OCI_LAYER : `${OCI_LAYER}+${match[1]}` }
}

async function put(
  bytes: Uint8Array,
  { content }: Pick<ImageStore, 'content'>,
  lease: Lease,
): Promise<Pick<Descriptor, 'digest' | 'sizeBytes'>> {
  const digest = `sha256:${new Bun.CryptoHasher('sha256').update(bytes).digest('hex')}` as Digest
  lease.hold('blob', [digest])
  return await content.put(bytes)
}

function sortKeys(config: ConfigDocument): ConfigDocument {
  return Object.fromEntries(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}
