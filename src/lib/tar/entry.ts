/** An entry of a tar archive as the reader tells it: headers, extended headers and long names put together. */
import { BLOCK_BYTES, type Segment, TarFormatError, type TarHeader } from './header.ts'
import { decimal, type PaxRecords, readTime, type Timestamp } from './pax.ts'

/** What an entry is. */
export type TarEntryType = 'file' | 'directory' | 'symlink' | 'link' | 'character' | 'block' | 'fifo'

/** One entry. Texts are byte strings: one char (0–255) per byte, as file names need not be UTF-8. */
export interface TarEntry {
  readonly type: TarEntryType
  /** As written: it may be absolute, hold `..`, end with a slash, or be empty. Never holds a NUL. */
  readonly name: string
  /** The target of a symlink; the name of the entry that a link links to. Empty for others. */
  readonly linkname: string
  /** Permissions with setuid, setgid and sticky bit: 0–07777. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: Timestamp
  /** Of the content, holes included; 0 for what has none. */
  readonly sizeBytes: number
  readonly devmajor: number
  readonly devminor: number
  /** Extended attributes, by name; the values are byte strings too. */
  readonly xattrs: ReadonlyMap<string, string>
  /** Extended records that have a meaning that is not in the other fields, such as `SCHILY.acl.access`. */
  readonly otherRecords: readonly string[]
}

const TYPES: Readonly<Record<string, TarEntryType>> = {
  '0': 'file',
  '\0': 'file',
  // Contiguous file: a file, where the system knows no such thing (POSIX).
  '7': 'file',
  S: 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
}

const XATTR_PREFIX = 'SCHILY.xattr.'
const KNOWN_RECORDS =
  /^(?:path|linkpath|size|uid|gid|mtime|atime|ctime|uname|gname|comment|charset|hdrcharset|GNU\.sparse\..*|SCHILY\.(?:xattr\..*|dev|ino|nlink|devmajor|devminor|realsize|filetype)|LIBARCHIVE\.creationtime)$/s
/** Shared by all entries without an extended header, which are most. */
const NO_RECORDS: ReadonlyMap<string, string> = new Map()
const NOTHING_MORE: Pick<TarEntry, 'xattrs' | 'otherRecords'> = { xattrs: new Map(), otherRecords: [] }
/** Linux has 32 bits for ids, and the last value means "none" to chown(2). */
const ID_LIMIT = 0xffff_fffe

/** The header of an entry and all that came before it to complete it. */
export interface EntryParts {
  readonly header: TarHeader
  readonly pax: PaxRecords | null
  /** GNU's long name and long link. */
  readonly longName: string | null
  readonly longLink: string | null
}

/** The bytes of an entry in the archive, without padding. @throws {TarFormatError} */
export function payloadBytes({ header, pax }: EntryParts): number {
  const type = TYPES[header.typeflag]
  // Some writers put the size of the file that it links to into the header of a link; no content follows.
  if (type !== 'file') return 0
  const size = pax?.values.get('size')
  const bytes = size === undefined ? header.sizeBytes : decimal(size, 'size')
  if (bytes < 0 || bytes > Number.MAX_SAFE_INTEGER - BLOCK_BYTES) throw new TarFormatError(`the size is ${bytes} bytes`)
  return bytes
}

/** Puts an entry together; `sizeBytes` is the content's size with its holes. @throws {TarFormatError} */
export function composeEntry(parts: EntryParts, sizeBytes: number): TarEntry {
  const { header, longName, longLink } = parts
  const values = parts.pax?.values ?? NO_RECORDS
  const name = values.get('GNU.sparse.name') ?? values.get('path') ?? longName ?? header.name
  const type = typeOf(header, name)
  const isDevice = type === 'character' || type === 'block'
  const mtime = values.get('mtime')
  const { xattrs, otherRecords } = values.size === 0 ? NOTHING_MORE : sortRecords(values)
  return {
    type,
    name,
    linkname: type === 'symlink' || type === 'link' ? (values.get('linkpath') ?? longLink ?? header.linkname) : '',
    mode: header.mode & 0o7777,
    uid: idOf(values.get('uid'), header.uid, 'uid'),
    gid: idOf(values.get('gid'), header.gid, 'gid'),
    mtime: mtime === undefined ? { seconds: header.mtimeSeconds, nanoseconds: 0 } : readTime(mtime),
    sizeBytes,
    devmajor: isDevice ? inRange(header.devmajor, 0xfff, 'devmajor') : 0,
    devminor: isDevice ? inRange(header.devminor, 0xf_ffff, 'devminor') : 0,
    xattrs,
    otherRecords,
  }
}

function sortRecords(values: ReadonlyMap<string, string>): Pick<TarEntry, 'xattrs' | 'otherRecords'> {
  const xattrs = new Map<string, string>()
  const otherRecords: string[] = []
  for (const [key, value] of values) {
    if (key.startsWith(XATTR_PREFIX)) xattrs.set(key.slice(XATTR_PREFIX.length), value)
    else if (!KNOWN_RECORDS.test(key)) otherRecords.push(key)
  }
  return { xattrs, otherRecords }
}

function typeOf({ typeflag }: TarHeader, name: string): TarEntryType {
  const type = TYPES[typeflag]
  if (type === undefined) throw new TarFormatError(`its type is ${JSON.stringify(typeflag)}, expected 0 to 7 or S`)
  // How the first tar wrote directories.
  return typeflag === '\0' && name.endsWith('/') ? 'directory' : type
}

function idOf(record: string | undefined, field: number, name: string): number {
  return inRange(record === undefined ? field : decimal(record, name), ID_LIMIT, name)
}

function inRange(value: number, max: number, name: string): number {
  if (value < 0 || value > max) throw new TarFormatError(`${name} is ${value}, expected 0 to ${max}`)
  return value
}

/**
 * Checks the sparse map of an entry: ascending, within the file, and as much as the archive holds.
 * @throws {TarFormatError}
 */
export function checkSegments(segments: readonly Segment[], sizeBytes: number, payload: number): void {
  let end = 0
  let total = 0
  for (const { offset, bytes } of segments) {
    if (offset < end || bytes < 0 || offset + bytes > sizeBytes) throw new TarFormatError('the sparse map is malformed')
    end = offset + bytes
    total += bytes
  }
  if (total !== payload) throw new TarFormatError(`the sparse map covers ${total} bytes, expected ${payload}`)
}
