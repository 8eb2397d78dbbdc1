import { BerthError } from '../lib/error.ts'
import { type CommitBlobOptions, type Ingestion, shownName } from './ingestion.ts'
import type { BlobName } from './verified-read.ts'

/** The ingestion of a blob that is there already: nothing is left to write. */
export class StoredIngestion implements Ingestion {
  readonly offset: number
  readonly #blob: BlobName
  readonly #read: () => AsyncIterable<Uint8Array>

  constructor(blob: BlobName, read: () => AsyncIterable<Uint8Array>) {
    this.offset = blob.sizeBytes
    this.#blob = blob
    this.#read = read
  }

  adopted(): AsyncIterable<Uint8Array> {
    return this.#read()
  }

  async write(piece: Uint8Array): Promise<void> {
    if (piece.length === 0) return
    throw new BerthError(
      'invalidArgument',
      `Cannot store ${shownName(this.#blob)}: it has more than ${this.#blob.sizeBytes} bytes`,
    )
  }

  async commit({ beforeVisible }: CommitBlobOptions = {}): Promise<BlobName> {
    beforeVisible?.(this.#blob.digest)
    return this.#blob
  }

  async discard(): Promise<void> {
    // It is others' too.
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing is held.
  }
}
