import type { Ingestion } from '../content/ingestion.ts'
import type { BlobName } from '../content/verified-read.ts'
import { BerthError } from '../lib/error.ts'
import { TarParser } from '../lib/tar/parser.ts'
import type { Digest } from '../oci/digest.ts'
import { parseDigest } from '../oci/digest.ts'
import { DOCUMENT_LIMIT_BYTES } from '../oci/document.ts'
import { ArchiveEntries, type ArchiveEvent } from './archive-entries.ts'
import type { Lease } from './lease.ts'
import { type OnProgress, progressId } from './progress.ts'

/** Where the blobs of an archive go. */
export interface BlobTarget {
  ingest(expected: BlobName | null, signal?: AbortSignal): Promise<Ingestion>
}

/** A file of an archive that is in the content store now. */
export interface ArchivedBlob extends BlobName {
  /** Its first bytes, which tell how a layer is compressed. */
  readonly head: Uint8Array
}

/** What an archive holds. */
export interface ArchiveContents {
  /** The documents that say what the blobs are, by name: `manifest.json`, `index.json`, `oci-layout`. */
  readonly documents: ReadonlyMap<string, string>
  readonly blobs: ReadonlyMap<string, ArchivedBlob>
  /** Symbolic links, by name. */
  readonly links: ReadonlyMap<string, string>
}

/** How to read an archive. */
export interface ReadArchiveOptions {
  readonly lease: Lease
  readonly onProgress: OnProgress
  readonly signal?: AbortSignal
}

const DOCUMENTS: ReadonlySet<string> = new Set(['manifest.json', 'index.json', 'oci-layout'])
/** What older programs read instead of manifest.json, once per layer. */
const LEGACY = /(?:^|\/)(?:VERSION|json|repositories)$/
const HEAD_BYTES = 6
/** Only a layout says in a blob's name what its digest is; other names are their writers' own. */
const LAYOUT_BLOB = /^blobs\/(sha256|sha512)\/([0-9a-f]+)$/

/**
 * Reads an uncompressed image archive in one pass. Its files go into the content store as they come, held by the lease; those that are
 * named by a digest must have it. On throw what is complete stays, as content that nothing needs.
 * @throws {BerthError} invalidArgument: not a tar archive, an entry that no image archive has, a wrong digest; unavailable: the disk is full
 */
export async function readArchive(
  archive: AsyncIterable<Uint8Array>,
  target: BlobTarget,
  options: ReadArchiveOptions,
): Promise<ArchiveContents> {
  const entries = new ArchiveEntries()
  const parser = new TarParser(entries)
  await using reader = new Reader(target, options)
  for await (const piece of archive) {
    options.signal?.throwIfAborted()
    parser.push(piece)
    for (const event of entries.take()) await reader.apply(event)
  }
  parser.finish()
  for (const event of entries.take()) await reader.apply(event)
  return reader
}

/** A file that is being read. */
type Current =
  | { readonly kind: 'document'; readonly name: string; readonly pieces: Uint8Array[] }
  | { readonly kind: 'blob'; readonly name: string; readonly sizeBytes: number; ingestion: Ingestion; head: Uint8Array }
  | { readonly kind: 'skipped' }

class Reader implements ArchiveContents, AsyncDisposable {
  readonly documents = new Map<string, string>()
  readonly blobs = new Map<string, ArchivedBlob>()
  readonly links = new Map<string, string>()
  readonly #target: BlobTarget
  readonly #options: ReadArchiveOptions
  #current: Current = { kind: 'skipped' }
  /** How much of the current blob has been read, and how much of what comes is stored already: by a broken load, or another image. */
  #position = 0
  #skipBytes = 0

  constructor(target: BlobTarget, options: ReadArchiveOptions) {
    this.#target = target
    this.#options = options
  }

  async apply(event: ArchiveEvent): Promise<void> {
    switch (event.kind) {
      case 'link':
        this.links.set(event.name, event.target)
        break
      case 'file':
        this.#current = await this.#begin(event.name, event.sizeBytes)
        break
      case 'data':
        await this.#data(event.bytes)
        break
      case 'end':
        await this.#end()
        break
    }
  }

  async #begin(name: string, sizeBytes: number): Promise<Current> {
    if (DOCUMENTS.has(name)) {
      if (sizeBytes <= DOCUMENT_LIMIT_BYTES) return { kind: 'document', name, pieces: [] }
      throw new BerthError(
        'invalidArgument',
        `Cannot load ${name}: it has ${sizeBytes} bytes, expected at most ${DOCUMENT_LIMIT_BYTES}`,
      )
    }
    if (LEGACY.test(name)) return { kind: 'skipped' }
    const digest = digestOf(name)
    if (digest !== null) this.#options.lease.hold('blob', [digest])
    const expected = digest === null ? null : { digest, sizeBytes }
    const ingestion = await this.#target.ingest(expected, this.#options.signal)
    return { kind: 'blob', name, sizeBytes, ingestion, head: new Uint8Array(0) }
  }

  async #data(bytes: Uint8Array): Promise<void> {
    const current = this.#current
    if (current.kind === 'document') {
      current.pieces.push(bytes)
      return
    }
    if (current.kind === 'skipped') return
    if (current.head.length < HEAD_BYTES) {
      current.head = Buffer.concat([current.head, bytes.subarray(0, HEAD_BYTES - current.head.length)])
    }
    await this.#write(current, bytes)
  }

  async #write(current: Extract<Current, { readonly kind: 'blob' }>, bytes: Uint8Array): Promise<void> {
    const { ingestion, sizeBytes, name } = current
    if (this.#position === 0) this.#skipBytes = ingestion.offset
    const skipped = Math.min(bytes.length, this.#skipBytes)
    this.#skipBytes -= skipped
    this.#position += bytes.length
    if (skipped < bytes.length) await ingestion.write(bytes.subarray(skipped))
    const id = progressId(name.split('/').find(part => /^[0-9a-f]{12}/.test(part)) ?? name)
    this.#options.onProgress({ id, kind: 'loading', currentBytes: this.#position, totalBytes: sizeBytes })
  }

  async #end(): Promise<void> {
    const current = this.#current
    this.#current = { kind: 'skipped' }
    this.#position = 0
    if (current.kind === 'document') this.documents.set(current.name, textOf(current.pieces, current.name))
    if (current.kind !== 'blob') return
    await using ingestion = current.ingestion
    // Not every name says the digest.
    const beforeVisible = (digest: Digest): void => this.#options.lease.hold('blob', [digest])
    const blob = await ingestion.commit({ beforeVisible })
    this.blobs.set(current.name, { ...blob, head: current.head })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#current.kind === 'blob') await this.#current.ingestion[Symbol.asyncDispose]()
  }
}

/** @throws {BerthError} invalidArgument: not as many digits as the algorithm has */
function digestOf(name: string): Digest | null {
  const [, algorithm, hex] = LAYOUT_BLOB.exec(name) ?? []
  return hex === undefined ? null : parseDigest(`${algorithm}:${hex}`)
}

function textOf(pieces: readonly Uint8Array[], name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(pieces))
  } catch (cause) {
    throw new BerthError('invalidArgument', `Cannot load ${name}: it is not UTF-8`, { cause })
  }
}
