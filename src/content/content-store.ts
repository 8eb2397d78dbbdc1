import { lstatSync, unlinkSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ownIdentity, type ProcessIdentity, sameProcess } from '../host/process-identity.ts'
import { diskBytes } from '../lib/disk-bytes.ts'
import { BerthError } from '../lib/error.ts'
import { parseJson } from '../lib/json-shape.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { type Digest, digestAlgorithm, digestHex, parseDigest } from '../oci/digest.ts'
import { formatIndex } from '../oci/manifest-format.ts'
import { OCI_INDEX } from '../oci/media-types.ts'
import { replaceFile, storageError, syncDirectory } from './durable-file.ts'
import { FileIngestion, type Ingestion } from './ingestion.ts'
import { LAYOUT_MARKER, layoutMarker } from './oci-layout.ts'
import { newPartialName, type PartialName, parsePartialName } from './partial-name.ts'
import { errorCode, lstatOrNull, openRegularFile } from './regular-file.ts'
import { StoredIngestion } from './stored-ingestion.ts'
import { type BlobName, verifiedRead, wholeDocument } from './verified-read.ts'
import { type DamagedBlob, listBlobs, type StoredBlob, verifyBlobs } from './verify-blobs.ts'

const ALGORITHMS = ['sha256', 'sha512'] as const

/** What an ingestion has left. */
export interface PartialFile {
  readonly path: string
  readonly sizeBytes: number
  /** What it takes of the disk. */
  readonly diskBytes: number
}

/** Who has not come back after this time won't; and what it fetches from may have changed. */
const PARTIAL_LIFETIME_MS = 7 * 24 * 3600 * 1000

/**
 * Content by digest, in an OCI image layout of which other tools can read too:
 *
 *     <data root>/content/oci-layout, index.json
 *     <data root>/content/blobs/<algorithm>/<hex>     complete and verified; never changed, only removed
 *     <data root>/content/ingest/…                    on their way; see partial-name.ts
 *
 * Whether a blob is there is told by the file system alone; why it must stay is told by the tables of src/image. There are no
 * locks: a blob appears by one rename, and each writer has a file of its own. Processes that share a store must see each other in /proc.
 *
 *     await using ingestion = await store.ingest(layer)
 *     for await (const piece of registry.openBlob(reference, layer, { offset: ingestion.offset })) await ingestion.write(piece)
 *     await ingestion.commit()
 */
export class ContentStore {
  /** The layout's directory. */
  readonly path: string
  readonly #boot: string
  readonly #self: ProcessIdentity

  private constructor(path: string, boot: string) {
    this.path = path
    this.#boot = boot
    this.#self = ownIdentity()
  }

  /**
   * Opens the store below a data root, an absolute path, and makes it the first time. What was left of ingestions and is of no
   * use is removed.
   * @throws {BerthError} invalidArgument: a layout of another version; unavailable: the disk is full
   */
  static async open(dataRoot: string): Promise<ContentStore> {
    const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    const store = new ContentStore(join(dataRoot, 'content'), bootId.slice(0, 8))
    await store.#prepare()
    await store.removeLeftovers()
    return store
  }

  async #prepare(): Promise<void> {
    const markerPath = join(this.path, LAYOUT_MARKER)
    // A copy of a store that another tool made does not have it.
    await mkdir(join(this.path, 'ingest'), { recursive: true, mode: 0o700 })
    try {
      parseJson(await readFile(markerPath, 'utf8'), markerPath, layoutMarker)
      return
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error
    }
    const directories = ['blobs', ...ALGORITHMS.map(each => `blobs/${each}`)]
    for (const each of directories) await mkdir(join(this.path, each), { recursive: true, mode: 0o700 })
    for (const each of ['blobs', '', '..']) await syncDirectory(join(this.path, each))
    await this.writeIndex([])
    // Last: a directory with the marker is a whole store.
    await replaceFile(markerPath, Buffer.from('{"imageLayoutVersion":"1.0.0"}'), this.#ownPartialPath(null))
  }

