/**
 * The on-disk format of EROFS as far as layers need it: uncompressed, blocks of 4 KiB, extended inodes. All numbers are little-endian.
 * An inode's number (nid) is its position in units of 32 bytes, as the inodes begin with block 0 here.
 * Source: Linux › Documentation/filesystems/erofs.rst; fs/erofs/erofs_fs.h.
 */
import type { Timestamp } from '../../lib/tar/pax.ts'

/** The unit of addresses, and what no inode with its inline content crosses. */
export const BLOCK_BYTES = 4096
/** An extended inode: ids of 32 bits, times with nanoseconds. Real layers have files of many times, which compact inodes can't tell. */
export const INODE_BYTES = 64
/** Block addresses have 32 bits. */
export const BLOCKS_LIMIT: number = 2 ** 32 - 1

const SUPERBLOCK_AT = 1024
const SUPERBLOCK_BYTES = 128
const BLOCK_BITS = 12
const MAGIC = 0xe0f5e1e2
/** The superblock has a checksum; inodes hold the time of modification, not that of change. */
const FEATURE_COMPAT = 0x1 | 0x2
const NID_BYTES = 32

/** The root's inode stands behind the superblock: its nid has only 16 bits there. */
export const ROOT_AT: number = SUPERBLOCK_AT + SUPERBLOCK_BYTES

/** The nid of the inode at a position of the image. */
export function nidAt(position: number): number {
  return position / NID_BYTES
}

/** The position of the inode with a nid. */
export function positionOf(nid: number): number {
  return nid * NID_BYTES
}

/** Inodes begin at multiples of this many bytes. */
export function alignInode(position: number): number {
  return Math.ceil(position / NID_BYTES) * NID_BYTES
}

/** Where an inode's content is: in blocks of its own, or its last part, shorter than a block, behind inode and attributes. */
export type ErofsLayout = 'plain' | 'inline'

const LAYOUTS: Readonly<Record<ErofsLayout, number>> = { plain: 0, inline: 2 }
const EXTENDED = 1

/** What an inode says. */
export interface ErofsInode {
  /** With the type of the file. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: Timestamp
  readonly linkCount: number
  readonly sizeBytes: number
  readonly layout: ErofsLayout
  /** The first block of the content, or the number of a device. */
  readonly address: number
  /** The attributes behind it, a multiple of 4. */
  readonly xattrBytes: number
  /** For tools: the kernel goes by the nid. */
  readonly number: number
}

const XATTR_HEADER_BYTES = 12
/** Where the count of links is in an inode. */
export const LINK_COUNT_AT = 44

/** Writes an inode. */
export function encodeInode(view: DataView, at: number, inode: ErofsInode): void {
  const { xattrBytes } = inode
  view.setUint16(at, EXTENDED | (LAYOUTS[inode.layout] << 1), true)
  view.setUint16(at + 2, xattrBytes === 0 ? 0 : 1 + (xattrBytes - XATTR_HEADER_BYTES) / 4, true)
  view.setUint16(at + 4, inode.mode, true)
  view.setBigUint64(at + 8, BigInt(inode.sizeBytes), true)
  view.setUint32(at + 16, inode.address, true)
  view.setUint32(at + 20, inode.number, true)
  view.setUint32(at + 24, inode.uid, true)
  view.setUint32(at + 28, inode.gid, true)
  view.setBigInt64(at + 32, BigInt(inode.mtime.seconds), true)
  view.setUint32(at + 40, inode.mtime.nanoseconds, true)
  view.setUint32(at + LINK_COUNT_AT, inode.linkCount, true)
}

/** A device number as the kernel's new_encode_dev() writes it. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0
}

/** What the superblock says. */
export interface ErofsSuperblock {
  readonly inodeCount: number
  readonly blockCount: number
  /** Where the shared attributes begin. */
  readonly xattrBlock: number
  /** 16 bytes. */
  readonly uuid: Uint8Array
}

/** Writes the superblock, last: its checksum is over all of the first block behind the boot sector. */
export function encodeSuperblock(
  firstBlock: Uint8Array,
  { inodeCount, blockCount, xattrBlock, uuid }: ErofsSuperblock,
): void {
  const view = new DataView(firstBlock.buffer, firstBlock.byteOffset + SUPERBLOCK_AT, SUPERBLOCK_BYTES)
  view.setUint32(0, MAGIC, true)
  view.setUint32(4, 0, true)
  view.setUint32(8, FEATURE_COMPAT, true)
  view.setUint8(12, BLOCK_BITS)
  view.setUint16(14, nidAt(ROOT_AT), true)
  view.setBigUint64(16, BigInt(inodeCount), true)
  view.setUint32(36, blockCount, true)
  view.setUint32(44, xattrBlock, true)
  firstBlock.set(uuid.subarray(0, 16), SUPERBLOCK_AT + 48)
  view.setUint32(4, crc32c(firstBlock.subarray(SUPERBLOCK_AT)), true)
}

/** Castagnoli's, reflected. */
const POLYNOMIAL = 0x82f63b78

/** Without the inversion at the end, as the kernel's crc32c(~0, …). */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
  }
  return crc >>> 0
}
