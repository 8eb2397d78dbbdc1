import { byteString, type Segment } from '../lib/tar/header.ts'
import type { FileFacts, TreeEntry } from './tree-entry.ts'
import { isDirectory } from './tree-entry.ts'

/** What is told of a tree: directories before what is in them, names in the order of their bytes. */
export interface TreeHandler {
  /** It wants to be emptied first: nothing more is told until it is not. */
  readonly isFull: boolean
  entry(entry: TreeEntry): void
  /** The next part of the content of the entry told last begins: what is before it is a hole. */
  segment(segment: Segment): void
  /** A piece of it. The bytes are only lent. */
  data(bytes: Uint8Array): void
  /** The rest of it is no longer there: the file has become shorter while it was read. */
  missing(bytes: number): void
  /** The content is complete; or it was, but the file changed meanwhile. */
  end(hasChanged: boolean): void
}

const HEADER_BYTES = 128
const FACTS_BYTES = 40
const LOWER_OFFSET = 64
const SEGMENT_BYTES = 16
/** What berth-init holds at most: two paths, two sets of attributes, 2,048 segments. */
const TAIL_LIMIT_BYTES = 2 * 4097 + 2 * 128 * 1024 + 2048 * SEGMENT_BYTES

interface Tail {
  readonly pathBytes: number
  readonly targetBytes: number
  readonly xattrBytes: number
  readonly lowerXattrBytes: number
  readonly segmentCount: number
  readonly hasContent: boolean
}

type State = 'header' | 'tail' | 'length' | 'piece' | 'changed' | 'done'

/** Reads what step `pack` says, pushed into it in pieces of any size; holds at most one entry. */
export class TreeReader {
  readonly #handler: TreeHandler
  #state: State = 'header'
  #collected = Buffer.alloc(HEADER_BYTES)
  #have = 0
  #want = HEADER_BYTES
  #header = Buffer.alloc(HEADER_BYTES)
  #segments: readonly Segment[] = []
  #segmentIndex = 0
  #segmentLeft = 0
  #pieceLeft = 0
  #path = ''

  constructor(handler: TreeHandler) {
    this.#handler = handler
  }

  /** Whether the end of the tree has been told. */
  get isDone(): boolean {
    return this.#state === 'done'
  }

  /** The path of the entry that was told last. */
  get path(): string {
    return this.#path
  }

