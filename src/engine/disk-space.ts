import { statfs } from 'node:fs/promises'
import { parseByteSize } from '../lib/byte-size.ts'
import { BerthError } from '../lib/error.ts'

/** What a filesystem has, and what of it is free for users. */
export interface DiskSpace {
  readonly totalBytes: number
  readonly freeBytes: number
  /** 0: it makes inodes as they are needed, so that there is nothing to run out of. */
  readonly totalInodes: number
  readonly freeInodes: number
}

/** So much is to be free. */
export interface FreeGoal {
  readonly bytes: number
  readonly inodes: number
}

/** When to begin to reclaim, and when to stop. */
export interface Watermarks {
  readonly low: FreeGoal
  readonly high: FreeGoal
}

/** What is to be free at least: the default, bytes, or a part of the whole from 0 to 1. 0: whatever there is will do. */
export type KeepFree = 'default' | { readonly bytes: number } | { readonly part: number }

const GIB = 1024 ** 3
/**
 * A seventh of a small disk is what one pull can take; of a large one it would be more than anybody wants to leave unused.
 * Inodes run out later than bytes with images, and there the last part is as good as any other.
 */
const LOW_PART = 0.15
const LOW_BYTES = 20 * GIB
const LOW_INODES_PART = 0.05
/** How much further to go once begun, so that the next command need not begin again. */
const HIGH_FACTOR = 1.5

/** The space on the filesystem of a path (statfs(2)). */
export async function diskSpace(path: string): Promise<DiskSpace> {
  const { bsize, blocks, bavail, files, ffree } = await statfs(path)
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize, totalInodes: files, freeInodes: ffree }
}

/** By default: from 15 % of the bytes, at most 20 GiB, and 5 % of the inodes, up to half as much again. */
export function watermarksOf({ totalBytes, totalInodes }: DiskSpace, keepFree: KeepFree): Watermarks {
  const bytes = wantedBytes(totalBytes, keepFree)
  const inodes = bytes === 0 ? 0 : totalInodes * LOW_INODES_PART
  const low = { bytes: Math.floor(bytes), inodes: Math.floor(inodes) }
  const high = { bytes: Math.floor(bytes * HIGH_FACTOR), inodes: Math.floor(inodes * HIGH_FACTOR) }
  return { low, high: { ...high, bytes: Math.min(high.bytes, totalBytes) } }
}

function wantedBytes(totalBytes: number, keepFree: KeepFree): number {
  if (keepFree === 'default') return Math.min(totalBytes * LOW_PART, LOW_BYTES)
  return 'bytes' in keepFree ? keepFree.bytes : totalBytes * keepFree.part
}

/** Whether that much is free. */
export function isFree({ freeBytes, freeInodes }: DiskSpace, { bytes, inodes }: FreeGoal): boolean {
  return freeBytes >= bytes && freeInodes >= inodes
}

/** Reads `20GiB`, `500m` or `15%`. @throws {BerthError} invalidArgument, naming `what` */
export function parseKeepFree(text: string, what: string): KeepFree {
  const [, percent] = /^(\d+(?:\.\d+)?)%$/.exec(text) ?? []
  if (percent === undefined) return { bytes: Number(parseByteSize(text, what)) }
  if (Number(percent) <= 100) return { part: Number(percent) / 100 }
  throw new BerthError('invalidArgument', `Cannot use ${what} "${text}": expected at most 100%`)
}
