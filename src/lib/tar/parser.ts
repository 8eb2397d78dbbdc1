import { BerthError } from '../error.ts'
import { checkSegments, composeEntry, type EntryParts, payloadBytes, type TarEntry } from './entry.ts'
import {
  BLOCK_BYTES,
  byteString,
  isZeroBlock,
  readHeader,
  readRealSize,
  readSegments,
  type Segment,
  TarFormatError,
  type TarHeader,
} from './header.ts'
import { decimal, type PaxRecords, pairs, readPax, readPaxSegments } from './pax.ts'

/** What is told of an archive, in its order: `entry`, then its content piece by piece, then `end`. */
export interface TarHandler {
  entry(entry: TarEntry): void
  /** A piece of a file's content; what is between pieces is a hole. The bytes are only lent. */
  data(offset: number, bytes: Uint8Array): void
  end(entry: TarEntry): void
}

/** Extended headers and long names are held whole; Go's reader has the same limit. */
const META_LIMIT_BYTES = 1024 * 1024
/** The largest sparse map that is followed: 16 bytes of memory each. */
const SEGMENT_LIMIT = 65_536
/** A decimal number of 64 bits and the end of its line. */
const MAP_LINE_BYTES = 21

/**
 * What the next bytes are.
 * - `header`, `meta`, `segments` (GNU's map goes on), `map` (format 1.0: the map stands before the content) are collected whole;
 * - `content` and `padding` pass through;
 * - `rest`: one block of zeros was there; `ended`: two were, the rest does not count.
 */
type State = 'header' | 'meta' | 'segments' | 'map' | 'content' | 'padding' | 'rest' | 'ended'

/**
 * Reads a tar archive that is pushed into it in pieces of any size; holds at most one extended header.
 * Global extended headers are checked and left out, as every program in Go does, and so what made the images expects.
 */
export class TarParser {
  readonly #handler: TarHandler
  #state: State = 'header'
  #collected = new Uint8Array(BLOCK_BYTES)
  #have = 0
  #want = BLOCK_BYTES
  #position = 0
  #entryIndex = 0

  #pax: PaxRecords | null = null
  #longName: string | null = null
  #longLink: string | null = null
  #metaType = ''
  #metaBytes = 0

  #parts: EntryParts | null = null
  #entry: TarEntry | null = null
  #sizeBytes = 0
  #payloadBytes = 0
  #remainingBytes = 0
  #paddingBytes = 0
  #segments: Segment[] = []
  #segmentIndex = 0
  #segmentOffset = 0
  #mapText = ''
  #mapLineCount = 0

  constructor(handler: TarHandler) {
    this.#handler = handler
  }

  /** How many entries have been told. */
  get entryCount(): number {
    return this.#entryIndex
  }

  /** Reads the next bytes. @throws {BerthError} invalidArgument: not a tar archive; whatever the handler throws */
  push(chunk: Uint8Array): void {
    try {
      for (let at = 0; at < chunk.length; ) {
        const used = this.#consume(chunk, at)
        at += used
        this.#position += used
      }
    } catch (error) {
      throw this.#located(error)
    }
  }

