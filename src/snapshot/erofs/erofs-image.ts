import { BerthError } from '../../lib/error.ts'
import type { Timestamp } from '../../lib/tar/pax.ts'
import { BlockStream, type WriteAt } from './block-stream.ts'
import {
  BLOCK_BYTES,
  BLOCKS_LIMIT,
  type ErofsLayout,
  encodeInode,
  encodeSuperblock,
  INODE_BYTES,
  LINK_COUNT_AT,
  nidAt,
  positionOf,
  ROOT_AT,
} from './erofs-format.ts'
import { ErofsXattrs } from './erofs-xattrs.ts'
import { InodeArea, type Place } from './inode-area.ts'

/** What an inode is besides its content. */
export interface InodeFacts {
  /** With the type of the file. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: Timestamp
  readonly linkCount: number
  readonly xattrs: ReadonlyMap<string, string>
}

/** Content whose whole blocks are in the image. */
interface Content {
  readonly sizeBytes: number
  readonly firstBlock: number
  /** What of it is not: less than a block. */
  readonly tail: Uint8Array
}

/** A directory that has its place, and no content yet. */
export interface DirectoryPlace {
  readonly nid: number
  readonly place: Place
  readonly facts: InodeFacts
  readonly xattrs: Uint8Array
  readonly sizeBytes: number
  readonly layout: ErofsLayout
}

const NO_TAIL = new Uint8Array(0)

/**
 * Writes one EROFS image, in about this order, with the memory of what it takes to write it:
 *
 *     block 0: superblock, the root's inode │ content of files, as it comes │ inodes, with short content behind them │ … │ directories
 *
 * The same calls give the same bytes.
 */
export class ErofsImage {
  readonly #stream: BlockStream
  readonly #inodes: InodeArea
  readonly #write: WriteAt
  readonly #xattrs = new ErofsXattrs()
  readonly #firstBlock = Buffer.alloc(BLOCK_BYTES)
  #contentAt = 0
  #inodeNumber = 0

  constructor(write: WriteAt) {
    this.#write = write
    this.#stream = new BlockStream(write)
    this.#inodes = new InodeArea(this.#stream, write)
    this.#stream.skipTo(BLOCK_BYTES)
    this.#contentAt = BLOCK_BYTES
  }

  /** Adds a piece of the content of the next file. Offsets grow; what is between two pieces is zeros. */
  content(offset: number, bytes: Uint8Array): void {
    this.#skipTo(offset)
    this.#stream.append(bytes)
  }

  /** Adds the file whose content was given; its nid. */
  file(facts: InodeFacts, sizeBytes: number): number {
    this.#skipTo(sizeBytes)
    const tail = this.#stream.takeTail()
    const firstBlock = sizeBytes < BLOCK_BYTES ? 0 : this.#contentAt / BLOCK_BYTES
    return this.#inode(facts, { sizeBytes, firstBlock, tail })
  }

  /** Adds a symbolic link. */
  symlink(facts: InodeFacts, target: Uint8Array): number {
    return this.#inode(facts, { sizeBytes: target.length, firstBlock: 0, tail: target })
  }

  /** Adds what has no content. `device`: of encodeDevice(). */
  node(facts: InodeFacts, device: number): number {
    return this.#inode(facts, { sizeBytes: 0, firstBlock: device, tail: NO_TAIL })
  }

  /** From now on come directories only: first the places of all, then the content of all. */
  beginDirectories(): void {
    this.#inodes.keepAll()
  }

  /** Gives a directory whose content will have so many bytes its place. */
  placeDirectory(facts: InodeFacts, sizeBytes: number, isRoot: boolean): DirectoryPlace {
    const xattrs = this.#xattrs.encode(facts.xattrs, isRoot)
    const head = INODE_BYTES + xattrs.length
    const tail = sizeBytes % BLOCK_BYTES
    const room = isRoot ? BLOCK_BYTES - ROOT_AT : BLOCK_BYTES
    if (isRoot && head > room) throw tooLarge('the root has too many extended attributes')
    const layout = tail > 0 && head + tail <= room ? 'inline' : 'plain'
    const place = isRoot ? this.#rootPlace() : this.#inodes.place(head + (layout === 'inline' ? tail : 0))
    return { nid: nidAt(place.position), place, facts, xattrs, sizeBytes, layout }
  }

