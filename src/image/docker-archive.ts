/**
 * The archives of `docker save`: `manifest.json` says which files are an image's config and layers, and what it is called.
 * Source: moby › image/tarexport; the layout differs by writer, which is why names are only looked up.
 */
import type { BlobName } from '../content/verified-read.ts'
import { BerthError } from '../lib/error.ts'
import { list, object, parseJson, required, type Shape, text } from '../lib/json-shape.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { type ImageDocument, parseImageConfig } from '../oci/image-config.ts'
import type { Manifest } from '../oci/manifest.ts'
import { OCI_CONFIG, OCI_LAYER, OCI_MANIFEST } from '../oci/media-types.ts'
import type { ArchiveContents, ArchivedBlob } from './archive-reader.ts'

/** One image of an archive. */
export interface DockerArchiveImage {
  readonly config: ArchivedBlob
  readonly layers: readonly ArchivedBlob[]
  /** As written: `debian:bookworm`. */
  readonly tags: readonly string[]
}

interface WireImage {
  readonly Config: string
  readonly RepoTags?: readonly string[]
  readonly Layers: readonly string[]
}

const IMAGES_LIMIT = 1000
const LAYERS_LIMIT = 500
/** RFC 8878, section 3.1.1. */
const ZSTD_MAGIC: readonly number[] = [0x28, 0xb5, 0x2f, 0xfd]

const images: Shape<readonly WireImage[]> = list(
  object<WireImage>({ Config: required(text), RepoTags: list(text), Layers: required(list(text)) }),
  1,
)

/**
 * The images that manifest.json tells of.
 * @throws {BerthError} invalidArgument: malformed, or it names a file that the archive does not hold
 */
export function dockerArchiveImages(contents: ArchiveContents, json: string): readonly DockerArchiveImage[] {
  const { value } = parseJson(json, 'manifest.json', images)
  if (value.length > IMAGES_LIMIT) throw unusable(`it names ${value.length} images, expected at most ${IMAGES_LIMIT}`)
  return value.map(({ Config, RepoTags = [], Layers }) => {
    if (Layers.length > LAYERS_LIMIT) {
      throw unusable(`it names ${Layers.length} layers of an image, expected at most ${LAYERS_LIMIT}`)
    }
    return {
      config: lookUp(contents, Config),
      layers: Layers.map(name => lookUp(contents, name)),
      tags: RepoTags,
    }
  })
}

function lookUp({ blobs, links }: ArchiveContents, given: string): ArchivedBlob {
  const name = given.replace(/^\.\//, '')
  // One step: no writer makes links to links, and so there are no circles.
  const found = blobs.get(name) ?? blobs.get(links.get(name) ?? '')
  if (found !== undefined) return found
  throw unusable(`it names ${JSON.stringify(given.slice(0, 200))}, which the archive does not hold`)
}

function unusable(why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot load manifest.json: ${why}`)
}

/**
 * The manifest of such an image, which its archive does not have. The same config and layers always give the same one.
 * @throws {BerthError} invalidArgument: the config is malformed, or the layers are not those that it names
 */
export function dockerArchiveManifest({ config, layers }: DockerArchiveImage, configJson: string): Manifest {
  checkLayers(layers, parseImageConfig(configJson, `config ${config.digest}`))
  return {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: descriptorOf(config, OCI_CONFIG),
    layers: layers.map(layer => descriptorOf(layer, OCI_LAYER + compressionOf(layer.head))),
  }
}

function descriptorOf({ digest, sizeBytes }: BlobName, mediaType: string): Descriptor {
  return { mediaType, digest, sizeBytes }
}

/** A layer that is not compressed has its diffID for a digest; others are verified when they are unpacked. */
function checkLayers(layers: readonly ArchivedBlob[], { diffIds }: ImageDocument): void {
  if (layers.length !== diffIds.length) {
    throw unusable(`it names ${layers.length} layers, expected ${diffIds.length} as in the config`)
  }
  for (const [position, layer] of layers.entries()) {
    if (compressionOf(layer.head) !== '' || layer.digest === diffIds[position]) continue
    throw unusable(`layer ${position} has the digest ${layer.digest}, expected ${diffIds[position]} as in the config`)
  }
}

/** The suffix of the media type, by the first bytes. */
function compressionOf(head: Uint8Array): '' | '+gzip' | '+zstd' {
  if (head[0] === 0x1f && head[1] === 0x8b) return '+gzip'
  return ZSTD_MAGIC.every((byte, index) => head[index] === byte) ? '+zstd' : ''
}
