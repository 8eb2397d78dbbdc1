import { BerthError } from '../lib/error.ts'
import { runBounded } from '../lib/run-bounded.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Manifest } from '../oci/manifest.ts'
import { isConfigType } from '../oci/media-types.ts'
import { linuxPlatform } from '../oci/platform.ts'
import type { UnpackLimits } from '../snapshot/unpack-limits.ts'
import { chooseManifest, INDEX_DEPTH_LIMIT } from './choose-manifest.ts'
import { pairLayers, readConfig, readTarget } from './image-documents.ts'
import type { ImageLayer } from './image-record.ts'
import type { ImageStore } from './image-store.ts'
import type { Lease } from './lease.ts'

/** How to unpack. */
export interface UnpackLoadedOptions {
  readonly limits?: UnpackLimits
  readonly warn: (message: string) => void
  readonly signal?: AbortSignal
}

/** As pulls unpack: more at once only compete for the disk. */
const UNPACK_CONCURRENCY = 2

/**
 * Verifies and unpacks the layers of an image that is in the content store, of the platform that fits this machine. An image of other
 * platforms only is left as it is: its layers are verified when it is run.
 * @throws {BerthError} invalidArgument: a layer is not what its config says; whatever LayerStore.unpack() throws
 */
export async function unpackLoaded(
  target: Descriptor,
  { content, layers }: ImageStore,
  lease: Lease,
  { limits, warn, signal }: UnpackLoadedOptions,
): Promise<void> {
  const own = await ownLayers(target, content)
  lease.hold('layer', new Set(own.map(({ diffId }) => diffId)))
  const byDiffId = new Map(own.map(layer => [layer.diffId, layer]))
  const unpack = async (layer: ImageLayer, either: AbortSignal): Promise<void> => {
    const options = { warn, signal: either, ...(limits === undefined ? {} : { limits }) }
    await layers.unpack(layer.diffId, () => content.read(layer, either), options)
  }
  await runBounded(byDiffId.values(), UNPACK_CONCURRENCY, unpack, signal)
}

/** Empty: nothing of it is for this machine, or it is no image. */
async function ownLayers(target: Descriptor, content: ImageStore['content']): Promise<readonly ImageLayer[]> {
  const found = await ownManifest(target, content)
  if (found === null || !isConfigType(found.manifest.config.mediaType)) return []
  const { config, layers } = found.manifest
  const blobs = await Promise.all([config, ...layers].map(({ digest }) => content.find(digest)))
  // What is incomplete is not registered either.
  if (blobs.includes(null)) return []
  return pairLayers(found.digest, found.manifest, await readConfig(content, found.manifest))
}

async function ownManifest(
  target: Descriptor,
  content: ImageStore['content'],
): Promise<{ readonly digest: Descriptor['digest']; readonly manifest: Manifest } | null> {
  let descriptor = target
  for (let depth = 0; depth <= INDEX_DEPTH_LIMIT; depth++) {
    if ((await content.find(descriptor.digest)) === null) return null
    const document = await readTarget(content, descriptor)
    if (document.kind === 'manifest') return { digest: descriptor.digest, manifest: document.manifest }
    const chosen = chosenOrNull(document.index.manifests)
    if (chosen === null) return null
    descriptor = chosen
  }
  return null
}

function chosenOrNull(manifests: readonly Descriptor[]): Descriptor | null {
  try {
    return chooseManifest(manifests, linuxPlatform(process.arch), 'the index')
  } catch (error) {
    // It has nothing for this machine, which is no fault of an archive.
    if (error instanceof BerthError && error.category === 'notFound') return null
    throw error
  }
}
