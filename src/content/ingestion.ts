import { constants } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { BerthError } from '../lib/error.ts'
import { type Digest, type DigestAlgorithm, digestAlgorithm, parseDigest } from '../oci/digest.ts'
import { storageError } from './durable-file.ts'
import { newPartialName } from './partial-name.ts'
import { errorCode, openRegularFile, piecesOf } from './regular-file.ts'
import type { BlobName } from './verified-read.ts'

/** Pieces of the network are some KiB: fewer, larger writes. A piece of this size is written as it is, without a copy. */
const WRITE_BYTES = 1024 * 1024

/** Enough that waiting for the disk's confirmation costs little, and little enough that the last wait is short. */
const SYNC_BYTES = 8 * 1024 * 1024

/**
 * One blob on its way into the store. Nobody sees it before `commit()` has verified it and its bytes are on the disk; after that it
 * stays, whatever gets killed, and after `ContentStore.keep()` also when the power goes. Disposed of without a commit, what was written
 * is kept for the next ingestion of the same digest to go on with.
 */
export interface Ingestion extends AsyncDisposable {
  /** How many bytes are there: where the source is to go on. More than 0 at first when a partial file was found. */
  readonly offset: number
  /** The bytes that were there at first, for one who unpacks the blob on its way. They are verified by `commit()` only. */
  adopted(): AsyncIterable<Uint8Array>
  /**
   * Adds bytes; one call at a time. They may be changed once the promise is fulfilled. A failure to write may be told by a later call.
   * @throws {BerthError} invalidArgument: more bytes than were named; unavailable: the disk is full. Nothing is kept then.
   */
  write(piece: Uint8Array): Promise<void>
  /**
   * Verifies the blob and makes it visible. Idempotent towards others: who comes second replaces it with the same bytes.
   * @throws {BerthError} invalidArgument: too short (kept), or of another digest (not kept); unavailable: the disk is full;
   * whatever `beforeVisible` throws, and nothing is kept then
   */
  commit(options?: CommitBlobOptions): Promise<BlobName>
  /** Ends it and removes what was written. */
  discard(): Promise<void>
}

/** How to end an ingestion. */
export interface CommitBlobOptions {
  /**
   * Called with the verified digest before anybody can find the blob. Whose digest was not known beforehand is held here: a moment later
   * it would be garbage to a collector that is at work.
   */
  readonly beforeVisible?: (digest: Digest) => void
}

/** Where an ingestion writes to and moves its file to. */
export interface IngestionPlace {
  readonly ingestPath: string
  readonly boot: string
  blobPath(digest: Digest): string
}

/** An ingestion into a file of its own. */
export class FileIngestion implements Ingestion {
  readonly #place: IngestionPlace
  readonly #expected: BlobName | null
  readonly #path: string
  readonly #file: FileHandle
  readonly #algorithm: DigestAlgorithm
  readonly #hasher: Bun.CryptoHasher
  #isOpen = true
  #adoptedBytes = 0
  #offset = 0
  /** Bytes that wait to be written, and how many of them are filled. */
  #buffer: Buffer | null = null
  #filled = 0
  #spare: Buffer | null = null
  #writing: Promise<void> = Promise.resolve()
  #unsyncedBytes = 0
  #isSyncing = false
  #syncing: Promise<void> = Promise.resolve()

  private constructor(place: IngestionPlace, expected: BlobName | null, path: string, file: FileHandle) {
    this.#place = place
    this.#expected = expected
    this.#path = path
    this.#file = file
    this.#algorithm = expected === null ? 'sha256' : digestAlgorithm(expected.digest)
    this.#hasher = new Bun.CryptoHasher(this.#algorithm)
  }

  /** Begins with nothing. @throws {BerthError} unavailable: the disk is full */
  static async create(place: IngestionPlace, expected: BlobName | null, name: string): Promise<FileIngestion> {
    const path = join(place.ingestPath, name)
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL
    try {
      return new FileIngestion(place, expected, path, await open(path, flags, 0o600))
    } catch (error) {
      throw storageError(error, `Cannot store ${shownName(expected)}`)
    }
  }

  /** Goes on with a partial file, which is this process's by its name. Null, and it is removed, when it is of no use. */
  static async adopt(
    place: IngestionPlace,
    expected: BlobName,
    name: string,
    signal: AbortSignal | undefined,
  ): Promise<FileIngestion | null> {
    const path = join(place.ingestPath, name)
    const { handle } = await openRegularFile(path, path, constants.O_RDWR)
    const ingestion = new FileIngestion(place, expected, path, handle)
    const { size, nlink } = await handle.stat()
    // A second name would be a way to change the bytes after they are verified.
    if (size === 0 || size > expected.sizeBytes || nlink !== 1) {
      await ingestion.discard()
      return null
    }
    ingestion.#adoptedBytes = size
    try {
      for await (const piece of piecesOf(handle)) {
        signal?.throwIfAborted()
        ingestion.#hasher.update(piece)
        ingestion.#offset += piece.length
      }
      return ingestion
    } catch (error) {
      await ingestion[Symbol.asyncDispose]()
      throw error
    }
  }

  get offset(): number {
    return this.#offset
  }

