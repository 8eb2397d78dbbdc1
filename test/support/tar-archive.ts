/** Writes tar archives for tests, well-formed ones and others. */

/** What a test says of an entry; the rest is usual. Texts are byte strings. */
export interface ArchiveEntry {
  readonly name: string
  readonly type?: string
  readonly content?: string | Uint8Array
  readonly linkname?: string
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly mtime?: number
  readonly devmajor?: number
  readonly devminor?: number
  /** Records of an extended header before it. */
  readonly pax?: Readonly<Record<string, string>>
  /** Changes the finished header before its checksum is computed. */
  readonly edit?: (header: Buffer) => void
}

const BLOCK = 512

/** An archive with two blocks of zeros at its end. */
export function archive(...entries: readonly ArchiveEntry[]): Buffer {
  return Buffer.concat([...entries.map(encodeEntry), Buffer.alloc(2 * BLOCK)])
}

/** One entry, with its extended header when it has one. */
export function encodeEntry(entry: ArchiveEntry): Buffer {
  const records = Object.entries(entry.pax ?? {}).map(([key, value]) => paxRecord(key, value))
  const extended = records.length === 0 ? [] : [plainEntry({ name: 'pax', type: 'x', content: records.join('') })]
  return Buffer.concat([...extended, plainEntry(entry)])
}

/** One record, with its own length in front. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = rest.length
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length
  return `${length}${rest}`
}

function plainEntry(entry: ArchiveEntry): Buffer {
  const content = Buffer.from(
    typeof entry.content === 'string' ? Buffer.from(entry.content, 'latin1') : (entry.content ?? []),
  )
  const header = Buffer.alloc(BLOCK)
  const number = (value: number, offset: number, size: number): void => {
    if (value >= 0 && value < 8 ** (size - 1)) header.write(value.toString(8).padStart(size - 1, '0'), offset)
    else {
      header.writeBigInt64BE(BigInt(value), offset + size - 8)
      header.fill(value < 0 ? 0xff : 0, offset, offset + size - 8)
      header[offset] = value < 0 ? 0xff : 0x80
    }
  }
  header.write(entry.name.slice(0, 100), 0, 'latin1')
  number(entry.mode ?? 0o644, 100, 8)
  // Seven octal digits end at 2,097,151; larger ids are written in base 256, of which an 8-byte field holds 7 bytes.
  idNumber(header, entry.uid ?? 0, 108)
  idNumber(header, entry.gid ?? 0, 116)
  number(content.length, 124, 12)
  number(entry.mtime ?? 1_000_000_000, 136, 12)
  header.write(entry.type ?? '0', 156, 'latin1')
  header.write((entry.linkname ?? '').slice(0, 100), 157, 'latin1')
  header.write('ustar\x0000', 257, 'latin1')
  number(entry.devmajor ?? 0, 329, 8)
  number(entry.devminor ?? 0, 337, 8)
  entry.edit?.(header)
  header.fill(' ', 148, 156)
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  )
  return Buffer.concat([header, content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)])
}

function idNumber(header: Buffer, value: number, offset: number): void {
  if (value < 8 ** 7) header.write(value.toString(8).padStart(7, '0'), offset)
  else {
    header.writeUInt32BE(value, offset + 4)
    header[offset] = 0x80
  }
}
