import { isUtf8 } from 'node:buffer'
import { invariant } from '../error.ts'
import type { TarEntry, TarEntryType } from './entry.ts'
import { BLOCK_BYTES, FIELDS, type Field, type Segment, TarFormatError } from './header.ts'
import { printTime } from './pax.ts'

/** An entry to be written: as {@link TarEntry}, which says what each field means. A directory's name usually ends with a slash. */
export interface TarInput extends Omit<TarEntry, 'otherRecords'> {
  /**
   * The parts of a sparse file that are data, ascending; the rest are holes. The file is then written in GNU's format 1.0, which
   * Go's reader, bsdtar and Python know too. Absent: the content is written whole.
   */
  readonly segments?: readonly Segment[]
}

const TYPEFLAGS: Readonly<Record<TarEntryType, string>> = {
  file: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
}

const INITIAL_BYTES = 512 * 1024
const MAGIC_AND_VERSION = 'ustar\x0000'
/** Where the header of extended records, and that of a sparse file, say they belong: for programs that know neither. */
const PAX_DIRECTORY = 'PaxHeaders/'
const SPARSE_DIRECTORY = 'GNUSparseFile.0/'
/** Readers hold the records of an entry whole; ours and Go's refuse more than this. */
const RECORDS_LIMIT_BYTES = 1024 * 1024
/** 21 bits, what seven octal digits hold; the fields of sizes and times have eleven. */
const SHORT_LIMIT = 8 ** 7
const LONG_LIMIT = 8 ** 11

/**
 * Writes a tar archive, the mirror of `TarParser`: what is added is collected until it is taken. The same entries always give the same
 * bytes: a plain ustar header where all fits into it, and extended records, sorted by their keys, for what does not.
 *
 * Names may be of any bytes. They are written as they are; records that are not UTF-8 are marked so (`hdrcharset=BINARY`).
 * Source: POSIX.1-2024 pax › ustar Interchange Format, pax Extended Header; GNU tar manual, "Storing Sparse Files".
 */
export class TarWriter {
  #bytes = Buffer.allocUnsafe(INITIAL_BYTES)
  #length = 0
  #missingBytes = 0
  #paddingBytes = 0

  /** How much of the content of the entry that was added last is still to come. */
  get missingBytes(): number {
    return this.#missingBytes
  }

  /** How many bytes wait to be taken. */
  get length(): number {
    return this.#length
  }

  /**
   * Adds an entry. As many bytes as it has content (without its holes, when it has `segments`) must follow by {@link data} or {@link zeros}.
   * @throws {TarFormatError} no archive can hold it: an attribute's name with a `=`, more than 1 MiB of records
   */
  entry(entry: TarInput): void {
    invariant(this.#missingBytes === 0, 'the content of an entry is complete before the next one')
    invariant(entry.type === 'file' || entry.sizeBytes === 0, 'only files have content')
    const map = entry.segments === undefined ? null : sparseMap(entry.segments, entry.sizeBytes)
    const payloadBytes = map === null ? entry.sizeBytes : map.text.length + map.dataBytes
    const base = baseName(entry.name)
    const name = map === null ? splitName(entry.name) : { prefix: '', name: SPARSE_DIRECTORY + base }
    const records = recordsOf(entry, payloadBytes, name === null)
    if (records !== '') this.#records(records, base)
    this.#header(
      { ...entry, ...(name ?? { prefix: '', name: entry.name }), sizeBytes: payloadBytes },
      TYPEFLAGS[entry.type],
    )
    this.#announce(payloadBytes)
    if (map !== null) this.#text(map.text)
  }

  /** Adds a piece of the content of the entry that was added last. The bytes are copied. */
  data(bytes: Uint8Array): void {
    const at = this.#content(bytes.length)
    this.#bytes.set(bytes, at)
    this.#pad()
  }

  /** Adds zeros to the content of the entry that was added last: a hole where the archive can't have one. */
  zeros(count: number): void {
    const at = this.#content(count)
    this.#bytes.fill(0, at, at + count)
    this.#pad()
  }

