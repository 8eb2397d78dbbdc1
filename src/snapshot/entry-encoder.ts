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
/** From here on a piece of content is handed over as it is: copying it would cost more than sending it by itself. */
const DIRECT_BYTES = 32 * 1024
/** What an entry may need besides its header: berth-init holds no more. */
export const ENTRY_TAIL_LIMIT_BYTES: number = 128 * 1024
const NO_TIME = { seconds: 0, nanoseconds: 0 }
const NO_XATTRS: ReadonlyMap<string, string> = new Map()

/** What makes a layer of entries. Texts are byte strings without a NUL. */
export interface EntrySink {
  entry(kind: keyof typeof ENTRY_KINDS, path: string, fields?: EntryFields): void
  /** A piece of the content of the file that was added last; offsets grow. It may be kept until the caller's next pause. */
  chunk(offset: number, data: Uint8Array): void
  /** Ends the content of the file that was added last. */
  endOfFile(sizeBytes: number): void
}

/** Collects encoded entries until they are taken. */
export class EntryEncoder implements EntrySink {
  #bytes = Buffer.allocUnsafe(INITIAL_BYTES)
  #view = viewOf(this.#bytes)
  /** What was added to the buffer, and from where on it is in no part yet. */
  #end = 0
  #start = 0
  #parts: Uint8Array[] = []
  #partBytes = 0

  /** Adds an entry. Path and target hold no NUL. */
  entry(kind: keyof typeof ENTRY_KINDS, path: string, fields: EntryFields = {}): void {
    const { target = '', xattrs = NO_XATTRS, mtime = NO_TIME } = fields
    const xattrBytes = xattrs.size === 0 ? 0 : sizeOf(xattrs)
    const at = this.#reserve(HEADER_BYTES + path.length + target.length + 2 + xattrBytes)
    const view = this.#view
    view.setUint32(at, ENTRY_KINDS[kind], true)
    view.setUint32(at + 4, fields.mode ?? 0, true)
    view.setUint32(at + 8, fields.uid ?? 0, true)
    view.setUint32(at + 12, fields.gid ?? 0, true)
    view.setUint32(at + 16, fields.major ?? 0, true)
    view.setUint32(at + 20, fields.minor ?? 0, true)
    view.setUint32(at + 24, mtime.nanoseconds, true)
    view.setUint32(at + 28, path.length + 1, true)
    setInt64(view, at + 32, mtime.seconds)
    view.setUint32(at + 40, target.length + 1, true)
    view.setUint32(at + 44, xattrBytes, true)
    let to = this.#text(target, this.#text(path, at + HEADER_BYTES))
    if (xattrBytes === 0) return
    for (const [name, value] of xattrs) {
      view.setUint32(to, name.length + 1, true)
      view.setUint32(to + 4, value.length, true)
      to = this.#text(name, to + 8)
      to += this.#bytes.write(value, to, 'latin1')
    }
  }

  /** Adds a piece of the content of the file that was added last. It may be kept until it is taken. */
  chunk(offset: number, data: Uint8Array): void {
    this.#chunkHeader(offset, data.length)
    if (data.length < DIRECT_BYTES) {
      const at = this.#reserve(data.length)
      this.#bytes.set(data, at)
    } else {
      this.#closePart()
      this.#parts.push(data)
      this.#partBytes += data.length
    }
  }

  /** Ends the content of the file that was added last. */
  endOfFile(sizeBytes: number): void {
    this.#chunkHeader(sizeBytes, 0)
  }

  #chunkHeader(offset: number, length: number): void {
    const at = this.#reserve(CHUNK_BYTES)
    setInt64(this.#view, at, offset)
    setInt64(this.#view, at + 8, length)
  }

  /** What has been added since the last time, in its order. It is lent until something is added again. */
  take(): readonly Uint8Array[] {
    this.#closePart()
    const taken = this.#parts
    this.#parts = []
    this.#partBytes = 0
    this.#start = 0
    this.#end = 0
    return taken
  }

  /** How many bytes wait to be taken. */
  get length(): number {
    return this.#partBytes + this.#end - this.#start
  }

  #closePart(): void {
    if (this.#end > this.#start) this.#parts.push(this.#bytes.subarray(this.#start, this.#end))
    this.#partBytes += this.#end - this.#start
    this.#start = this.#end
  }

  #text(text: string, to: number): number {
    this.#bytes.write(text, to, 'latin1')
    this.#bytes[to + text.length] = 0
    return to + text.length + 1
  }

  #reserve(bytes: number): number {
    const at = this.#end
    this.#end += bytes
    if (this.#end > this.#bytes.length) {
      // What is in parts already stays where it is.
      const grown = Buffer.allocUnsafe(Math.max(this.#end, 2 * this.#bytes.length))
      grown.set(this.#bytes.subarray(this.#start, at), this.#start)
      this.#bytes = grown
      this.#view = viewOf(grown)
    }
    return at
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** A whole number of at most 53 bits, negative ones in two's complement. */
function setInt64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true)
  view.setInt32(at + 4, Math.floor(value / 2 ** 32), true)
}

function sizeOf(xattrs: ReadonlyMap<string, string>): number {
  let bytes = 0
  for (const [name, value] of xattrs) bytes += 8 + name.length + 1 + value.length
  return bytes
}
