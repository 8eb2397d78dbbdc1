import type { Ingestion } from '../content/ingestion.ts'
import { BerthError } from '../lib/error.ts'
import { PieceChannel } from '../lib/piece-channel.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { Reference } from '../oci/reference.ts'
import type { UnpackOptions } from '../snapshot/layer-store.ts'
import type { ImageStore } from './image-store.ts'
import type { Lease } from './lease.ts'
import { type OnProgress, type ProgressKind, progressId } from './progress.ts'

/** Where blobs come from. */
export interface BlobSource {
  /** The bytes from `offset` on, resumed by itself when the connection breaks; not verified. */
  openBlob(
    reference: Reference,
    descriptor: Descriptor,
    options: { readonly offset: number; readonly signal?: AbortSignal },
  ): AsyncIterable<Uint8Array>
}

/** What all transfers of one pull have in common. */
export interface Transfer {
  readonly reference: Reference
  readonly store: ImageStore
  readonly source: BlobSource
  readonly lease: Lease
  readonly unpack: Pick<UnpackOptions, 'limits' | 'warn'>
  readonly onProgress: OnProgress
}

/** Bytes between the network and the unpacking of a layer: enough that neither waits for every piece of the other. */
const CHANNEL_BYTES = 4 * 1024 * 1024

/**
 * Brings a blob into the content store, verified, unless it is there or another pull brings it.
 * @throws {BerthError} whatever the source, and `Ingestion` say
 */
export async function pullBlob(descriptor: Descriptor, transfer: Transfer, signal: AbortSignal): Promise<void> {
  const { store, lease } = transfer
  lease.hold('blob', [descriptor.digest])
  using _ = await store.transfers.begin(descriptor.digest, signal)
  if (await isStored(descriptor, store)) return
  await download(descriptor, transfer, null, signal)
}

/**
 * Brings a layer into both stores in one pass: what comes from the network is written, hashed, decompressed, hashed again and unpacked
 * at the same time. `diffId` may come later than the first bytes.
 */
export async function pullLayer(
  descriptor: Descriptor,
  diffId: Promise<Digest>,
  transfer: Transfer,
  signal: AbortSignal,
): Promise<void> {
  const { store, lease } = transfer
  const tell = progressOf(descriptor, transfer)
  lease.hold('blob', [descriptor.digest])
  using _ = await store.transfers.begin(descriptor.digest, signal)
  if (!(await isStored(descriptor, store))) {
    await download(descriptor, transfer, diffId, signal)
    tell('pulled', descriptor.sizeBytes)
    return
  }
  lease.hold('layer', [await diffId])
  if ((await store.layers.find(await diffId)) !== null) {
    tell('exists', descriptor.sizeBytes)
    return
  }
  tell('extracting', 0)
  await store.layers.unpack(await diffId, () => store.content.read(descriptor, signal), { ...transfer.unpack, signal })
  tell('pulled', descriptor.sizeBytes)
}

async function isStored({ digest, sizeBytes }: Descriptor, { content }: ImageStore): Promise<boolean> {
  const found = await content.find(digest)
  if (found === null || found === sizeBytes) return found !== null
  throw new BerthError('invalidArgument', `Cannot pull blob "${digest}": it has ${found} bytes, expected ${sizeBytes}`)
}

async function download(
  descriptor: Descriptor,
  transfer: Transfer,
  diffId: Promise<Digest> | null,
  signal: AbortSignal,
): Promise<void> {
  const { content } = transfer.store
  {
    await using ingestion = await content.ingest(descriptor, signal)
    const isAdopted = ingestion.offset > 0
    try {
      await receive(ingestion, descriptor, transfer, diffId, signal)
      return
    } catch (error) {
      // What an earlier pull has left may be what was wrong: a registry that lied then need not lie now.
      const isDamaged = error instanceof BerthError && error.category === 'invalidArgument'
      if (!isAdopted || !isDamaged || signal.aborted) throw error
      await ingestion.discard()
    }
  }
  await using ingestion = await content.ingest(descriptor, signal)
  await receive(ingestion, descriptor, transfer, diffId, signal)
}

async function receive(
  ingestion: Ingestion,
  descriptor: Descriptor,
  transfer: Transfer,
  diffId: Promise<Digest> | null,
  signal: AbortSignal,
): Promise<void> {
  const { source, reference } = transfer
  const tell = progressOf(descriptor, transfer)
  const { offset } = ingestion
  if (diffId !== null) tell('downloading', offset)
  const stopped = new AbortController()
  const either = AbortSignal.any([signal, stopped.signal])
  const rest = source.openBlob(reference, descriptor, { offset, signal: either })[Symbol.asyncIterator]()
  // The request is under way while the config still comes. Its failure is told below.
  const first = offset < descriptor.sizeBytes ? rest.next() : Promise.resolve({ done: true, value: undefined } as const)
  first.catch(() => undefined)
  const channel = diffId === null ? null : new PieceChannel(CHANNEL_BYTES)
  const unpacking = channel === null || diffId === null ? null : unpackFrom(channel, diffId, transfer, either)
  // A layer that can't be unpacked need not be fetched to its end.
  unpacking?.catch(error => stopped.abort(error))
  try {
    for await (const piece of ingestion.adopted()) await channel?.push(piece)
    for (let next = await first; next.done !== true; next = await rest.next()) {
      await Promise.all([ingestion.write(next.value), channel?.push(next.value)])
      if (diffId !== null) tell('downloading', ingestion.offset)
    }
    await ingestion.commit()
    channel?.complete()
    if (channel !== null) tell('extracting', 0)
  } catch (error) {
    const isUnpackingBroken = stopped.signal.aborted && !signal.aborted
    channel?.fail(error)
    stopped.abort(error)
    const [outcome] = await Promise.allSettled([unpacking])
    throw isUnpackingBroken && outcome.status === 'rejected' ? outcome.reason : error
  } finally {
    await rest.return?.()
  }
  await unpacking
}

async function unpackFrom(
  channel: PieceChannel,
  diffId: Promise<Digest>,
  { store, lease, unpack }: Transfer,
  signal: AbortSignal,
): Promise<void> {
  try {
    lease.hold('layer', [await diffId])
    await store.layers.unpack(await diffId, () => channel.read(), { ...unpack, signal })
  } finally {
    // It may have been there, or another one is making it: then nobody reads.
    channel.drop()
  }
}

function progressOf(
  { digest, sizeBytes }: Descriptor,
  { onProgress }: Transfer,
): (kind: ProgressKind, currentBytes: number) => void {
  const id = progressId(digest)
  return (kind, currentBytes) => onProgress({ id, kind, currentBytes, totalBytes: sizeBytes })
}
