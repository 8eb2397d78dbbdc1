import { OciLayout } from '../content/oci-layout.ts'
import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { type ImageDocument, parseImageConfig } from '../oci/image-config.ts'
import type { Manifest } from '../oci/manifest.ts'
import { isConfigType, isLayerType } from '../oci/media-types.ts'
import { linuxPlatform, type Platform, platformDistance, printPlatform } from '../oci/platform.ts'
import { type Layer, LayerStore } from '../snapshot/layer-store.ts'
import type { UnpackLimits } from '../snapshot/unpack-limits.ts'
import type { RunnableImage } from './image.ts'
import { lowersOf } from './lowers.ts'
import { resolveManifest } from './resolve-manifest.ts'

/** Decompressing one layer and writing another overlap; more at once only compete for the disk. */
const UNPACK_CONCURRENCY = 2

/** How to open an image. */
export interface OpenLayoutImageOptions {
  /** Default: this machine's. */
  readonly platform?: Platform
  /** Told what of the image is left out. */
  readonly warn: (message: string) => void
  readonly limits?: UnpackLimits
  readonly signal?: AbortSignal
  /** Keeps layers, by their diffIDs, from the garbage collector until what it returns is disposed of. */
  readonly hold: (diffIds: readonly Digest[]) => Disposable
}

/** An image of a layout directory. */
export interface LayoutReference {
  readonly path: string
  /** Its `org.opencontainers.image.ref.name`; null: the only image there is. */
  readonly tag: string | null
}

/**
 * Opens an image of a layout, and unpacks those of its layers that are not below `dataRoot` (an absolute path) yet.
 * @throws {BerthError} notFound: no layout, tag or platform; conflict: several images and no tag; invalidArgument: a damaged
 * or hostile layout; notImplemented: a kind of layer that is not read; unavailable: a limit is exceeded or the disk is full
 */
export async function openLayoutImage(
  { path, tag }: LayoutReference,
  dataRoot: string,
  options: OpenLayoutImageOptions,
): Promise<RunnableImage> {
  const reference = tag === null ? path : `${path}:${tag}`
  const platform = options.platform ?? linuxPlatform(process.arch)
  await using layout = await OciLayout.open(path)
  const manifest = await resolveManifest(layout, tag, platform)
  const document = await readConfig(layout, manifest)
  checkPlatform(reference, document.platform, platform)
  const store = await LayerStore.open(dataRoot)
  const sources = pair(reference, manifest, document)
  const diffIds = sources.map(({ diffId }) => diffId)
  const lease = options.hold(diffIds)
  try {
    const layers = await unpackAll(layout, store, sources, options)
    return { name: reference, config: document.config, lowers: lowersOf(layers), borrowed: { diffIds, lease } }
  } catch (error) {
    lease[Symbol.dispose]()
    throw error
  }
}

async function readConfig(layout: OciLayout, { config }: Manifest): Promise<ImageDocument> {
  if (!isConfigType(config.mediaType)) {
    throw new BerthError(
      'invalidArgument',
      `Cannot run an artifact of "${layout.path}": its config is ${config.mediaType}, expected an image's`,
    )
  }
  return parseImageConfig(await layout.readDocument(config), `config ${config.digest} of ${layout.path}`)
}

/** The config decides: an index is free to say nothing, or something wrong. */
function checkPlatform(reference: string, offered: Platform, wanted: Platform): void {
  if (platformDistance(wanted, offered) !== null) return
  throw new BerthError(
    'notFound',
    `Cannot run image "${reference}": it is for ${printPlatform(offered)}, expected ${printPlatform(wanted)}`,
  )
}

interface LayerSource {
  readonly diffId: Digest
  readonly descriptor: Descriptor
}

function pair(reference: string, { layers }: Manifest, { diffIds }: ImageDocument): readonly LayerSource[] {
  if (layers.length !== diffIds.length) {
    throw new BerthError(
      'invalidArgument',
      `Cannot run image "${reference}": its config names ${diffIds.length} layers, expected ${layers.length} as in its manifest`,
    )
  }
  return layers.map((descriptor, index) => {
    const diffId = diffIds[index]
    if (diffId === undefined || !isLayerType(descriptor.mediaType)) {
      throw new BerthError(
        'notImplemented',
        `Cannot unpack layer ${index} of image "${reference}": it is ${descriptor.mediaType}, expected a tar archive`,
      )
    }
    return { diffId, descriptor }
  })
}

/** All layers, in their order. On throw the others are stopped and nothing is going on any more. */
async function unpackAll(
  layout: OciLayout,
  store: LayerStore,
  sources: readonly LayerSource[],
  { limits, warn, signal }: OpenLayoutImageOptions,
): Promise<readonly Layer[]> {
  const failed = new AbortController()
  const options = {
    ...(limits === undefined ? {} : { limits }),
    warn,
    signal: signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]),
  }
  const layers: Layer[] = []
  const queue = sources.entries()
  const work = async (): Promise<void> => {
    // One iterator for all workers: each takes what is next.
    for (const [index, { diffId, descriptor }] of queue) {
      layers[index] = await store.unpack(diffId, () => layout.read(descriptor), options)
    }
  }
  const workers = Array.from({ length: UNPACK_CONCURRENCY }, () =>
    work().catch((error: unknown) => {
      failed.abort(error)
      throw error
    }),
  )
  const results = await Promise.allSettled(workers)
  const failure = results.find(result => result.status === 'rejected')
  if (failure !== undefined) throw failed.signal.reason
  return layers
}
