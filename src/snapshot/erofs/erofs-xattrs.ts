/** The beginnings of names that are numbers in the image; those of ACLs are whole names. */
const PREFIXES = [
  ['user.', 1],
  ['system.posix_acl_access', 2],
  ['system.posix_acl_default', 3],
  ['trusted.', 4],
  ['security.', 6],
] as const

const HEADER_BYTES = 12
const ENTRY_BYTES = 4
const SHARED_ID_BYTES = 4
/** A reference takes 4 bytes; the count of them in an inode has 8 bits. */
const SHARED_COUNT_LIMIT = 255
/** Bounds the memory: attributes that come after so many different ones are written with each file. */
const KNOWN_LIMIT = 4096
/** The same for one attribute. Larger ones are signatures of the file's own content. */
const SHARED_BYTES_LIMIT = 4096

/** Encodes extended attributes. One that many files have is in the image once from its second appearance on. */
export class ErofsXattrs {
  /** Null: seen once; a number: where it is among the shared ones. */
  readonly #known = new Map<string, number | null>()
  readonly #shared: Uint8Array[] = []
  #sharedBytes = 0

  /** What follows the inode; empty without attributes. `isAllShared`: where there is little room. */
  encode(xattrs: ReadonlyMap<string, string>, isAllShared = false): Uint8Array {
    if (xattrs.size === 0) return new Uint8Array(0)
    const ids: number[] = []
    const inline: Uint8Array[] = []
    for (const [name, value] of [...xattrs].sort(byName)) {
      const entry = encodeEntry(name, value)
      const id = ids.length < SHARED_COUNT_LIMIT ? this.#share(entry, isAllShared) : null
      if (id === null) inline.push(entry)
      else ids.push(id)
    }
    const header = Buffer.alloc(HEADER_BYTES + ids.length * SHARED_ID_BYTES)
    header.writeUInt8(ids.length, 4)
    for (const [index, id] of ids.entries()) header.writeUInt32LE(id, HEADER_BYTES + index * SHARED_ID_BYTES)
    return Buffer.concat([header, ...inline])
  }

  /** All that inodes refer to, for whole blocks from `xattrBlock` of the superblock on. */
  shared(): Uint8Array {
    return Buffer.concat(this.#shared)
  }

  #share(entry: Uint8Array, isAtOnce: boolean): number | null {
    if (entry.length > SHARED_BYTES_LIMIT && !isAtOnce) return null
    const key = Buffer.from(entry).toString('latin1')
    const known = this.#known.get(key)
    if (typeof known === 'number') return known
    if (known === undefined && !isAtOnce) {
      if (this.#known.size < KNOWN_LIMIT) this.#known.set(key, null)
      return null
    }
    const id = this.#sharedBytes / SHARED_ID_BYTES
    this.#known.set(key, id)
    this.#shared.push(entry)
    this.#sharedBytes += entry.length
    return id
  }
}

function byName([one]: readonly [string, string], [other]: readonly [string, string]): number {
  return one < other ? -1 : 1
}

/** Names and values are byte strings; all names begin with one of the prefixes. */
function encodeEntry(name: string, value: string): Uint8Array {
  const [prefix, index] = PREFIXES.find(([each]) => name.startsWith(each)) ?? ['', 0]
  const rest = name.slice(prefix.length)
  const bytes = Buffer.alloc(Math.ceil((ENTRY_BYTES + rest.length + value.length) / 4) * 4)
  bytes.writeUInt8(rest.length, 0)
  bytes.writeUInt8(index, 1)
  bytes.writeUInt16LE(value.length, 2)
  bytes.write(rest, ENTRY_BYTES, 'latin1')
  bytes.write(value, ENTRY_BYTES + rest.length, 'latin1')
  return bytes
}