  /**
   * Sees to it that the blobs which are there survive a loss of power, whoever put them there: their content is on the disk, their names
   * need not be yet. To be called before something that survives it refers to them, once for all of them.
   * @throws {BerthError} unavailable: the disk is broken
   */
  async keep(): Promise<void> {
    try {
      await Promise.all(ALGORITHMS.map(each => syncDirectory(join(this.path, 'blobs', each))))
    } catch (error) {
      throw storageError(error, `Cannot write "${this.path}"`)
    }
  }

  /** The size of a blob in bytes; null when it is not there. What is no regular file is not there: an ingestion replaces it. */
  async find(digest: Digest): Promise<number | null> {
    const stat = await lstatOrNull(this.#blobPath(digest))
    return stat?.isFile() ? stat.size : null
  }

  /**
   * The bytes of a blob, verified while they are read: only an iteration that ends without an error has given the content.
   * @throws {BerthError} notFound; invalidArgument: no regular file, or of another size or digest
   */
  async *read(blob: BlobName, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const path = this.#blobPath(blob.digest)
    await using file = await openRegularFile(path, path)
    yield* verifiedRead(file.handle, blob, this.#shown(blob), signal)
  }

  /** A whole document, verified. @throws {BerthError} as {@link read}; invalidArgument: more than 4 MiB */
  async readDocument(blob: BlobName, signal?: AbortSignal): Promise<Uint8Array> {
    return await wholeDocument(blob, this.#shown(blob), this.read(blob, signal))
  }

  /**
   * Begins to store a blob; null when its digest is not known beforehand (it gets a sha256 one, which `commit()` tells
   * before the blob is visible). Goes on with what a process that
   * has ended, or an ingestion that was given up, left of the same digest; that is read once to be hashed.
   * @throws {BerthError} unavailable: the disk is full
   */
  async ingest(expected: BlobName | null, signal?: AbortSignal): Promise<Ingestion> {
    if (expected !== null) {
      if ((await this.find(expected.digest)) === expected.sizeBytes) {
        return new StoredIngestion(expected, () => this.read(expected, signal))
      }
      const adopted = await this.#adopt(expected, signal)
      if (adopted !== null) return adopted
    }
    return await FileIngestion.create(this.#place, expected, this.#ownPartialName(expected?.digest ?? null))
  }

  /** Stores a document; like any blob it survives a loss of power after {@link keep}. @throws {BerthError} unavailable: the disk is full */
  async put(bytes: Uint8Array): Promise<BlobName> {
    const digest = parseDigest(`sha256:${new Bun.CryptoHasher('sha256').update(bytes).digest('hex')}`)
    await using ingestion = await this.ingest({ digest, sizeBytes: bytes.length })
    if (ingestion.offset < bytes.length) await ingestion.write(bytes.subarray(ingestion.offset))
    return await ingestion.commit()
  }

  /**
   * Removes blobs, and returns how many bytes they had. Without waiting, so that it can stand in the transaction that has found them
   * unused; nobody else calls it. Who reads one reads on.
   */
  removeNow(digests: Iterable<Digest>): number {
    let freedBytes = 0
    for (const digest of digests) {
      const path = this.#blobPath(digest)
      const stat = lstatSync(path, { throwIfNoEntry: false })
      if (stat === undefined) continue
      unlinkSync(path)
      freedBytes += stat.size
    }
    return freedBytes
  }

  /** All blobs that are there, in no order; of those that come or go meanwhile, some. */
  async *list(): AsyncGenerator<StoredBlob> {
    for await (const found of listBlobs(join(this.path, 'blobs'))) {
      if (found.kind !== 'blob') continue
      const { digest, sizeBytes, diskBytes, sinceMs } = found
      yield { digest, sizeBytes, diskBytes, sinceMs }
    }
  }

  /**
   * Reads everything, and names what is damaged: other content than the name says, something else than a blob. Of `expected`,
   * what the caller's tables say is there, also what is missing and what has another size.
   */
  verify(expected: Iterable<BlobName> = [], signal?: AbortSignal): AsyncGenerator<DamagedBlob> {
    return verifyBlobs(join(this.path, 'blobs'), expected, signal)
  }

  /** Replaces index.json, by which other tools find the images; nothing here reads it. @throws {BerthError} unavailable */
  async writeIndex(manifests: readonly Descriptor[]): Promise<void> {
    const index = formatIndex({ schemaVersion: 2, mediaType: OCI_INDEX, manifests })
    await replaceFile(join(this.path, 'index.json'), index, this.#ownPartialPath(null))
  }

  /**
   * Removes what ingestions have left and nobody can go on with, or has for `lifetimeMs`; 0 removes all that no living process
   * writes. Returns the bytes freed.
   */
  async removeLeftovers(lifetimeMs = PARTIAL_LIFETIME_MS): Promise<number> {
    let freedBytes = 0
    for (const { path, sizeBytes } of await this.leftovers(lifetimeMs)) {
      await rm(path, { force: true, recursive: true })
      freedBytes += sizeBytes
    }
    return freedBytes
  }

  /** What {@link removeLeftovers} would remove. */
  async leftovers(lifetimeMs = PARTIAL_LIFETIME_MS): Promise<readonly PartialFile[]> {
    const found: PartialFile[] = []
    for (const name of await readdir(join(this.path, 'ingest'))) {
      const partial = parsePartialName(name)
      if (partial !== null && this.#isLive(partial)) continue
      const path = join(this.path, 'ingest', name)
      const stat = await lstatOrNull(path)
      if (stat === null) continue
      const isUseful = partial !== null && partial.boot === this.#boot && partial.digest !== null && stat.size > 0
      const isStored = isUseful && partial.digest !== null && (await this.find(partial.digest)) !== null
      if (isUseful && !isStored && Date.now() - stat.mtimeMs < lifetimeMs) continue
      found.push({ path, sizeBytes: stat.size, diskBytes: diskBytes(stat) })
    }
    return found
  }

  /** Takes over the longest partial file of a blob and removes the others that nobody writes. */
  async #adopt(expected: BlobName, signal: AbortSignal | undefined): Promise<Ingestion | null> {
    let adopted: Ingestion | null = null
    for (const name of await this.#orphansOf(expected.digest)) {
      const own = this.#ownPartialName(expected.digest)
      try {
        await rename(join(this.path, 'ingest', name), join(this.path, 'ingest', own))
      } catch (error) {
        // ENOENT: another one was first.
        if (errorCode(error) !== 'ENOENT') throw error
        continue
      }
      if (adopted === null) adopted = await this.#adoptFile(expected, own, signal)
      else await rm(join(this.path, 'ingest', own), { force: true, recursive: true })
    }
    return adopted
  }

  async #adoptFile(expected: BlobName, own: string, signal: AbortSignal | undefined): Promise<Ingestion | null> {
    try {
      return await FileIngestion.adopt(this.#place, expected, own, signal)
    } catch (error) {
      if (!(error instanceof BerthError && error.category === 'invalidArgument')) throw error
      // A link or a pipe: nothing that an ingestion has left.
      await rm(join(this.path, 'ingest', own), { force: true, recursive: true })
      return null
    }
  }

  /** The partial files of a blob that nobody writes, the longest first. */
  async #orphansOf(digest: Digest): Promise<readonly string[]> {
    const sized: { readonly name: string; readonly size: number }[] = []
    for (const name of await readdir(join(this.path, 'ingest'))) {
      const partial = parsePartialName(name)
      if (partial?.digest !== digest || partial.boot !== this.#boot || this.#isLive(partial)) continue
      const stat = await lstatOrNull(join(this.path, 'ingest', name))
      if (stat !== null) sized.push({ name, size: stat.size })
    }
    return sized.sort((a, b) => b.size - a.size).map(({ name }) => name)
  }

  #isLive({ boot, owner }: PartialName): boolean {
    return boot === this.#boot && owner !== null && sameProcess(owner)
  }

  #ownPartialName(digest: Digest | null): string {
    return newPartialName({ digest, boot: this.#boot, owner: this.#self })
  }

  #ownPartialPath(digest: Digest | null): string {
    return join(this.path, 'ingest', this.#ownPartialName(digest))
  }

  get #place() {
    return {
      ingestPath: join(this.path, 'ingest'),
      boot: this.#boot,
      blobPath: (digest: Digest) => this.#blobPath(digest),
    }
  }

  #blobPath(digest: Digest): string {
    return join(this.path, 'blobs', digestAlgorithm(digest), digestHex(digest))
  }

  #shown({ digest }: BlobName): string {
    return `blob ${digest} of ${this.path}`
  }
}
