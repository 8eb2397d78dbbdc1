import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { diskBytes } from '../lib/disk-bytes.ts'
import { BerthError } from '../lib/error.ts'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { errorCode, lstatOrNull, openRegularFile } from './regular-file.ts'
import { type BlobName, verifiedRead } from './verified-read.ts'

/** Something below `blobs` that is not what its name says. */
export interface DamagedBlob {
  readonly path: string
  /** Null: its name is no digest. */
  readonly digest: Digest | null
  /** Such as `it is not there`. */
  readonly why: string
}

/** A blob's file. */
export interface StoredBlob extends BlobName {
  /** What it takes of the disk. */
  readonly diskBytes: number
  /** When it came, in milliseconds since 1970. */
  readonly sinceMs: number
}

type Found =
  | ({ readonly kind: 'blob'; readonly path: string } & StoredBlob)
  | ({ readonly kind: 'other' } & DamagedBlob)

/** What is below a layout's directory `blobs`. */
export async function* listBlobs(blobsPath: string): AsyncGenerator<Found> {
  for (const algorithm of await readdir(blobsPath)) {
    const directory = join(blobsPath, algorithm)
    const stat = await lstatOrNull(directory)
    if (stat === null) continue
    if (!stat.isDirectory()) {
      yield { kind: 'other', path: directory, digest: null, why: 'it is no directory' }
      continue
    }
    for (const encoded of await readdir(directory)) {
      const found = await look(join(directory, encoded), `${algorithm}:${encoded}`)
      if (found !== null) yield found
    }
  }
}

async function look(path: string, name: string): Promise<Found | null> {
  const digest = digestOrNull(name)
  if (digest === null) return { kind: 'other', path, digest, why: 'its name is no digest' }
  const stat = await lstatOrNull(path)
  // It was removed meanwhile.
  if (stat === null) return null
  if (!stat.isFile()) return { kind: 'other', path, digest, why: 'it is no regular file' }
  return { kind: 'blob', path, digest, sizeBytes: stat.size, diskBytes: diskBytes(stat), sinceMs: stat.ctimeMs }
}

/** Reads every blob; of `expected` also what is missing or has another size is reported. */
export async function* verifyBlobs(
  blobsPath: string,
  expected: Iterable<BlobName>,
  signal?: AbortSignal,
): AsyncGenerator<DamagedBlob> {
  const missing = new Map([...expected].map(({ digest, sizeBytes }) => [digest, sizeBytes]))
  for await (const found of listBlobs(blobsPath)) {
    signal?.throwIfAborted()
    if (found.kind === 'other') {
      yield { path: found.path, digest: found.digest, why: found.why }
      if (found.digest !== null) missing.delete(found.digest)
      continue
    }
    const { path, digest } = found
    const sizeBytes = missing.get(digest) ?? found.sizeBytes
    missing.delete(digest)
    const why = await problemOf(path, { digest, sizeBytes }, signal)
    if (why !== null) yield { path, digest, why }
  }
  for (const [digest, sizeBytes] of missing) {
    const path = join(blobsPath, digest.replace(':', '/'))
    // It may have come after its directory was listed.
    const why =
      (await lstatOrNull(path)) === null ? 'it is not there' : await problemOf(path, { digest, sizeBytes }, signal)
    if (why !== null) yield { path, digest, why }
  }
}

/** Null: it is whole, or was removed meanwhile. */
async function problemOf(path: string, blob: BlobName, signal: AbortSignal | undefined): Promise<string | null> {
  try {
    await using file = await openRegularFile(path, path)
    for await (const _ of verifiedRead(file.handle, blob, '', signal));
    return null
  } catch (error) {
    // EIO and its kin: the disk does not give back what it was given.
    if (error instanceof BerthError && error.category === 'notFound') return null
    if (error instanceof BerthError) return error.message.slice(error.message.indexOf(': ') + 2)
    const code = errorCode(error)
    if (code === undefined) throw error
    return code
  }
}

function digestOrNull(text: string): Digest | null {
  try {
    return parseDigest(text)
  } catch (error) {
    if (error instanceof BerthError) return null
    throw error
  }
}
