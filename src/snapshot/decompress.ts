import { pipeline, Readable, type Transform } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { BerthError, messageOf } from '../lib/error.ts'
import type { UnpackLimits } from './unpack-limits.ts'

/** Large enough that the cost of a piece is its bytes, small enough to hold some of them per layer. */
const PIECE_BYTES = 256 * 1024
/** The longest of the signatures. */
const SIGNATURE_BYTES = 6

interface Format {
  readonly name: string
  readonly matches: (bytes: Uint8Array) => boolean
  /** Absent: known, but not read. */
  readonly decode?: (pieces: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>
}

const FORMATS: readonly Format[] = [
  { name: 'gzip', matches: startsWith(0x1f, 0x8b), decode: through(() => createGunzip({ chunkSize: PIECE_BYTES })) },
  {
    name: 'zstd',
    // A frame, or a skippable frame, with which the seekable forms may begin (RFC 8878, sections 3.1.1 and 3.1.2).
    matches: bytes =>
      startsWith(0x28, 0xb5, 0x2f, 0xfd)(bytes) ||
      (((bytes[0] ?? 0) & 0xf0) === 0x50 && bytes[1] === 0x2a && bytes[2] === 0x4d && bytes[3] === 0x18),
    decode: through(() => createZstdDecompress({ chunkSize: PIECE_BYTES })),
  },
  { name: 'xz', matches: startsWith(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00), decode: decodeXz },
  { name: 'bzip2', matches: startsWith(0x42, 0x5a, 0x68) },
]

/**
 * The archive in a layer's blob, uncompressed piece by piece. The blob's first bytes tell how it is compressed: the
 * media types of real images are often wrong about it, and the digest over what comes out decides anyway.
 * @throws {BerthError} invalidArgument: corrupt or cut off; notImplemented: bzip2; unavailable: a limit is exceeded;
 * whatever `blob` throws
 */
export async function* decompress(blob: AsyncIterable<Uint8Array>, limits: UnpackLimits): AsyncGenerator<Uint8Array> {
  let compressedBytes = 0
  let blobError: unknown
  async function* counted(): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of blob) {
        compressedBytes += piece.length
        yield piece
      }
    } catch (error) {
      blobError = error
      throw error
    }
  }
  const { format, pieces } = await detect(counted())
  let bytes = 0
  for await (const piece of format === null ? pieces : transformed(pieces, format, () => blobError)) {
    bytes += piece.length
    const isBomb = bytes > limits.ratioFloorBytes && bytes > compressedBytes * limits.ratio
    if (isBomb || bytes > limits.bytes) {
      const limit = isBomb ? `${limits.ratio} times its compressed size` : `${limits.bytes} bytes`
      throw new BerthError('unavailable', `Cannot unpack the layer: it has more than ${limit}, the configured limit`)
    }
    yield piece
  }
}

async function detect(
  blob: AsyncGenerator<Uint8Array>,
): Promise<{ format: Format | null; pieces: AsyncIterable<Uint8Array> }> {
  let head: Uint8Array = new Uint8Array(0)
  for (;;) {
    const next = head.length < SIGNATURE_BYTES ? await blob.next() : null
    if (next === null || next.done === true) break
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value])
  }
  const format = FORMATS.find(({ matches }) => matches(head)) ?? null
  return { format, pieces: joined(head, blob) }
}

async function* joined(head: Uint8Array, rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head
  yield* rest
}

async function* transformed(
  pieces: AsyncIterable<Uint8Array>,
  { name, decode }: Format,
  blobError: () => unknown,
): AsyncGenerator<Uint8Array> {
  if (decode === undefined) {
    throw new BerthError(
      'notImplemented',
      `Cannot unpack the layer: it is compressed with ${name}, expected gzip, zstd or xz`,
    )
  }
  try {
    yield* decode(pieces)
  } catch (cause) {
    const error = blobError()
    if (error !== undefined) throw error
    throw new BerthError('invalidArgument', `Cannot decompress the layer as ${name}: ${messageOf(cause)}`, { cause })
  }
}

function through(open: () => Transform): (pieces: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array> {
  return async function* (pieces) {
    const stream = open()
    // Its errors, and the blob's, come out of the iteration below.
    pipeline(Readable.from(pieces, { objectMode: false, highWaterMark: 4 * PIECE_BYTES }), stream, () => undefined)
    try {
      for await (const piece of stream) yield piece
    } finally {
      stream.destroy()
    }
  }
}

/** Layers are hardly ever xz, packages of distributions mostly are. */
async function* decodeXz(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { XzReadableStream } = await import('xz-decompress')
  const iterator = pieces[Symbol.asyncIterator]()
  const compressed = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const next = await iterator.next()
      if (next.done === true) controller.close()
      else controller.enqueue(next.value)
    },
    async cancel() {
      await iterator.return?.()
    },
  })
  yield* new XzReadableStream(compressed)
}

function startsWith(...signature: readonly number[]): (bytes: Uint8Array) => boolean {
  return bytes => signature.every((byte, index) => bytes[index] === byte)
}