  /** Says that there are no more bytes. @throws {BerthError} invalidArgument: they ended within an entry */
  finish(): void {
    // Without the padding of the last entry: umoci 0.4 writes such layers, and Go's reader accepts them.
    const isPadding = this.#state === 'padding'
    const isBetween = isPadding || ((this.#state === 'header' || this.#state === 'rest') && this.#have === 0)
    const hasMeta = this.#pax !== null || this.#longName !== null || this.#longLink !== null
    if ((isBetween && !hasMeta) || this.#state === 'ended') return
    throw this.#located(new TarFormatError('the archive ends within an entry'))
  }

  #located(error: unknown): unknown {
    if (!(error instanceof TarFormatError)) return error
    const where = `entry ${this.#entryIndex}, byte ${this.#position}`
    return new BerthError('invalidArgument', `Cannot read tar archive: ${where}: ${error.message}`, { cause: error })
  }

  #consume(chunk: Uint8Array, at: number): number {
    const left = chunk.length - at
    switch (this.#state) {
      case 'ended':
        return left
      case 'padding': {
        const used = Math.min(left, this.#paddingBytes)
        this.#paddingBytes -= used
        if (this.#paddingBytes === 0) this.#collect('header', BLOCK_BYTES)
        return used
      }
      case 'content':
        return this.#content(chunk.subarray(at, at + Math.min(left, this.#remainingBytes)))
      default: {
        const missing = this.#want - this.#have
        if (this.#have === 0 && left >= missing) {
          this.#block(chunk.subarray(at, at + missing))
          return missing
        }
        const used = Math.min(left, missing)
        if (this.#collected.length < this.#want) this.#grow(this.#want)
        this.#collected.set(chunk.subarray(at, at + used), this.#have)
        this.#have += used
        if (used === missing) this.#block(this.#collected.subarray(0, this.#want))
        return used
      }
    }
  }

  #grow(bytes: number): void {
    const grown = new Uint8Array(bytes)
    grown.set(this.#collected.subarray(0, this.#have))
    this.#collected = grown
  }

  #collect(state: State, bytes: number): void {
    this.#state = state
    this.#have = 0
    this.#want = bytes
  }

  /** What was collected, by what it is. */
  #block(bytes: Uint8Array): void {
    this.#have = 0
    switch (this.#state) {
      case 'meta':
        this.#meta(bytes.subarray(0, this.#metaBytes))
        break
      case 'segments':
        this.#gnuMap(bytes, false)
        break
      case 'map':
        this.#map(bytes)
        break
      case 'rest':
        if (!isZeroBlock(bytes)) throw new TarFormatError('a header follows a single block of zeros')
        this.#state = 'ended'
        break
      default:
        if (bytes[0] === 0 && isZeroBlock(bytes)) this.#collect('rest', BLOCK_BYTES)
        else this.#header(bytes)
    }
  }

  #header(block: Uint8Array): void {
    const header = readHeader(block)
    if ('xgLK'.includes(header.typeflag)) {
      this.#metaOpen(header)
      return
    }
    const parts = { header, pax: this.#pax, longName: this.#longName, longLink: this.#longLink }
    this.#pax = null
    this.#longName = null
    this.#longLink = null
    this.#open(block, parts)
  }

  #metaOpen({ typeflag, sizeBytes }: TarHeader): void {
    if (sizeBytes < 0 || sizeBytes > META_LIMIT_BYTES) {
      throw new TarFormatError(`an extended header has ${sizeBytes} bytes, expected at most ${META_LIMIT_BYTES}`)
    }
    this.#metaType = typeflag
    this.#metaBytes = sizeBytes
    if (sizeBytes === 0) this.#meta(new Uint8Array(0))
    else this.#collect('meta', Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES)
  }

  #meta(bytes: Uint8Array): void {
    this.#collect('header', BLOCK_BYTES)
    if (this.#metaType === 'L') this.#longName = untilNul(byteString(bytes))
    else if (this.#metaType === 'K') this.#longLink = untilNul(byteString(bytes))
    else {
      const records = readPax(bytes)
      if (this.#metaType === 'x') this.#pax = records
    }
  }

  /** The start of an entry proper: finds out where its content goes. */
  #open(block: Uint8Array, parts: EntryParts): void {
    const { header, pax } = parts
    const payload = payloadBytes(parts)
    this.#parts = parts
    this.#payloadBytes = payload
    this.#paddingBytes = (BLOCK_BYTES - (payload % BLOCK_BYTES)) % BLOCK_BYTES
    this.#segments = []
    const realSize = pax?.values.get('GNU.sparse.realsize') ?? pax?.values.get('GNU.sparse.size')
    this.#sizeBytes = realSize === undefined ? payload : decimal(realSize, 'size of the sparse file')
    if (header.typeflag === 'S') {
      this.#sizeBytes = readRealSize(block)
      this.#gnuMap(block, true)
    } else if (pax !== null && isMapInContent(pax)) {
      this.#mapText = ''
      this.#mapLineCount = 0
      this.#collect('map', BLOCK_BYTES)
    } else {
      const segments = pax === null ? null : readPaxSegments(pax)
      if (segments === null && realSize !== undefined) throw new TarFormatError('a sparse file has no map')
      this.#addSegments(segments ?? (payload > 0 ? [{ offset: 0, bytes: payload }] : []))
      this.#begin()
    }
  }

  #addSegments(segments: readonly Segment[]): void {
    if (this.#segments.length + segments.length > SEGMENT_LIMIT) {
      throw new TarFormatError(`the sparse map has more than ${SEGMENT_LIMIT} parts`)
    }
    this.#segments.push(...segments)
  }

  /** GNU's own format: the map is in the header and as many blocks after it as need be. */
  #gnuMap(block: Uint8Array, isHeader: boolean): void {
    const { segments, more } = readSegments(block, isHeader)
    this.#addSegments(segments)
    if (more) this.#collect('segments', BLOCK_BYTES)
    else this.#begin()
  }

