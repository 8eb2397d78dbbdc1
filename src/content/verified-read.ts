import type { FileHandle } from 'node:fs/promises'
import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { digestAlgorithm } from '../oci/digest.ts'
import { DOCUMENT_LIMIT_BYTES } from '../oci/document.ts'
import { piecesOf } from './regular-file.ts'

/** What content is found and verified by. */
export type BlobName = Pick<Descriptor, 'digest' | 'sizeBytes'>

/**
 * The bytes of an open blob, verified while they are read: only an iteration that ends without an error has given the
 * content that the name stands for. `shown` is what the blob is called in errors.
 * @throws {BerthError} invalidArgument: of another size or digest
 */
export async function* verifiedRead(
  handle: FileHandle,
  { digest, sizeBytes }: BlobName,
  shown: string,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const algorithm = digestAlgorithm(digest)
  const { size } = await handle.stat()
  if (size !== sizeBytes) throw unreadable(shown, `it has ${size} bytes, expected ${sizeBytes}`)
  const hasher = new Bun.CryptoHasher(algorithm)
  let total = 0
  for await (const piece of piecesOf(handle)) {
    signal?.throwIfAborted()
    total += piece.length
    if (total > sizeBytes) throw unreadable(shown, `it has more than ${sizeBytes} bytes`)
    hasher.update(piece)
    yield piece
  }
  const actual = `${algorithm}:${hasher.digest('hex')}`
  if (total !== sizeBytes || actual !== digest) throw unreadable(shown, `its content has the digest ${actual}`)
}

/**
 * All of a document at once. Its size is judged before a byte is read.
 * @throws {BerthError} invalidArgument: larger than a document may be; and what the reading throws
 */
export async function wholeDocument(
  { sizeBytes }: BlobName,
  shown: string,
  pieces: AsyncIterable<Uint8Array>,
): Promise<Uint8Array> {
  if (sizeBytes > DOCUMENT_LIMIT_BYTES) {
    throw unreadable(shown, `it has ${sizeBytes} bytes, expected at most ${DOCUMENT_LIMIT_BYTES}`)
  }
  const read: Uint8Array[] = []
  for await (const piece of pieces) read.push(piece)
  return read.length === 1 && read[0] !== undefined ? read[0] : Buffer.concat(read)
}

function unreadable(shown: string, why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot read ${shown}: ${why}`)
}
