import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { type ImageDocument, parseImageConfig } from '../oci/image-config.ts'
import { type Index, type Manifest, parseIndex, parseManifest } from '../oci/manifest.ts'
import { isConfigType, isIndexType, isLayerType } from '../oci/media-types.ts'
import { type Platform, printPlatform } from '../oci/platform.ts'
import type { ImageLayer, ImageManifest } from './image-record.ts'

/** Where documents come from: the content store, verified. */
export interface DocumentSource {
  /** The size in bytes; null: it is not there. */
  find(digest: Digest): Promise<number | null>
  /** @throws {BerthError} notFound; invalidArgument: of another size or digest */
  readDocument(blob: Pick<Descriptor, 'digest' | 'sizeBytes'>): Promise<Uint8Array>
}

/** The target of an image, or an entry of its index: either kind of document. */
export type TargetDocument =
  | { readonly kind: 'index'; readonly index: Index }
  | { readonly kind: 'manifest'; readonly manifest: Manifest }

/**
 * Reads what a descriptor of an index or a manifest names.
 * @throws {BerthError} invalidArgument: of another kind, or damaged; notImplemented: of Docker's schema 1
 */
export async function readTarget(content: DocumentSource, descriptor: Descriptor): Promise<TargetDocument> {
  return parseTarget(await content.readDocument(descriptor), descriptor)
}

/** As {@link readTarget}, of bytes that are at hand. */
export function parseTarget(bytes: Uint8Array, { digest, mediaType }: Descriptor): TargetDocument {
  const name = `manifest ${digest}`
  if (isIndexType(mediaType)) return { kind: 'index', index: parseIndex(bytes, name, mediaType) }
  return { kind: 'manifest', manifest: parseManifest(bytes, name, mediaType) }
}

/** Reads the config of an image. @throws {BerthError} invalidArgument: an artifact's, or damaged */
export async function readConfig(content: DocumentSource, { config }: Manifest): Promise<ImageDocument> {
  if (!isConfigType(config.mediaType))
    throw new BerthError(
      'invalidArgument',
      `Cannot use config ${config.digest}: it is ${config.mediaType}, an artifact's, expected an image's`,
    )
  const name = `config ${config.digest}`
  return parseImageConfig(await content.readDocument(config), name)
}

/**
 * The layers of a manifest with what their config says of them, the lowest first.
 * @throws {BerthError} invalidArgument: they differ in number; notImplemented: one is no tar archive
 */
export function pairLayers(digest: Digest, { layers }: Manifest, { diffIds }: ImageDocument): readonly ImageLayer[] {
  if (layers.length !== diffIds.length)
    throw new BerthError(
      'invalidArgument',
      `Cannot use manifest ${digest}: its config names ${diffIds.length} layers, expected ${layers.length} as in itself`,
    )
  return layers.map((layer, position) => {
    const diffId = diffIds[position]
    if (diffId === undefined || !isLayerType(layer.mediaType))
      throw new BerthError(
        'notImplemented',
        `Cannot use layer ${position} of manifest ${digest}: it is ${layer.mediaType}, expected a tar archive`,
      )
    return { digest: layer.digest, sizeBytes: layer.sizeBytes, diffId }
  })
}

/** What is remembered of a manifest. @throws {BerthError} as {@link pairLayers} */
export function imageManifest(digest: Digest, manifest: Manifest, document: ImageDocument): ImageManifest {
  const createdMs = document.created === null ? Number.NaN : Date.parse(document.created)
  return {
    digest,
    platform: printPlatform(document.platform),
    configDigest: manifest.config.digest,
    // The grammar of its text has been checked; there is still no 30th of February.
    createdMs: Number.isNaN(createdMs) ? null : createdMs,
    layers: pairLayers(digest, manifest, document),
    labels: document.config.labels,
  }
}

/** Whether an entry of an index is for no platform: attestations and the like, which belong to an image and can't run. */
export function isForNoPlatform({ platform }: { readonly platform?: Platform }): boolean {
  return platform !== undefined && (platform.os === 'unknown' || platform.architecture === 'unknown')
}
