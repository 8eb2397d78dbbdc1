import type { BlockStream, WriteAt } from './block-stream.ts'
import { alignInode, BLOCK_BYTES } from './erofs-format.ts'

/** Where something is to be written: in memory, and in the image later. */
export interface Place {
  /** Of the image. */
  readonly position: number
  readonly view: DataView
  readonly bytes: Uint8Array
  /** Of the memory. */
  readonly at: number
}

/** Blocks of inodes, held in memory until they are full. */
interface Segment {
  readonly position: number
  readonly bytes: Buffer
  readonly view: DataView
  usedBlocks: number
}

/** A block of the current segment with room left. */
interface Open {
  readonly at: number
  used: number
}

/** Small layers have small images; later segments are larger, so that the content between them is in long runs. */
const FIRST_SEGMENT_BLOCKS = 4
const SEGMENT_BLOCKS_LIMIT = 128
/** Enough to put pieces of all sizes somewhere, few enough to look through for each. */
const OPEN_LIMIT = 8

/** Puts inodes, with what belongs behind them, into blocks between the content. */
export class InodeArea {
  readonly #stream: BlockStream
  readonly #write: WriteAt
  readonly #kept: Segment[] = []
  #isKeeping = false
  #current: Segment | null = null
  #open: Open[] = []
  #nextBlocks = FIRST_SEGMENT_BLOCKS

  constructor(stream: BlockStream, write: WriteAt) {
    this.#stream = stream
    this.#write = write
  }

  /** Room of zeros for so many bytes; up to a block's size they are in one block. */
  place(byteCount: number): Place {
    if (byteCount > BLOCK_BYTES) return this.#blocks(Math.ceil(byteCount / BLOCK_BYTES))
    let best: Open | null = null
    for (const open of this.#open) {
      if (open.used + byteCount <= BLOCK_BYTES && (best === null || open.used > best.used)) best = open
    }
    if (best === null) {
      const { at } = this.#blocks(1)
      if (this.#open.length === OPEN_LIMIT) this.#open.splice(fullest(this.#open), 1)
      best = { at, used: 0 }
      this.#open.push(best)
    }
    const at = best.at + best.used
    best.used = alignInode(best.used + byteCount)
    return placeIn(this.#segment(), at)
  }

  /** From now on all stays in memory, so that places can be filled in any order. */
  keepAll(): void {
    this.#isKeeping = true
  }

  /** Changes a 32-bit number of what was placed earlier. */
  patch(position: number, value: number): void {
    const held = [...this.#kept, ...(this.#current === null ? [] : [this.#current])].find(
      each => position >= each.position && position < each.position + each.bytes.length,
    )
    if (held !== undefined) {
      held.view.setUint32(position - held.position, value, true)
      return
    }
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, value, true)
    this.#write(position, bytes)
  }

  /** Writes what is held. */
  flush(): void {
    for (const segment of this.#kept.splice(0)) this.#save(segment)
    if (this.#current !== null) this.#save(this.#current)
    this.#current = null
    this.#open = []
  }

  /** Whole blocks, one behind the other. */
  #blocks(count: number): Place {
    const segment = this.#current
    if (segment === null || (segment.usedBlocks + count) * BLOCK_BYTES > segment.bytes.length) {
      this.#begin(count)
      return this.#blocks(count)
    }
    const at = segment.usedBlocks * BLOCK_BYTES
    segment.usedBlocks += count
    return placeIn(segment, at)
  }

  #begin(atLeastBlocks: number): void {
    if (this.#current !== null) {
      if (this.#isKeeping) this.#kept.push(this.#current)
      else this.#save(this.#current)
    }
    const blocks = Math.max(atLeastBlocks, this.#nextBlocks)
    this.#nextBlocks = Math.min(2 * this.#nextBlocks, SEGMENT_BLOCKS_LIMIT)
    const bytes = Buffer.alloc(blocks * BLOCK_BYTES)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#current = { position: this.#stream.reserve(blocks), bytes, view, usedBlocks: 0 }
    this.#open = []
  }

  #save({ position, bytes, usedBlocks }: Segment): void {
    this.#write(position, bytes.subarray(0, usedBlocks * BLOCK_BYTES))
  }

  #segment(): Segment {
    if (this.#current === null) throw new RangeError('no segment')
    return this.#current
  }
}

function placeIn({ position, bytes, view }: Segment, at: number): Place {
  return { position: position + at, bytes, view, at }
}

function fullest(open: readonly Open[]): number {
  return open.reduce((best, { used }, index) => (used > (open[best]?.used ?? 0) ? index : best), 0)
}
