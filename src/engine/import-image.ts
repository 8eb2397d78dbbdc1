import { composeImage, emptyBase } from '../image/compose-image.ts'
import { applyChange } from '../image/config-changes.ts'
import type { ImageRecord } from '../image/image-record.ts'
import { openImageStore } from '../image/image-store.ts'
import { TarParser } from '../lib/tar/parser.ts'
import { parseDigest } from '../oci/digest.ts'
import type { Platform } from '../oci/platform.ts'
import { BlockGzip } from '../snapshot/block-gzip.ts'
import { decompress } from '../snapshot/decompress.ts'
import { DEFAULT_UNPACK_LIMITS } from '../snapshot/unpack-limits.ts'
import { createdOf, LAYER_TYPES, type MakeImageOptions, namesOf } from './commit-container.ts'
import type { Engine } from './open-engine.ts'

/** How to make an image of an archive. */
export interface ImportOptions extends MakeImageOptions {
  readonly platform: Platform
  /** Where the archive is from, for the image's history. */
  readonly source: string
}

/**
 * Makes an image of one layer of a tar archive, compressed (gzip, zstd) or not. The layer is the archive as it is, compressed with gzip.
 * @throws {BerthError} invalidArgument: not a tar archive, a change, a reference; notImplemented: xz or bzip2; unavailable: too large
 */
export async function importImage(
  archive: AsyncIterable<Uint8Array>,
  { reference, changes, message, epochSeconds, signal, platform, source }: ImportOptions,
  engine: Engine,
): Promise<ImageRecord> {
  const names = namesOf(reference)
  const config = changes.reduce(applyChange, {})
  const store = await openImageStore(engine.roots.data, engine.database.sqlite)
  using lease = store.records.lease(`import ${source}`)
  await using ingestion = await store.content.ingest(null, signal)
  const hasher = new Bun.CryptoHasher('sha256')
  using compressor = new BlockGzip(bytes => ingestion.write(bytes))
  const parser = new TarParser({ entry: () => undefined, data: () => undefined, end: () => undefined })
  for await (const piece of decompress(archive, DEFAULT_UNPACK_LIMITS)) {
    signal?.throwIfAborted()
    hasher.update(piece)
    parser.push(piece)
    await compressor.write(piece)
  }
  parser.finish()
  await compressor.finish()
  const blob = await ingestion.commit({ beforeVisible: digest => lease.hold('blob', [digest]) })
  const layer = {
    diffId: parseDigest(`sha256:${hasher.digest('hex')}`),
    descriptor: { ...blob, mediaType: LAYER_TYPES.gzip },
  }
  const comment = message === '' ? `Imported from ${source}` : message
  const description = { config, created: createdOf({ epochSeconds }), author: '', comment, createdBy: 'berth import' }
  return await composeImage(emptyBase(platform), layer, description, names, store, lease)
}