  async *adopted(): AsyncGenerator<Uint8Array> {
    let left = this.#adoptedBytes
    if (left === 0) return
    for await (const piece of piecesOf(this.#file)) {
      const wanted = piece.subarray(0, left)
      left -= wanted.length
      yield wanted
      if (left === 0) return
    }
  }

  async write(piece: Uint8Array): Promise<void> {
    this.#checkOpen()
    const expected = this.#expected
    if (expected !== null && this.#offset + piece.length > expected.sizeBytes) {
      await this.discard()
      throw this.#unusable(`it has more than ${expected.sizeBytes} bytes`)
    }
    try {
      await this.#append(piece)
    } catch (error) {
      throw await this.#failed(error)
    }
  }

  /** Hashing is done here while the kernel copies what came before. */
  async #append(piece: Uint8Array): Promise<void> {
    if (piece.length >= WRITE_BYTES) {
      await this.#flush()
      const writing = this.#writeAt(piece, this.#offset)
      this.#hash(piece)
      await writing
      return
    }
    const at = this.#offset
    this.#hash(piece)
    for (let taken = 0; taken < piece.length; ) {
      this.#buffer ??= this.#spare ?? Buffer.allocUnsafeSlow(this.#bufferBytes(at))
      const count = Math.min(piece.length - taken, this.#buffer.length - this.#filled)
      this.#buffer.set(piece.subarray(taken, taken + count), this.#filled)
      this.#filled += count
      taken += count
      if (this.#filled === this.#buffer.length) await this.#flushBehind(at + taken)
    }
  }

  #bufferBytes(at: number): number {
    return Math.max(1, Math.min(WRITE_BYTES, (this.#expected?.sizeBytes ?? WRITE_BYTES) - at))
  }

  #hash(piece: Uint8Array): void {
    this.#hasher.update(piece)
    this.#offset += piece.length
  }

  /** Writes the buffer, which ends at `end`, while the other one is filled. */
  async #flushBehind(end: number): Promise<void> {
    const buffer = this.#buffer
    if (buffer === null || this.#filled === 0) return
    const bytes = buffer.subarray(0, this.#filled)
    this.#buffer = null
    this.#filled = 0
    this.#spare = null
    await this.#writing
    this.#writing = this.#writeAt(bytes, end - bytes.length).then(() => {
      this.#spare = buffer
    })
    // Its failure is thrown where it is awaited; until then it is not unhandled.
    this.#writing.catch(() => undefined)
  }

  async #flush(): Promise<void> {
    await this.#flushBehind(this.#offset)
    await this.#writing
  }

  async #writeAt(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, position + done)
      done += bytesWritten
    }
    this.#unsyncedBytes += bytes.length
    if (this.#unsyncedBytes >= SYNC_BYTES && !this.#isSyncing) this.#syncBehind()
  }

  /** Begins to write to the disk what the kernel has, so that the commit need not wait for all of it. */
  #syncBehind(): void {
    this.#unsyncedBytes = 0
    this.#isSyncing = true
    this.#syncing = this.#file.datasync().finally(() => {
      this.#isSyncing = false
    })
    // The kernel tells a failure once: it is thrown where it is awaited, by the commit.
    this.#syncing.catch(() => undefined)
  }

  async commit({ beforeVisible }: CommitBlobOptions = {}): Promise<BlobName> {
    this.#checkOpen()
    try {
      await this.#flush()
    } catch (error) {
      throw await this.#failed(error)
    }
    const expected = this.#expected
    if (expected !== null && this.#offset !== expected.sizeBytes) {
      throw this.#unusable(`it ends after ${this.#offset} bytes, expected ${expected.sizeBytes}`)
    }
    const digest = parseDigest(`${this.#algorithm}:${this.#hasher.digest('hex')}`)
    if (expected !== null && digest !== expected.digest) {
      await this.discard()
      throw this.#unusable(`its content has the digest ${digest}`)
    }
    try {
      await this.#syncing
      await this.#file.datasync()
      beforeVisible?.(digest)
      await rename(this.#path, this.#place.blobPath(digest))
    } catch (error) {
      throw await this.#failed(error)
    }
    this.#isOpen = false
    await this.#file.close()
    return { digest, sizeBytes: this.#offset }
  }

  async discard(): Promise<void> {
    if (!this.#isOpen) return
    this.#isOpen = false
    // Not even a failed write may go on in a file that is closed: its descriptor could be another file's by then.
    await Promise.allSettled([this.#writing, this.#syncing])
    await this.#file.close()
    await rm(this.#path, { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOpen) return
    const digest = this.#expected?.digest ?? null
    if (digest === null || (this.#offset === 0 && this.#adoptedBytes === 0)) return this.discard()
    try {
      await this.#flush()
      await this.#syncing
    } catch (error) {
      // A disposal reports nothing: the bytes can't be kept, and the room they take is wanted.
      await this.#failed(error)
      return
    }
    this.#isOpen = false
    await this.#file.close()
    const free = newPartialName({ digest, boot: this.#place.boot, owner: null })
    try {
      await rename(this.#path, join(this.#place.ingestPath, free))
    } catch (error) {
      // ENOENT: somebody has emptied the directory; then there is nothing to keep. ENOSPC: the disk is full, and wants what it can get.
      if (errorCode(error) === 'ENOSPC') await rm(this.#path, { force: true })
      else if (errorCode(error) !== 'ENOENT') throw error
    }
  }

  /** Gives the room back, and says what happened. */
  async #failed(error: unknown): Promise<unknown> {
    await this.discard()
    return storageError(error, `Cannot store ${shownName(this.#expected)}`)
  }

  #checkOpen(): void {
    if (!this.#isOpen)
      throw new BerthError('conflict', `Cannot store ${shownName(this.#expected)}: its ingestion has ended`)
  }

  #unusable(why: string): BerthError {
    return new BerthError('invalidArgument', `Cannot store ${shownName(this.#expected)}: ${why}`)
  }
}

/** What an ingestion calls its blob in errors. */
export function shownName(expected: BlobName | null): string {
  return expected === null ? 'a blob' : `blob "${expected.digest}"`
}
