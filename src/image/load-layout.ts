import { OciLayout } from '../content/oci-layout.ts'
import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { isIndexType, isManifestType } from '../oci/media-types.ts'
import { INDEX_DEPTH_LIMIT } from './choose-manifest.ts'
import { parseTarget } from './image-documents.ts'
import type { ImageStore } from './image-store.ts'
import type { Lease } from './lease.ts'
import { type LoadedImage, type LoadOptions, layoutTargets, registerTargets } from './load-images.ts'
import { progressId } from './progress.ts'
import { IMAGE_DOCUMENTS_LIMIT } from './register-image.ts'

/**
 * Loads the images of an OCI layout directory. See {@link loadImages}; what of an index is not in the layout is left out.
 * @throws {BerthError} notFound: no layout, or nothing of the platform; invalidArgument: a damaged or a hostile one
 */
export async function loadLayout(
  path: string,
  store: ImageStore,
  options: LoadOptions,
): Promise<readonly LoadedImage[]> {
  using lease = store.records.lease(`load ${path}`)
  await using layout = await OciLayout.open(path)
  const copy = new LayoutCopy(layout, store, lease, options)
  for (const target of layout.index.manifests) await copy.target(target, 0)
  const targets = await layoutTargets(layout.index.manifests, store, options)
  return await registerTargets('oci', targets, store, lease, options)
}

/** Copies what a layout's index leads to. */
class LayoutCopy {
  readonly #layout: OciLayout
  readonly #store: ImageStore
  readonly #lease: Lease
  readonly #options: LoadOptions
  readonly #seen = new Set<string>()

  constructor(layout: OciLayout, store: ImageStore, lease: Lease, options: LoadOptions) {
    this.#layout = layout
    this.#store = store
    this.#lease = lease
    this.#options = options
  }

  async target(descriptor: Descriptor, depth: number): Promise<void> {
    if (this.#seen.has(descriptor.digest)) return
    if (this.#seen.size >= IMAGE_DOCUMENTS_LIMIT || depth > INDEX_DEPTH_LIMIT) {
      throw new BerthError('invalidArgument', `Cannot load layout "${this.#layout.path}": its indexes have no end`)
    }
    this.#seen.add(descriptor.digest)
    const bytes = Buffer.from(await this.#layout.readDocument(descriptor))
    await this.#blob(descriptor)
    const document = parseTarget(bytes, descriptor)
    if (document.kind === 'manifest') {
      for (const blob of [document.manifest.config, ...document.manifest.layers]) await this.#blob(blob)
      return
    }
    for (const entry of document.index.manifests) {
      if (!isManifestType(entry.mediaType) && !isIndexType(entry.mediaType)) continue
      await this.#ifThere(() => this.target(entry, depth + 1))
    }
  }

  /** Layouts need not hold all platforms of an index. */
  async #ifThere(copy: () => Promise<void>): Promise<void> {
    try {
      await copy()
    } catch (error) {
      if (!(error instanceof BerthError && error.category === 'notFound')) throw error
    }
  }

  async #blob({ digest, sizeBytes }: Descriptor): Promise<void> {
    const { signal, onProgress } = this.#options
    this.#lease.hold('blob', [digest])
    if ((await this.#store.content.find(digest)) === sizeBytes) return
    await using ingestion = await this.#store.content.ingest({ digest, sizeBytes }, signal)
    let skipBytes = ingestion.offset
    for await (const piece of this.#layout.read({ digest, sizeBytes })) {
      signal?.throwIfAborted()
      const skipped = Math.min(skipBytes, piece.length)
      skipBytes -= skipped
      if (skipped < piece.length) await ingestion.write(piece.subarray(skipped))
      onProgress?.({
        id: progressId(digest),
        kind: 'loading',
        currentBytes: ingestion.offset,
        totalBytes: sizeBytes,
      })
    }
    await ingestion.commit()
  }
}
