import { once } from 'node:events'
import { createZstdCompress } from 'node:zlib'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { BlockGzip, type ByteWriter } from './block-gzip.ts'
import { WithoutFuseMarks } from './fuse-marks.ts'
import type { TreeRoot } from './pack-plan.ts'
import { readTree } from './pack-process.ts'
import type { ContainerLayers } from './tree-changes.ts'
import { type PackOptions, TreePacker } from './tree-packer.ts'

/** How an archive is compressed. */
export type Compression = 'none' | 'gzip' | 'zstd'

/** How to write an archive. */
export type WriteOptions = Pick<PackOptions, 'latestSeconds' | 'warn'> & {
  readonly compression: Compression
  /** The tree is, or is seen through, an upper directory in which fuse-overlayfs has left its own marks. */
  readonly hasFuseMarks?: boolean
  readonly signal?: AbortSignal
}

/** An archive that was written. */
export interface WrittenLayer {
  /** Of the archive before it is compressed. */
  readonly diffId: Digest
  readonly entryCount: number
  /** The sizes of its files, holes included. */
  readonly contentBytes: number
  readonly archiveBytes: number
}

/**
 * Writes what a container has changed as a layer. The same upper directory gives the same bytes, whenever and wherever it is done.
 * @throws {StepError} something can't be read
 * @throws {BerthError} invalidArgument, notImplemented: something has no place in a layer; the message names it
 */
export async function writeLayer(
  { upper, lowers, ids, veil, hasFuseMarks = false }: ContainerLayers,
  options: WriteOptions,
  write: ByteWriter,
): Promise<WrittenLayer> {
  const pack: PackOptions = { form: 'layer', ids, veil, ...options }
  return await writeArchive({ kind: 'directory', path: upper }, lowers, pack, { ...options, hasFuseMarks }, write)
}

/**
 * Writes a whole tree, as a container sees it, as an archive.
 * @throws {StepError} something can't be read
 */
export async function writeTree(
  root: TreeRoot,
  ids: PackOptions['ids'],
  options: WriteOptions,
  write: ByteWriter,
): Promise<WrittenLayer> {
  return await writeArchive(root, [], { form: 'tree', ids, veil: [], ...options }, options, write)
}

async function writeArchive(
  root: TreeRoot,
  lowers: readonly string[],
  pack: PackOptions,
  { compression, hasFuseMarks, signal }: WriteOptions,
  write: ByteWriter,
): Promise<WrittenLayer> {
  const hasher = new Bun.CryptoHasher('sha256')
  let archiveBytes = 0
  using compressor = COMPRESSORS[compression](write)
  const packer = new TreePacker(pack, async bytes => {
    hasher.update(bytes)
    archiveBytes += bytes.length
    await compressor.write(bytes)
  })
  const sink = hasFuseMarks === true ? new WithoutFuseMarks(packer) : packer
  await readTree({ root, lowers, withContent: true }, sink, signal)
  await packer.finish()
  await compressor.finish()
  const diffId = parseDigest(`sha256:${hasher.digest('hex')}`)
  return { diffId, entryCount: packer.entryCount, contentBytes: packer.contentBytes, archiveBytes }
}

interface Compressor extends Disposable {
  readonly write: ByteWriter
  finish(): Promise<void>
}

const COMPRESSORS: Readonly<Record<Compression, (write: ByteWriter) => Compressor>> = {
  none: write => ({ write, finish: async () => undefined, [Symbol.dispose]: () => undefined }),
  gzip: write => new BlockGzip(write),
  zstd: zstdCompressor,
}

/** At zstd's own default level, 3, which is smaller and faster than gzip. */
function zstdCompressor(write: ByteWriter): Compressor {
  const stream = createZstdCompress()
  const writing = (async (): Promise<void> => {
    for await (const piece of stream) await write(piece)
  })()
  // It is awaited by finish; a failure before that must not count as unhandled.
  writing.catch(() => undefined)
  return {
    write: async bytes => {
      if (!stream.write(bytes)) await Promise.race([once(stream, 'drain'), writing])
    },
    finish: async () => {
      stream.end()
      await writing
    },
    [Symbol.dispose]: () => void stream.destroy(),
  }
}
