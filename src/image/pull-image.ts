import { dirname } from 'node:path'
import { isDiskFull } from '../lib/disk-full.ts'
import { BerthError, invariant } from '../lib/error.ts'
import { runBounded } from '../lib/run-bounded.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { DOCUMENT_LIMIT_BYTES } from '../oci/document.ts'
import type { ImageDocument } from '../oci/image-config.ts'
import type { Manifest } from '../oci/manifest.ts'
import { isConfigType } from '../oci/media-types.ts'
import { linuxPlatform, type Platform, platformDistance, printPlatform } from '../oci/platform.ts'
import { familiarReference, printReference, type Reference, withDefaultTag } from '../oci/reference.ts'
import type { UnpackOptions } from '../snapshot/layer-store.ts'
import { chooseManifest, INDEX_DEPTH_LIMIT } from './choose-manifest.ts'
import { pairLayers, parseTarget, readConfig } from './image-documents.ts'
import type { ImageManifest, ImageRecord } from './image-record.ts'
import type { ImageStore } from './image-store.ts'
import type { Lease } from './lease.ts'
import { type OnProgress, progressId } from './progress.ts'
import { type BlobSource, pullBlob, pullLayer, type Transfer } from './pull-layer.ts'
import { registerImage } from './register-image.ts'

/** What pulling needs of a registry's client. */
export interface PullSource extends BlobSource {
  resolve(reference: Reference, signal?: AbortSignal): Promise<Descriptor>
  /** Verified against the digest where the reference has one; at most 4 MiB. */
  fetchDocument(
    reference: Reference,
    signal?: AbortSignal,
  ): Promise<{ readonly descriptor: Descriptor; readonly bytes: Uint8Array }>
}

/** An index or a manifest with its bytes. */
export interface PulledDocument {
  readonly descriptor: Descriptor
  readonly bytes: Uint8Array
}

/**
 * Decides whether an image may come in, before any of its layers does, and throws when it may not. `documents` are the target and what
 * was chosen from it, down to the manifest: each names the next by its digest, so that trust in one is trust in those after it.
 */
export type TrustCheck = (reference: Reference, documents: readonly PulledDocument[]) => Promise<void>

/** How to pull. */
export interface PullOptions extends Pick<UnpackOptions, 'limits'> {
  /** Null: this machine's, and an image that is for another one only is taken with a warning. */
  readonly platform: Platform | null
  readonly checkTrust: TrustCheck
  readonly warn: (message: string) => void
  readonly onProgress?: OnProgress
  readonly signal?: AbortSignal
}

/** What has come. */
export interface PulledImage {
  readonly image: ImageRecord
  readonly manifest: ImageManifest
  /** The canonical name that it has now. */
  readonly name: string
  /** The digest that the name stood for before; null: there was no such name. The same: nothing newer was to be had. */
  readonly before: Digest | null
  /** Whether something had to be fetched. */
  readonly isNew: boolean
}

/** Layers on their way at once: enough to keep a network or two processors busy, little enough for registries that count. */
const LAYERS_AT_ONCE = 4

/**
 * Pulls an image: one platform of it, or of what an index offers the one that fits best. Everything is verified before it is to be seen.
 * When it is interrupted, at whatever moment, there is no image, and the next pull goes on with what had come.
 * @throws {BerthError} notFound: no such image or platform; cancelled: `signal`; unavailable: the disk is full, and nothing is left then;
 * invalidArgument: something is not what its descriptor says; whatever the registry's client and `checkTrust` say
 */
export async function pullImage(
  reference: Reference,
  store: ImageStore,
  registry: PullSource,
  options: PullOptions,
): Promise<PulledImage> {
  const pull = new Pull(reference, store, registry, options)
  try {
    return await pull.run()
  } catch (error) {
    if (options.signal?.aborted)
      throw new BerthError('cancelled', `Cannot pull "${familiarReference(reference)}": interrupted`, { cause: error })
    if (!isDiskFull(error)) throw error
    await pull.giveUp()
    throw new BerthError(
      'unavailable',
      `Cannot pull "${familiarReference(reference)}": no space is left in "${dirname(store.content.path)}"`,
      { cause: error },
    )
  } finally {
    pull.lease.release()
  }
}

/** The name under which a pulled image is kept. With a digest the tag is only a remark: nobody knows that it leads there. */
export function canonicalName(reference: Reference): string {
  return printReference(reference.digest === null ? withDefaultTag(reference) : { ...reference, tag: null })
}