  /** Writes a directory's content and inode. */
  directory({ place, facts, xattrs, sizeBytes, layout }: DirectoryPlace, blocks: Iterable<Uint8Array>): void {
    this.#stream.pad()
    const address = this.#stream.position / BLOCK_BYTES
    for (const block of blocks) {
      if (block.length < BLOCK_BYTES && layout === 'inline') {
        place.bytes.set(block, place.at + INODE_BYTES + xattrs.length)
      } else this.#stream.append(block)
    }
    this.#stream.pad()
    this.#put(place, facts, xattrs, { sizeBytes, layout, address })
  }

  /** Corrects how many names an inode has. */
  setLinkCount(nid: number, linkCount: number): void {
    this.#inodes.patch(positionOf(nid) + LINK_COUNT_AT, linkCount)
  }

  /** Completes the image; its size. `inodeCount`: of those that can be reached. @throws {BerthError} unavailable: it is too large */
  finish(uuid: Uint8Array, inodeCount: number): number {
    const shared = this.#xattrs.shared()
    this.#stream.pad()
    const xattrBlock = shared.length === 0 ? 0 : this.#stream.position / BLOCK_BYTES
    this.#stream.append(shared)
    this.#stream.pad()
    const { position } = this.#stream
    this.#stream.flush()
    this.#inodes.flush()
    const blockCount = position / BLOCK_BYTES
    if (blockCount > BLOCKS_LIMIT) throw tooLarge(`an EROFS image holds ${BLOCKS_LIMIT} blocks`)
    encodeSuperblock(this.#firstBlock, { inodeCount, blockCount, xattrBlock, uuid })
    this.#write(0, this.#firstBlock)
    return position
  }

  #skipTo(offset: number): void {
    const position = this.#contentAt + offset
    if (position > BLOCKS_LIMIT * BLOCK_BYTES) throw tooLarge(`an EROFS image holds ${BLOCKS_LIMIT} blocks`)
    if (position > this.#stream.position) this.#stream.skipTo(position)
  }

  #inode(facts: InodeFacts, { sizeBytes, firstBlock, tail }: Content): number {
    const xattrs = this.#xattrs.encode(facts.xattrs)
    const head = INODE_BYTES + xattrs.length
    const isInline = tail.length > 0 && head + tail.length <= BLOCK_BYTES
    let address = firstBlock
    if (tail.length > 0 && !isInline) {
      if (sizeBytes === tail.length) address = this.#stream.position / BLOCK_BYTES
      this.#stream.append(tail)
      this.#stream.pad()
    }
    const place = this.#inodes.place(head + (isInline ? tail.length : 0))
    this.#contentAt = this.#stream.position
    this.#put(place, facts, xattrs, { sizeBytes, layout: isInline ? 'inline' : 'plain', address })
    if (isInline) place.bytes.set(tail, place.at + head)
    return nidAt(place.position)
  }

  #put(
    place: Place,
    facts: InodeFacts,
    xattrs: Uint8Array,
    more: { readonly sizeBytes: number; readonly layout: ErofsLayout; readonly address: number },
  ): void {
    const number = ++this.#inodeNumber
    encodeInode(place.view, place.at, { ...facts, ...more, xattrBytes: xattrs.length, number })
    place.bytes.set(xattrs, place.at + INODE_BYTES)
  }

  #rootPlace(): Place {
    const bytes = this.#firstBlock
    return { position: ROOT_AT, bytes, at: ROOT_AT, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) }
  }
}

function tooLarge(why: string): BerthError {
  return new BerthError('unavailable', `Cannot write the layer as an image: ${why}`)
}