  /** Adds the end of the archive: two blocks of zeros. */
  finish(): void {
    invariant(this.#missingBytes === 0, 'the content of the last entry is complete')
    const at = this.#reserve(2 * BLOCK_BYTES)
    this.#bytes.fill(0, at, this.#length)
  }

  /** What has been added since the last time. Its memory belongs to the caller. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#length)
    this.#bytes = Buffer.allocUnsafe(INITIAL_BYTES)
    this.#length = 0
    return taken
  }

  #text(text: string): void {
    const at = this.#content(text.length)
    this.#bytes.write(text, at, 'latin1')
    this.#pad()
  }

  #announce(payloadBytes: number): void {
    this.#missingBytes = payloadBytes
    this.#paddingBytes = (BLOCK_BYTES - (payloadBytes % BLOCK_BYTES)) % BLOCK_BYTES
  }

  #content(bytes: number): number {
    invariant(bytes <= this.#missingBytes, 'an entry has as much content as it said')
    this.#missingBytes -= bytes
    return this.#reserve(bytes)
  }

  #pad(): void {
    if (this.#missingBytes > 0 || this.#paddingBytes === 0) return
    const at = this.#reserve(this.#paddingBytes)
    this.#bytes.fill(0, at, this.#length)
    this.#paddingBytes = 0
  }

  #records(records: string, base: string): void {
    if (records.length > RECORDS_LIMIT_BYTES) {
      throw new TarFormatError(`its records have ${records.length} bytes, expected at most ${RECORDS_LIMIT_BYTES}`)
    }
    const fields = { mode: 0o644, uid: 0, gid: 0, mtime: { seconds: 0, nanoseconds: 0 }, devmajor: 0, devminor: 0 }
    const name = { prefix: '', name: PAX_DIRECTORY + base, linkname: '' }
    this.#header({ ...fields, ...name, sizeBytes: records.length }, 'x')
    this.#announce(records.length)
    this.#text(records)
  }

  #header(fields: Omit<TarInput, 'xattrs' | 'type'> & { readonly prefix: string }, typeflag: string): void {
    const start = this.#reserve(BLOCK_BYTES)
    const bytes = this.#bytes
    bytes.fill(0, start, this.#length)
    const text = (field: Field, value: string): void => {
      const [offset, size] = FIELDS[field]
      bytes.write(value, start + offset, Math.min(size, value.length), 'latin1')
    }
    // What does not fit is in the records.
    const number = (field: Field, value: number, limit: number): void => {
      const [offset, size] = FIELDS[field]
      writeOctal(bytes, start + offset, size - 1, value >= 0 && value < limit ? value : 0)
    }
    text('name', fields.name)
    number('mode', fields.mode, SHORT_LIMIT)
    number('uid', fields.uid, SHORT_LIMIT)
    number('gid', fields.gid, SHORT_LIMIT)
    number('size', fields.sizeBytes, LONG_LIMIT)
    number('mtime', fields.mtime.seconds, LONG_LIMIT)
    text('typeflag', typeflag)
    text('linkname', fields.linkname)
    text('magic', MAGIC_AND_VERSION)
    number('devmajor', fields.devmajor, SHORT_LIMIT)
    number('devminor', fields.devminor, SHORT_LIMIT)
    text('prefix', fields.prefix)
    const [offset, size] = FIELDS.checksum
    // The checksum's own field counts as spaces.
    let sum = size * 0x20
    for (let at = start; at < start + BLOCK_BYTES; at++) sum += bytes[at] ?? 0
    writeOctal(bytes, start + offset, size - 2, sum)
    bytes[start + offset + size - 1] = 0x20
  }

  #reserve(bytes: number): number {
    const at = this.#length
    this.#length += bytes
    if (this.#length > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#length, 2 * this.#bytes.length))
      grown.set(this.#bytes.subarray(0, at))
      this.#bytes = grown
    }
    return at
  }
}

function writeOctal(bytes: Uint8Array, at: number, digits: number, value: number): void {
  let rest = value
  for (let index = at + digits - 1; index >= at; index--) {
    bytes[index] = 0x30 + (rest % 8)
    rest = Math.floor(rest / 8)
  }
}

/** A name as the two fields of a header hold it, cut at a slash; null: they can't. */
function splitName(name: string): { readonly prefix: string; readonly name: string } | null {
  const [, nameBytes] = FIELDS.name
  const [, prefixBytes] = FIELDS.prefix
  if (name.length <= nameBytes) return { prefix: '', name }
  // The slash that ends a directory's name must stay with it.
  const slash = name.indexOf('/', name.length - nameBytes - 1)
  if (slash <= 0 || slash > prefixBytes || slash === name.length - 1) return null
  return { prefix: name.slice(0, slash), name: name.slice(slash + 1) }
}

/** What of a name fits below the directories of records and sparse files. */
function baseName(name: string): string {
  const [, nameBytes] = FIELDS.name
  return name
    .replace(/\/+$/, '')
    .slice(name.replace(/\/+$/, '').lastIndexOf('/') + 1)
    .slice(0, nameBytes - SPARSE_DIRECTORY.length)
}

/** The extended records of an entry, sorted; empty: the header says it all. */
function recordsOf(entry: TarInput, payloadBytes: number, isNameLong: boolean): string {
  const records: [key: string, value: string][] = []
  const { uid, gid, mtime } = entry
  if (entry.segments !== undefined) {
    records.push(['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0'])
    records.push(['GNU.sparse.name', entry.name], ['GNU.sparse.realsize', String(entry.sizeBytes)])
  }
  for (const [name, value] of entry.xattrs) {
    if (name.includes('=')) throw new TarFormatError(`an archive can't hold the attribute name ${JSON.stringify(name)}`)
    records.push([`SCHILY.xattr.${name}`, value])
  }
  if (gid >= SHORT_LIMIT) records.push(['gid', String(gid)])
  if (entry.linkname.length > FIELDS.linkname[1]) records.push(['linkpath', entry.linkname])
  if (mtime.nanoseconds !== 0 || mtime.seconds < 0 || mtime.seconds >= LONG_LIMIT) {
    records.push(['mtime', printTime(mtime)])
  }
  if (isNameLong) records.push(['path', entry.name])
  if (payloadBytes >= LONG_LIMIT) records.push(['size', String(payloadBytes)])
  if (uid >= SHORT_LIMIT) records.push(['uid', String(uid)])
  records.sort(([a], [b]) => (a < b ? -1 : 1))
  const isBinary = records.some(([key, value]) => isName(key) && !isUtf8(Buffer.from(value, 'latin1')))
  // It holds for the records behind it.
  if (isBinary) records.unshift(['hdrcharset', 'BINARY'])
  return records.map(([key, value]) => record(key, value)).join('')
}

function isName(key: string): boolean {
  return key === 'path' || key === 'linkpath' || key === 'GNU.sparse.name'
}

/** `length key=value\n`, in which the length counts its own digits. */
function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = rest.length
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length
  return `${length}${rest}`
}

/** Format 1.0 of GNU's map, which stands before the content: whole blocks. A hole at the end is marked by an empty part. */
function sparseMap(
  segments: readonly Segment[],
  sizeBytes: number,
): { readonly text: string; readonly dataBytes: number } {
  let end = 0
  let dataBytes = 0
  for (const { offset, bytes } of segments) {
    invariant(offset >= end && bytes >= 0, 'the parts of a sparse file ascend')
    end = offset + bytes
    dataBytes += bytes
  }
  invariant(end <= sizeBytes, 'the parts of a sparse file are within it')
  const parts = end < sizeBytes ? [...segments, { offset: sizeBytes, bytes: 0 }] : segments
  const lines = [parts.length, ...parts.flatMap(({ offset, bytes }) => [offset, bytes])].map(each => `${each}\n`)
  const text = lines.join('')
  return { text: text.padEnd(Math.ceil(text.length / BLOCK_BYTES) * BLOCK_BYTES, '\0'), dataBytes }
}