/** One pull on its way. */
class Pull {
  readonly lease: Lease
  readonly #name: string
  readonly #reference: Reference
  readonly #store: ImageStore
  readonly #registry: PullSource
  readonly #options: PullOptions
  readonly #transfer: Transfer
  readonly #blobs = new Set<Digest>()
  readonly #layers = new Set<Digest>()
  #hasFetched = false

  constructor(reference: Reference, store: ImageStore, registry: PullSource, options: PullOptions) {
    this.#name = canonicalName(reference)
    this.#reference = withDefaultTag(reference)
    this.#store = store
    this.#registry = registry
    this.#options = options
    this.lease = store.records.lease(`pull ${this.#name}`)
    const { limits, warn } = options
    this.#transfer = {
      reference: this.#reference,
      store,
      source: registry,
      lease: this.lease,
      unpack: { warn, ...(limits === undefined ? {} : { limits }) },
      onProgress: event => {
        this.#hasFetched ||= event.kind === 'pulled'
        options.onProgress?.(event)
      },
    }
  }

  async run(): Promise<PulledImage> {
    const { records } = this.#store
    const before = records.named(this.#name)?.digest ?? null
    const documents = await this.#documents(before)
    await this.#options.checkTrust(this.#reference, documents)
    const [target, chosen] = [documents[0], documents.at(-1)]
    invariant(target !== undefined && chosen !== undefined, 'there is a target at least')
    await this.#content(chosen)
    const image = await registerImage(target.descriptor, [this.#name], this.#store)
    const manifest = image.manifests.find(({ digest }) => digest === chosen.descriptor.digest)
    invariant(manifest !== undefined, 'the platform that was pulled is complete')
    const isNew = this.#hasFetched || before !== image.digest
    return { image, manifest, name: this.#name, before, isNew }
  }

  /** Removes what has come and nobody else needs. */
  async giveUp(): Promise<void> {
    this.lease.release()
    const { records, content, layers } = this.#store
    records.collect({ blob: [...this.#blobs], layer: [...this.#layers] }, garbage => {
      content.removeNow(garbage.blob)
      layers.condemnNow(garbage.layer)
    })
    await layers.removeCondemned()
  }

  /** The target, and what is chosen from it down to a manifest. */
  async #documents(before: Digest | null): Promise<readonly PulledDocument[]> {
    const platform = this.#options.platform ?? linuxPlatform(process.arch)
    const documents = [await this.#target(before)]
    for (let depth = 0; depth <= INDEX_DEPTH_LIMIT; depth++) {
      const last = documents.at(-1)
      invariant(last !== undefined, 'there is a target at least')
      const parsed = parseTarget(last.bytes, last.descriptor)
      if (parsed.kind === 'manifest') return documents
      const chosen = chooseManifest(parsed.index.manifests, platform, `"${this.#shown}"`)
      documents.push(await this.#document(chosen))
    }
    throw new BerthError(
      'invalidArgument',
      `Cannot pull "${this.#shown}": its indexes nest deeper than ${INDEX_DEPTH_LIMIT}`,
    )
  }

  async #target(before: Digest | null): Promise<PulledDocument> {
    const { signal } = this.#options
    const { digest } = this.#reference
    if (digest !== null) {
      const known = this.#store.records.get(digest)
      if (known !== null) return await this.#document(known)
    } else if (before !== null) {
      // Most pulls of a name that is known find nothing new: that is told by the header alone.
      return await this.#document(await this.#registry.resolve(this.#reference, signal))
    }
    const document = await this.#registry.fetchDocument(this.#reference, signal)
    await this.#keep(document)
    return document
  }

  async #document({ mediaType, digest, sizeBytes }: Descriptor): Promise<PulledDocument> {
    const descriptor = { mediaType, digest, sizeBytes }
    checkDocumentSize(descriptor)
    this.#hold(digest)
    if ((await this.#store.content.find(digest)) === sizeBytes)
      return { descriptor, bytes: await this.#store.content.readDocument(descriptor) }
    const reference = { ...this.#reference, tag: null, digest }
    // What the registry says of its type and size is not asked for: the descriptor that led here says it.
    const { bytes } = await this.#registry.fetchDocument(reference, this.#options.signal)
    await this.#keep({ descriptor, bytes })
    return { descriptor, bytes }
  }

  async #keep({ descriptor, bytes }: PulledDocument): Promise<void> {
    this.#hold(descriptor.digest)
    await using ingestion = await this.#store.content.ingest(descriptor, this.#options.signal)
    if (ingestion.offset < bytes.length) await ingestion.write(bytes.subarray(ingestion.offset))
    await ingestion.commit()
  }

  #hold(digest: Digest): void {
    this.#blobs.add(digest)
    this.lease.hold('blob', [digest])
  }

  /** Config and layers, all at the same time. */
  async #content({ descriptor, bytes }: PulledDocument): Promise<void> {
    const parsed = parseTarget(bytes, descriptor)
    invariant(parsed.kind === 'manifest', 'what was chosen is a manifest')
    const { manifest } = parsed
    this.#checkConfig(manifest)
    const layers = [...new Map(manifest.layers.map(layer => [layer.digest, layer])).values()]
    for (const each of [manifest.config, ...layers]) this.#blobs.add(each.digest)
    for (const { digest, sizeBytes } of layers)
      this.#transfer.onProgress({ id: progressId(digest), kind: 'waiting', currentBytes: 0, totalBytes: sizeBytes })
    const diffIds = Promise.withResolvers<ReadonlyMap<Digest, Digest>>()
    // Each layer waits for it; when there is none, nobody does.
    diffIds.promise.catch(() => undefined)
    const readDiffIds = async (signal: AbortSignal): Promise<void> => {
      try {
        await pullBlob(manifest.config, this.#transfer, signal)
        const document = await readConfig(this.#store.content, manifest)
        this.#checkPlatform(document)
        diffIds.resolve(this.#diffIds(descriptor.digest, manifest, document))
      } catch (error) {
        diffIds.reject(error)
        throw error
      }
    }
    const jobs = [
      readDiffIds,
      ...layers.map(
        layer => (signal: AbortSignal) =>
          pullLayer(
            layer,
            diffIds.promise.then(all => diffIdOf(layer, all)),
            this.#transfer,
            signal,
          ),
      ),
    ]
    await runBounded(jobs, LAYERS_AT_ONCE + 1, (job, signal) => job(signal), this.#options.signal)
  }

  #checkConfig({ config }: Manifest): void {
    checkDocumentSize(config)
    if (isConfigType(config.mediaType)) return
    throw new BerthError(
      'invalidArgument',
      `Cannot pull "${this.#shown}": it is an artifact with a config of ${config.mediaType}, expected an image`,
    )
  }

  /** The config decides: an index is free to say nothing, or something wrong. */
  #checkPlatform({ platform }: ImageDocument): void {
    const wanted = this.#options.platform
    if (platformDistance(wanted ?? linuxPlatform(process.arch), platform) !== null) return
    const what = `it is for ${printPlatform(platform)}`
    if (wanted !== null)
      throw new BerthError('notFound', `Cannot pull "${this.#shown}": ${what}, expected ${printPlatform(wanted)}`)
    this.#options.warn(`image "${this.#shown}": ${what}, this machine is ${printPlatform(linuxPlatform(process.arch))}`)
  }

  #diffIds(digest: Digest, manifest: Manifest, document: ImageDocument): ReadonlyMap<Digest, Digest> {
    const diffIds = new Map<Digest, Digest>()
    for (const layer of pairLayers(digest, manifest, document)) {
      const other = diffIds.get(layer.digest)
      if (other !== undefined && other !== layer.diffId)
        throw new BerthError(
          'invalidArgument',
          `Cannot pull "${this.#shown}": its config gives layer ${layer.digest} two digests, ${other} and ${layer.diffId}`,
        )
      diffIds.set(layer.digest, layer.diffId)
      this.#layers.add(layer.diffId)
    }
    return diffIds
  }

  get #shown(): string {
    return familiarReference(this.#reference)
  }
}

function diffIdOf({ digest }: Descriptor, all: ReadonlyMap<Digest, Digest>): Digest {
  const diffId = all.get(digest)
  invariant(diffId !== undefined, 'every layer has a diffID')
  return diffId
}

function checkDocumentSize({ digest, sizeBytes }: Descriptor): void {
  if (sizeBytes <= DOCUMENT_LIMIT_BYTES) return
  throw new BerthError(
    'invalidArgument',
    `Cannot pull document "${digest}": it has ${sizeBytes} bytes, expected at most ${DOCUMENT_LIMIT_BYTES}`,
  )
}
