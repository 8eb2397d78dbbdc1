import { BLOCK_BYTES } from './erofs-format.ts'

/** Writes bytes at a position of the image. They are lent for the call. */
export type WriteAt = (position: number, bytes: Uint8Array) => void

const BUFFER_BYTES = 256 * BLOCK_BYTES
/** A longer gap is left out of the image, which is a hole there and takes nothing of the disk; a shorter one costs less as zeros. */
const GAP_BYTES = 16 * BLOCK_BYTES

/** The image from its beginning to its end, written in large pieces. What is reserved on the way is written by others. */
export class BlockStream {
  readonly #write: WriteAt
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES)
  /** The position of the buffer's first byte, always that of a block. */
  #start = 0
  #used = 0

  constructor(write: WriteAt) {
    this.#write = write
  }

  /** Where the next byte goes. */
  get position(): number {
    return this.#start + this.#used
  }

  append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const part = Math.min(bytes.length - at, BUFFER_BYTES - this.#used)
      this.#buffer.set(bytes.subarray(at, at + part), this.#used)
      this.#used += part
      at += part
      if (this.#used === BUFFER_BYTES) this.flush()
    }
  }

  /** Zeros up to a later position. */
  skipTo(position: number): void {
    const gap = position - this.position
    if (gap <= GAP_BYTES && this.#used + gap < BUFFER_BYTES) {
      this.#buffer.fill(0, this.#used, this.#used + gap)
      this.#used += gap
      return
    }
    this.flush()
    this.#start = Math.floor(position / BLOCK_BYTES) * BLOCK_BYTES
    this.#used = position - this.#start
    this.#buffer.fill(0, 0, this.#used)
  }

  /** Takes back what is behind the last block's end. */
  takeTail(): Uint8Array {
    const from = this.#used - (this.#used % BLOCK_BYTES)
    const tail = new Uint8Array(this.#buffer.subarray(from, this.#used))
    this.#used = from
    return tail
  }

  /** Leaves room for so many blocks, from a block's beginning; the position of the first. */
  reserve(blockCount: number): number {
    this.pad()
    const { position } = this
    this.flush()
    this.#start = position + blockCount * BLOCK_BYTES
    return position
  }

  /** Zeros up to the end of the block that was begun. */
  pad(): void {
    const over = this.#used % BLOCK_BYTES
    if (over > 0) this.skipTo(this.position + BLOCK_BYTES - over)
  }

  /** Writes what is held; of a block that was begun, zeros follow. */
  flush(): void {
    const end = Math.ceil(this.#used / BLOCK_BYTES) * BLOCK_BYTES
    this.#buffer.fill(0, this.#used, end)
    if (end > 0) this.#write(this.#start, this.#buffer.subarray(0, end))
    this.#start += end
    this.#used = 0
  }
}