  /** Format 1.0: lines with the count of parts, then offset and size of each, padded to whole blocks. */
  #map(block: Uint8Array): void {
    this.#payloadBytes -= BLOCK_BYTES
    if (this.#payloadBytes < 0) throw new TarFormatError('the sparse map is longer than the entry')
    const text = byteString(block)
    this.#mapText += text
    this.#mapLineCount += text.split('\n').length - 1
    if (this.#mapLineCount === 0) throw new TarFormatError('the sparse map is malformed')
    const count = decimal(this.#mapText.slice(0, this.#mapText.indexOf('\n')), 'count of the sparse map')
    if (count > SEGMENT_LIMIT) throw new TarFormatError(`the sparse map has more than ${SEGMENT_LIMIT} parts`)
    if (this.#mapText.length > (1 + 2 * count) * MAP_LINE_BYTES + BLOCK_BYTES) {
      throw new TarFormatError('the sparse map is malformed')
    }
    if (this.#mapLineCount < 1 + 2 * count) return
    const lines = this.#mapText.split('\n', 1 + 2 * count)
    this.#addSegments(pairs(lines.slice(1).map(line => decimal(line, 'sparse map'))))
    this.#begin()
  }

  #begin(): void {
    if (this.#parts === null) return
    const entry = composeEntry(this.#parts, this.#sizeBytes)
    checkSegments(this.#segments, this.#sizeBytes, this.#payloadBytes)
    this.#entry = entry
    this.#segmentIndex = 0
    this.#segmentOffset = 0
    this.#remainingBytes = this.#payloadBytes
    this.#handler.entry(entry)
    this.#state = 'content'
    if (this.#remainingBytes === 0) this.#end()
  }

  #content(bytes: Uint8Array): number {
    this.#remainingBytes -= bytes.length
    for (let at = 0; at < bytes.length; ) {
      const segment = this.#segments[this.#segmentIndex]
      if (segment === undefined) break
      const length = Math.min(bytes.length - at, segment.bytes - this.#segmentOffset)
      if (length > 0) this.#handler.data(segment.offset + this.#segmentOffset, bytes.subarray(at, at + length))
      at += length
      this.#segmentOffset += length
      if (this.#segmentOffset === segment.bytes) {
        this.#segmentIndex++
        this.#segmentOffset = 0
      }
    }
    if (this.#remainingBytes === 0) this.#end()
    return bytes.length
  }

  #end(): void {
    if (this.#entry !== null) this.#handler.end(this.#entry)
    this.#entry = null
    this.#parts = null
    this.#entryIndex++
    if (this.#paddingBytes > 0) this.#state = 'padding'
    else this.#collect('header', BLOCK_BYTES)
  }
}

function isMapInContent({ values }: PaxRecords): boolean {
  return values.get('GNU.sparse.major') === '1' && values.get('GNU.sparse.minor') === '0'
}

function untilNul(text: string): string {
  const end = text.indexOf('\0')
  return end < 0 ? text : text.slice(0, end)
}
