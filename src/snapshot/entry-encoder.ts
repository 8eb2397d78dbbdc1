/**
 * Writes the entries that berth-init's step `unpack` executes: docs/plan-protocol.md, "unpack".
 * Texts are byte strings, one char per byte. All numbers are little-endian.
 */

/** Kinds of entry; the same numbers are in native/op-layer.c. */
export const ENTRY_KINDS = {
  end: 0,
  file: 1,
  directory: 2,
  parent: 3,
  symlink: 4,
  link: 5,
  node: 6,
  whiteout: 7,
  attributes: 8,
} as const

/** What an entry sets; what is left out is 0 or empty. */
export interface EntryFields {
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly major?: number
  readonly minor?: number
  readonly mtime?: { readonly seconds: number; readonly nanoseconds: number }
  readonly target?: string
  readonly xattrs?: ReadonlyMap<string, string>
}

const HEADER_BYTES = 48
const CHUNK_BYTES = 16
const INITIAL_BYTES = 512 * 1024
/** What an entry may need besides its header: berth-init holds no more. */
export const ENTRY_TAIL_LIMIT_BYTES = 128 * 1024

/** Collects encoded entries until they are taken. */
export class EntryEncoder {
  #bytes = Buffer.allocUnsafe(INITIAL_BYTES)
  #length = 0

  /** Adds an entry. Path and target hold no NUL. */
  entry(kind: keyof typeof ENTRY_KINDS, path: string, fields: EntryFields = {}): void {
    const target = fields.target ?? ''
    const xattrBytes = sizeOf(fields.xattrs)
    const at = this.#reserve(HEADER_BYTES + path.length + target.length + 2 + xattrBytes)
    const bytes = this.#bytes
    const seconds = fields.mtime?.seconds ?? 0
    const numbers = [
      ENTRY_KINDS[kind],
      fields.mode ?? 0,
      fields.uid ?? 0,
      fields.gid ?? 0,
      fields.major ?? 0,
      fields.minor ?? 0,
      fields.mtime?.nanoseconds ?? 0,
      path.length + 1,
      seconds,
      Math.floor(seconds / 2 ** 32),
      target.length + 1,
      xattrBytes,
    ]
    let to = at
    for (const number of numbers) to = bytes.writeInt32LE(number | 0, to)
    to = this.#text(target, this.#text(path, to))
    for (const [name, value] of fields.xattrs ?? []) {
      to = bytes.writeUInt32LE(value.length, bytes.writeUInt32LE(name.length + 1, to))
      to = this.#text(name, to)
      to += bytes.write(value, to, 'latin1')
    }
  }

  /** Adds a piece of the content of the file that was added last. */
  chunk(offset: number, data: Uint8Array): void {
    const at = this.#chunkHeader(offset, data.length)
    this.#reserve(data.length)
    this.#bytes.set(data, at + CHUNK_BYTES)
  }

  /** Ends the content of the file that was added last. */
  endOfFile(sizeBytes: number): void {
    this.#chunkHeader(sizeBytes, 0)
  }

  #chunkHeader(offset: number, length: number): number {
    const at = this.#reserve(CHUNK_BYTES)
    this.#bytes.writeBigUInt64LE(BigInt(offset), at)
    this.#bytes.writeBigUInt64LE(BigInt(length), at + 8)
    return at
  }

  /** What has been added since the last time. Its memory belongs to the caller. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#length)
    this.#bytes = Buffer.allocUnsafe(INITIAL_BYTES)
    this.#length = 0
    return taken
  }

  /** How many bytes wait to be taken. */
  get length(): number {
    return this.#length
  }

  #text(text: string, to: number): number {
    this.#bytes.write(text, to, 'latin1')
    this.#bytes[to + text.length] = 0
    return to + text.length + 1
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

function sizeOf(xattrs: ReadonlyMap<string, string> | undefined): number {
  let bytes = 0
  for (const [name, value] of xattrs ?? []) bytes += 8 + name.length + 1 + value.length
  return bytes
}
