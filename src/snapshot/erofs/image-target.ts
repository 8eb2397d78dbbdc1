import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { BerthError } from '../../lib/error.ts'
import { type Digest, digestHex } from '../../oci/digest.ts'
import type { UnpackTarget } from '../unpack-target.ts'
import { ErofsTree } from './erofs-tree.ts'

/** Layers are not written to. */
const IMAGE_MODE = 0o400
/** stat(2) counts blocks of this size, whatever the filesystem's own are. */
const STAT_BLOCK_BYTES = 512
const UUID_BYTES = 16

/**
 * A file, by its absolute path, that is made an EROFS image. This process writes to it and to nothing else, whatever the archive says, so
 * that there is nobody to confine.
 */
export class ImageTarget implements UnpackTarget {
  readonly sink: ErofsTree
  readonly failure: Promise<never> = new Promise(() => undefined)
  readonly #fd: number
  readonly #uuid: Uint8Array

  constructor(path: string, diffId: Digest) {
    this.#uuid = uuidOf(diffId)
    this.#fd = openSync(path, 'wx', IMAGE_MODE)
    this.sink = new ErofsTree((position, bytes) => writeAt(this.#fd, position, bytes))
  }

  advance(): Promise<void> {
    return Promise.resolve()
  }

  finish(): Promise<number> {
    // What stands at the end may be a hole.
    ftruncateSync(this.#fd, this.sink.finish(this.#uuid))
    return Promise.resolve(fstatSync(this.#fd).blocks * STAT_BLOCK_BYTES)
  }

  [Symbol.asyncDispose](): Promise<void> {
    closeSync(this.#fd)
    return Promise.resolve()
  }
}

/** Waits for the disk's cache only; the process has nothing else to do. */
function writeAt(fd: number, position: number, bytes: Uint8Array): void {
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, position + at)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw cause
    throw new BerthError('unavailable', `Cannot unpack the layer: the disk is full (${code})`, { cause })
  }
}

/** The digest's first bytes as a UUID of version 8, whose content is up to who makes it (RFC 9562, section 5.8). */
function uuidOf(diffId: Digest): Uint8Array {
  const uuid = Buffer.from(digestHex(diffId).slice(0, 2 * UUID_BYTES), 'hex')
  uuid[6] = ((uuid[6] ?? 0) & 0x0f) | 0x80
  uuid[8] = ((uuid[8] ?? 0) & 0x3f) | 0x80
  return uuid
}
