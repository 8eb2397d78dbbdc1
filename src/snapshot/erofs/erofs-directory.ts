import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../../linux/open-flags.ts'
import { BLOCK_BYTES } from './erofs-format.ts'

/** One name in a directory. */
export interface ErofsName {
  /** A byte string. */
  readonly name: string
  readonly nid: number
  /** Of {@link fileType}. */
  readonly type: number
}

const ENTRY_BYTES = 12
const TYPES: ReadonlyMap<number, number> = new Map([
  [S_IFREG, 1],
  [S_IFDIR, 2],
  [S_IFCHR, 3],
  [S_IFBLK, 4],
  [S_IFIFO, 5],
  [S_IFLNK, 7],
])

/** The number that stands for a type of file in directories. */
export function fileType(mode: number): number {
  return TYPES.get(mode & S_IFMT) ?? 0
}

/** The size of a directory of these names, sorted: all its blocks are full but for what no entry fits in, the last apart. */
export function directoryBytes(names: readonly string[]): number {
  let blocks = 0
  let used = 0
  for (const name of names) {
    const bytes = ENTRY_BYTES + name.length
    if (used + bytes > BLOCK_BYTES) {
      blocks++
      used = 0
    }
    used += bytes
  }
  return blocks * BLOCK_BYTES + used
}

/**
 * The blocks of a directory. Each holds its entries and then their names, so that look-ups need one of them; names are in the order of
 * their bytes, `.` and `..` among them.
 */
export function* directoryBlocks(sorted: readonly ErofsName[]): Generator<Uint8Array> {
  for (let start = 0; start < sorted.length; ) {
    let end = start
    let used = 0
    for (; end < sorted.length; end++) {
      const bytes = ENTRY_BYTES + (sorted[end]?.name.length ?? 0)
      if (used + bytes > BLOCK_BYTES) break
      used += bytes
    }
    yield encodeBlock(sorted.slice(start, end), end === sorted.length ? used : BLOCK_BYTES)
    start = end
  }
}

function encodeBlock(names: readonly ErofsName[], byteCount: number): Uint8Array {
  const bytes = Buffer.alloc(byteCount)
  let nameAt = names.length * ENTRY_BYTES
  for (const [index, { name, nid, type }] of names.entries()) {
    const at = index * ENTRY_BYTES
    bytes.writeBigUInt64LE(BigInt(nid), at)
    bytes.writeUInt16LE(nameAt, at + 8)
    bytes.writeUInt8(type, at + 10)
    nameAt += bytes.write(name, nameAt, 'latin1')
  }
  return bytes
}
