import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BerthError } from '../lib/error.ts'
import { type Digest, digestAlgorithm, digestHex } from '../oci/digest.ts'
import { type ImageDocument, parseImageConfig } from '../oci/image-config.ts'
import { bestMatch, type Platform, parsePlatform } from '../oci/platform.ts'
import { type Layer, LayerStore, type UnpackOptions } from '../snapshot/layer-store.ts'
import type { RunnableImage } from './image.ts'
import type { ImageManifest, ImageRecord } from './image-record.ts'
import { lowersOf } from './lowers.ts'

/** Of the platforms of an image that are here the one that fits best; null when none does. */
export function manifestFor({ manifests }: ImageRecord, platform: Platform): ImageManifest | null {
  const candidates = manifests.map(manifest => ({ manifest, platform: parsePlatform(manifest.platform) }))
  return bestMatch(platform, candidates)?.manifest ?? null
}

/**
 * Makes an image of the store ready to run. On the way to a container this reads some small files and no more: what fetches
 * and unpacks is loaded only where a layer is not unpacked (any more).
 * @param name what the user called it
 * @throws {BerthError} conflict: the image is being removed; invalidArgument: its content is damaged; see {@link LayerStore.unpack}
 */
export async function openStoredImage(
  name: string,
  { digest }: ImageRecord,
  manifest: ImageManifest,
  dataRoot: string,
  options: UnpackOptions,
): Promise<RunnableImage> {
  const { config } = readStoredConfig(dataRoot, manifest.configDigest)
  const store = LayerStore.existing(dataRoot)
  const layers: Layer[] = []
  for (const layer of manifest.layers) {
    layers.push((await store.find(layer.diffId)) ?? (await unpackAgain(layer, dataRoot, options)))
  }
  return { name, config, lowers: lowersOf(layers), stored: { image: digest, manifest } }
}

/** The layer of a blob that is here: after a loss of power, or when the image came without being unpacked. */
async function unpackAgain(
  { digest, sizeBytes, diffId }: ImageManifest['layers'][number],
  dataRoot: string,
  options: UnpackOptions,
): Promise<Layer> {
  const { ContentStore } = await import('../content/content-store.ts')
  const store = await LayerStore.open(dataRoot)
  const content = await ContentStore.open(dataRoot)
  try {
    return await store.unpack(diffId, () => content.read({ digest, sizeBytes }, options.signal), options)
  } catch (cause) {
    if (!(cause instanceof BerthError && cause.category === 'notFound')) throw cause
    throw new BerthError('conflict', `Cannot unpack layer "${diffId}": it is gone, its image was removed meanwhile`, {
      cause,
    })
  }
}

/** The config of an image whose blob is here, verified. @throws {BerthError} conflict: it is gone; invalidArgument: it is damaged */
export function readStoredConfig(dataRoot: string, digest: Digest): ImageDocument {
  const algorithm = digestAlgorithm(digest)
  const bytes = readBlob(join(dataRoot, 'content', 'blobs', algorithm, digestHex(digest)), digest)
  const actual = `${algorithm}:${new Bun.CryptoHasher(algorithm).update(bytes).digest('hex')}`
  if (actual !== digest)
    throw new BerthError('invalidArgument', `Cannot read config "${digest}": its content has the digest ${actual}`)
  return parseImageConfig(bytes.toString('utf8'), `config ${digest}`)
}

function readBlob(path: string, digest: Digest): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause
    throw new BerthError('conflict', `Cannot read config "${digest}": it is gone, its image was removed meanwhile`, {
      cause,
    })
  }
}
