/**
 * The 512-byte header of a tar entry: v7, ustar, star and GNU.
 * Source: POSIX.1-2024 pax › ustar Interchange Format; GNU tar manual, "Basic Tar Format".
 */

export const BLOCK_BYTES = 512

/** Offset and size in bytes of each field. The last ones are GNU's, in the place of the prefix. */
export const FIELDS = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  typeflag: [156, 1],
  linkname: [157, 100],
  magic: [257, 8],
  devmajor: [329, 8],
  devminor: [337, 8],
  prefix: [345, 155],
  starPrefix: [345, 131],
  starTrailer: [508, 4],
  isExtended: [482, 1],
  realSize: [483, 12],
} as const satisfies Readonly<Record<string, readonly [offset: number, size: number]>>

/** The name of a field. */
export type Field = keyof typeof FIELDS

/** GNU's sparse segments: offset and size, 12 bytes each; four in the header, 21 in a block of their own. */
const SEGMENT_BYTES = 24
const HEADER_SEGMENTS = { offset: 386, count: 4, isExtendedOffset: 482 } as const
const BLOCK_SEGMENTS = { offset: 0, count: 21, isExtendedOffset: 504 } as const

const USTAR = Buffer.from('ustar')
/** GNU's is `ustar`, two spaces and a NUL. */
const POSIX_MAGIC = Buffer.from('ustar\0')
const STAR_TRAILER = Buffer.from('tar\0')

/** What a header says by itself. Texts are byte strings: one char per byte, as file names need not be UTF-8. */
export interface TarHeader {
  readonly typeflag: string
  readonly name: string
  readonly linkname: string
  /** All bits of the field. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly sizeBytes: number
  readonly mtimeSeconds: number
  readonly devmajor: number
  readonly devminor: number
}

/** What is wrong with a header or a record; the parser adds where. */
export class TarFormatError extends Error {
  override readonly name = 'TarFormatError'
}

/** Whether a block is all zeros, as the two at the end of an archive. */
export function isZeroBlock(block: Uint8Array): boolean {
  return block.every(byte => byte === 0)
}

/** Reads a header. @throws {TarFormatError} */
export function readHeader(block: Uint8Array): TarHeader {
  checkSum(block)
  const isUstar = hasBytes(block, FIELDS.magic[0], USTAR)
  const prefix = isUstar && block[FIELDS.prefix[0]] !== 0 ? prefixOf(block) : ''
  return {
    typeflag: String.fromCharCode(block[FIELDS.typeflag[0]] ?? 0),
    name: prefix + textOf(block, 'name'),
    linkname: textOf(block, 'linkname'),
    mode: numberOf(block, 'mode'),
    uid: numberOf(block, 'uid'),
    gid: numberOf(block, 'gid'),
    sizeBytes: numberOf(block, 'size'),
    mtimeSeconds: numberOf(block, 'mtime'),
    devmajor: isUstar ? numberOf(block, 'devmajor') : 0,
    devminor: isUstar ? numberOf(block, 'devminor') : 0,
  }
}

/** Where POSIX has a prefix of the name, GNU has other things. */
function prefixOf(block: Uint8Array): string {
  if (!hasBytes(block, FIELDS.magic[0], POSIX_MAGIC)) return ''
  const isStar = hasBytes(block, FIELDS.starTrailer[0], STAR_TRAILER)
  return `${textOf(block, isStar ? 'starPrefix' : 'prefix')}/`
}

function hasBytes(block: Uint8Array, offset: number, expected: Uint8Array): boolean {
  for (let at = 0; at < expected.length; at++) if (block[offset + at] !== expected[at]) return false
  return true
}

function checkSum(block: Uint8Array): void {
  const said = numberOf(block, 'checksum')
  const unsigned = sumOf(block)
  // Old programs added the bytes as signed ones.
  if (said === unsigned || said === sumOf(new Int8Array(block.buffer, block.byteOffset, BLOCK_BYTES))) return
  throw new TarFormatError(`the checksum of the header is ${unsigned}, expected ${said}`)
}

/** The sum of all bytes, those of the checksum itself taken as spaces. */
function sumOf(bytes: Uint8Array | Int8Array): number {
  const [offset, size] = FIELDS.checksum
  let sum = size * 32
  for (let at = 0; at < BLOCK_BYTES; at++) sum += bytes[at] ?? 0
  for (let at = offset; at < offset + size; at++) sum -= bytes[at] ?? 0
  return sum
}

/** A part of the sparse map: the file's next `bytes` in the archive belong at `offset`. */
export interface Segment {
  readonly offset: number
  readonly bytes: number
}

/** The part of GNU's sparse map in a block, and whether a block with more follows. @throws {TarFormatError} */
export function readSegments(block: Uint8Array, isHeader: boolean): { segments: Segment[]; more: boolean } {
  const { offset, count, isExtendedOffset } = isHeader ? HEADER_SEGMENTS : BLOCK_SEGMENTS
  const segments: Segment[] = []
  for (let index = 0; index < count; index++) {
    const at = offset + index * SEGMENT_BYTES
    if (block[at] === 0) break
    segments.push({
      offset: readNumber(block, at, 12, 'sparse offset'),
      bytes: readNumber(block, at + 12, 12, 'sparse size'),
    })
  }
  return { segments, more: block[isExtendedOffset] !== 0 }
}

/** The size of a sparse file with its holes, in GNU's header. @throws {TarFormatError} */
export function readRealSize(block: Uint8Array): number {
  return numberOf(block, 'realSize')
}

/** Bytes as a text of one char each. */
export function byteString(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

function textOf(block: Uint8Array, field: Field): string {
  const [offset, size] = FIELDS[field]
  let end = offset
  while (end < offset + size && block[end] !== 0) end++
  return end === offset ? '' : byteString(block.subarray(offset, end))
}

function numberOf(block: Uint8Array, field: Field): number {
  const [offset, size] = FIELDS[field]
  return readNumber(block, offset, size, field)
}

/** Octal digits between spaces and NULs, or, with the highest bit set, a big-endian two's complement (GNU, star). */
function readNumber(block: Uint8Array, offset: number, size: number, name: string): number {
  const first = block[offset] ?? 0
  if ((first & 0x80) !== 0) return readBase256(block, offset, size, name)
  let value = 0
  let digits = 0
  for (let at = offset; at < offset + size; at++) {
    const byte = block[at] ?? 0
    if (byte >= 0x30 && byte <= 0x37) {
      value = value * 8 + byte - 0x30
      digits++
    } else if (byte !== 0x20 && byte !== 0) throw badNumber(block, offset, size, name)
    else if (digits > 0) break
  }
  // Twelve octal digits are 36 bits: always exact.
  return value
}

function readBase256(block: Uint8Array, offset: number, size: number, name: string): number {
  const isNegative = ((block[offset] ?? 0) & 0x40) !== 0
  let value = isNegative ? -1 : 0
  for (let at = offset; at < offset + size; at++) {
    const byte = at === offset ? ((block[at] ?? 0) & 0x3f) | (isNegative ? 0xc0 : 0) : (block[at] ?? 0)
    value = at === offset && isNegative ? byte - 256 : value * 256 + byte
    if (!Number.isSafeInteger(value)) throw badNumber(block, offset, size, name)
  }
  return value
}

function badNumber(block: Uint8Array, offset: number, size: number, name: string): TarFormatError {
  const text = JSON.stringify(byteString(block.subarray(offset, offset + size)))
  return new TarFormatError(`${name} is ${text}, expected a number`)
}