  /**
   * Reads on; gives how many of the bytes it has read: all, or fewer when the handler is full.
   * @throws {RangeError} this can't come from berth-init; whatever the handler throws
   */
  push(bytes: Buffer): number {
    let at = 0
    while (at < bytes.length && !this.#handler.isFull) {
      if (this.#state === 'piece') {
        const used = Math.min(this.#pieceLeft, bytes.length - at)
        this.#handler.data(bytes.subarray(at, at + used))
        at += used
        this.#pieceLeft -= used
        if (this.#pieceLeft === 0) this.#collect('length', 4)
        continue
      }
      if (this.#state === 'done') throw new RangeError('the tree goes on behind its end')
      const missing = this.#want - this.#have
      if (this.#have === 0 && bytes.length - at >= missing) {
        this.#block(bytes.subarray(at, at + missing))
        at += missing
        continue
      }
      const used = Math.min(missing, bytes.length - at)
      if (this.#collected.length < this.#want) {
        const grown = Buffer.alloc(this.#want)
        this.#collected.copy(grown, 0, 0, this.#have)
        this.#collected = grown
      }
      bytes.copy(this.#collected, this.#have, at, at + used)
      this.#have += used
      at += used
      if (used === missing) this.#block(this.#collected.subarray(0, this.#want))
    }
    return at
  }

  #collect(state: State, bytes: number): void {
    this.#state = state
    this.#have = 0
    this.#want = bytes
  }

  #block(block: Buffer): void {
    switch (this.#state) {
      case 'header': {
        const { pathBytes } = tailOf(block)
        if (pathBytes === 0) {
          this.#state = 'done'
          return
        }
        block.copy(this.#header)
        this.#collect('tail', tailBytes(tailOf(block)))
        return
      }
      case 'tail':
        this.#entry(block)
        return
      case 'length':
        this.#length(block.readUInt32LE(0))
        return
      default:
        this.#collect('header', HEADER_BYTES)
        this.#handler.end(block.readUInt32LE(0) !== 0)
    }
  }

  #entry(tail: Buffer): void {
    const { hasContent } = tailOf(this.#header)
    const entry = decodeEntry(this.#header, tail)
    this.#path = entry.path
    this.#segments = entry.segments ?? []
    this.#segmentIndex = 0
    if (hasContent) this.#nextSegment()
    else this.#collect('header', HEADER_BYTES)
    this.#handler.entry(entry)
    if (hasContent) this.#announce()
  }

  #nextSegment(): void {
    const segment = this.#segments[this.#segmentIndex]
    this.#segmentLeft = segment?.bytes ?? 0
    this.#collect(segment === undefined ? 'changed' : 'length', 4)
  }

  #announce(): void {
    const segment = this.#segments[this.#segmentIndex]
    if (segment !== undefined) this.#handler.segment(segment)
  }

  #length(bytes: number): void {
    if (bytes > this.#segmentLeft) throw new RangeError(`a piece of ${bytes} bytes where ${this.#segmentLeft} are left`)
    this.#segmentLeft -= bytes
    if (bytes > 0) {
      this.#state = 'piece'
      this.#pieceLeft = bytes
      return
    }
    const missing = this.#segmentLeft
    this.#segmentIndex++
    this.#nextSegment()
    if (missing > 0) this.#handler.missing(missing)
    this.#announce()
  }
}

function tailOf(header: Buffer): Tail {
  return {
    pathBytes: header.readUInt32LE(104),
    targetBytes: header.readUInt32LE(108),
    xattrBytes: header.readUInt32LE(112),
    lowerXattrBytes: header.readUInt32LE(116),
    segmentCount: header.readUInt32LE(120),
    hasContent: header.readUInt32LE(124) !== 0,
  }
}

function tailBytes({ pathBytes, targetBytes, xattrBytes, lowerXattrBytes, segmentCount }: Tail): number {
  const bytes = pathBytes + targetBytes + xattrBytes + lowerXattrBytes + segmentCount * SEGMENT_BYTES
  if (bytes <= TAIL_LIMIT_BYTES) return bytes
  throw new RangeError(`an entry of ${bytes} bytes, expected at most ${TAIL_LIMIT_BYTES}`)
}

function decodeEntry(header: Buffer, tail: Buffer): TreeEntry {
  const { pathBytes, targetBytes, xattrBytes, lowerXattrBytes, segmentCount, hasContent } = tailOf(header)
  let at = pathBytes + targetBytes
  const xattrs = decodeXattrs(tail.subarray(at, at + xattrBytes))
  at += xattrBytes
  const lowerXattrs = decodeXattrs(tail.subarray(at, at + lowerXattrBytes))
  at += lowerXattrBytes
  const segments = Array.from({ length: segmentCount }, (_, index) => ({
    offset: number64(tail, at + index * SEGMENT_BYTES),
    bytes: number64(tail, at + index * SEGMENT_BYTES + 8),
  }))
  const facts = decodeFacts(header.subarray(0, FACTS_BYTES), xattrs)
  const hasNames = header.readUInt32LE(56) > 1 && !isDirectory(facts)
  return {
    ...facts,
    path: tail.toString('latin1', 0, pathBytes - 1),
    target: tail.toString('latin1', pathBytes, pathBytes + targetBytes - 1),
    identity: hasNames ? `${header.readBigUInt64LE(40)}:${header.readBigUInt64LE(48)}` : '',
    lower: header.readUInt32LE(60) === 0 ? null : decodeFacts(header.subarray(LOWER_OFFSET), lowerXattrs),
    segments: hasContent ? segments : null,
  }
}

function decodeFacts(bytes: Buffer, xattrs: ReadonlyMap<string, string>): FileFacts {
  return {
    mode: bytes.readUInt32LE(0),
    uid: bytes.readUInt32LE(4),
    gid: bytes.readUInt32LE(8),
    major: bytes.readUInt32LE(12),
    minor: bytes.readUInt32LE(16),
    mtime: { nanoseconds: bytes.readUInt32LE(20), seconds: Number(bytes.readBigInt64LE(24)) },
    sizeBytes: number64(bytes, 32),
    xattrs,
  }
}

const NO_XATTRS: ReadonlyMap<string, string> = new Map()

function decodeXattrs(bytes: Buffer): ReadonlyMap<string, string> {
  if (bytes.length === 0) return NO_XATTRS
  const xattrs = new Map<string, string>()
  for (let at = 0; at < bytes.length; ) {
    const nameBytes = bytes.readUInt32LE(at)
    const valueBytes = bytes.readUInt32LE(at + 4)
    const value = at + 8 + nameBytes
    xattrs.set(byteString(bytes.subarray(at + 8, value - 1)), byteString(bytes.subarray(value, value + valueBytes)))
    at = value + valueBytes
  }
  return xattrs
}

/** Files and their parts are below 2^53 bytes: ext4 ends at 2^44, XFS at 2^63, which no disk holds. */
function number64(bytes: Buffer, at: number): number {
  const value = Number(bytes.readBigUInt64LE(at))
  if (Number.isSafeInteger(value)) return value
  throw new RangeError(`a size of ${value} bytes`)
}
