import { availableParallelism } from 'node:os'
import { constants, crc32, deflateRaw } from 'node:zlib'

/** Large enough that cutting costs nothing measurable in size, small enough to hold some of them. */
const BLOCK_BYTES = 1024 * 1024
/** What deflate looks back. */
const WINDOW_BYTES = 32 * 1024
/** Measured on programs and libraries: as small as level 6, in four fifths of its time. */
const LEVEL = 5
/** More only takes memory: eight of them keep a disk busy. */
const CONCURRENCY_LIMIT = 8
/** No name, no time, unknown operating system: nothing of the machine. Source: RFC 1952, section 2.3. */
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff)
/** An empty last block: all blocks before it are followed by others. Source: RFC 1951, section 3.2.3. */
const LAST_BLOCK = [0x03, 0x00] as const

/** Where bytes go; resolves when there is room for more. */
export type ByteWriter = (bytes: Uint8Array) => Promise<void>

/**
 * Compresses with gzip on all processors: blocks of 1 MiB, each with the end of the one before as its dictionary, become one gzip member.
 * The result depends on nothing but the input and the version of zlib: not on the pieces, the processors or the time.
 */
export class BlockGzip {
  readonly #write: ByteWriter
  readonly #pending: Promise<Uint8Array>[] = []
  readonly #concurrency = Math.min(availableParallelism(), CONCURRENCY_LIMIT)
  #block = Buffer.allocUnsafe(BLOCK_BYTES)
  #have = 0
  #dictionary: Buffer | undefined
  #crc = 0
  #bytes = 0

  constructor(write: ByteWriter) {
    this.#write = write
  }

  /** Compresses more. The bytes are copied. @throws whatever writing throws */
  async write(bytes: Uint8Array): Promise<void> {
    this.#crc = crc32(bytes, this.#crc)
    this.#bytes += bytes.length
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + BLOCK_BYTES - this.#have)
      this.#block.set(part, this.#have)
      this.#have += part.length
      at += part.length
      if (this.#have === BLOCK_BYTES) await this.#compress()
    }
  }

  /** Ends the stream; resolves when all of it is written. */
  async finish(): Promise<void> {
    if (this.#have > 0 || this.#bytes === 0) await this.#compress()
    while (this.#pending.length > 0) await this.#next()
    const trailer = Buffer.alloc(LAST_BLOCK.length + 8)
    trailer.set(LAST_BLOCK)
    trailer.writeUInt32LE(this.#crc, LAST_BLOCK.length)
    trailer.writeUInt32LE(this.#bytes % 2 ** 32, LAST_BLOCK.length + 4)
    await this.#write(trailer)
  }

  async #compress(): Promise<void> {
    const block = this.#block.subarray(0, this.#have)
    if (this.#dictionary === undefined) await this.#write(HEADER)
    const deflated = deflate(block, this.#dictionary)
    // It is awaited later; a failure before that must not count as unhandled.
    deflated.catch(() => undefined)
    this.#pending.push(deflated)
    this.#dictionary = block.subarray(Math.max(0, block.length - WINDOW_BYTES))
    this.#block = Buffer.allocUnsafe(BLOCK_BYTES)
    this.#have = 0
    if (this.#pending.length > this.#concurrency) await this.#next()
  }

  async #next(): Promise<void> {
    const next = await this.#pending.shift()
    if (next !== undefined) await this.#write(next)
  }
}

function deflate(block: Buffer, dictionary: Buffer | undefined): Promise<Uint8Array> {
  const options = { level: LEVEL, finishFlush: constants.Z_SYNC_FLUSH }
  return new Promise((resolve, reject) => {
    deflateRaw(block, dictionary === undefined ? options : { ...options, dictionary }, (error, deflated) => {
      if (error === null) resolve(deflated)
      else reject(error)
    })
  })
}
