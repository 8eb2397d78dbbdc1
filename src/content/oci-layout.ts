import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { BerthError } from '../lib/error.ts'
import { object, oneOf, parseJson, required } from '../lib/json-shape.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { digestAlgorithm, digestHex } from '../oci/digest.ts'
import { DOCUMENT_LIMIT_BYTES, type Index, parseIndex } from '../oci/manifest.ts'
import { OCI_INDEX } from '../oci/media-types.ts'

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants
const PIECE_BYTES = 256 * 1024
const MARKER = 'oci-layout'

const marker = object<{ readonly imageLayoutVersion: string }>({ imageLayoutVersion: required(oneOf(['1.0.0'])) })

/**
 * An OCI image layout: a directory with `oci-layout`, `index.json` and `blobs/<algorithm>/<encoded>`, opened for reading.
 * A stranger may have made it: no link is followed, nothing but regular files is read, and all content is verified
 * while it is read. Source: image-spec › OCI Image Layout.
 */
export class OciLayout implements AsyncDisposable {
  /** As given; for errors. */
  readonly path: string
  readonly index: Index
  readonly #blobs: FileHandle

  private constructor(path: string, index: Index, blobs: FileHandle) {
    this.path = path
    this.index = index
    this.#blobs = blobs
  }

  /** @throws {BerthError} notFound: no directory; invalidArgument: no layout, or a damaged one */
  static async open(path: string): Promise<OciLayout> {
    await using directory = await openDirectory(path)
    const version = await readText(directory.handle, MARKER, path)
    parseJson(version, `${path}/${MARKER}`, marker)
    const index = parseIndex(await readText(directory.handle, 'index.json', path), `${path}/index.json`, OCI_INDEX)
    return new OciLayout(path, index, await openBelow(directory.handle, 'blobs', O_RDONLY | O_DIRECTORY, path))
  }

  /** The text of a document, whole and verified. @throws {BerthError} as {@link read}, and when it has more than 4 MiB */
  async readDocument(descriptor: Descriptor): Promise<string> {
    if (descriptor.sizeBytes > DOCUMENT_LIMIT_BYTES) {
      throw this.#unusable(descriptor, `it has ${descriptor.sizeBytes} bytes, expected at most ${DOCUMENT_LIMIT_BYTES}`)
    }
    const pieces: Uint8Array[] = []
    for await (const piece of this.read(descriptor)) pieces.push(piece)
    return decodeText(Buffer.concat(pieces), this.#nameOf(descriptor))
  }

  /**
   * The bytes of a blob. They are verified while they are read: only an iteration that ends without an error has
   * given the content that the descriptor names.
   * @throws {BerthError} notFound; invalidArgument: not a regular file, or of another size or digest
   */
  async *read(descriptor: Descriptor): AsyncGenerator<Uint8Array> {
    const { digest, sizeBytes } = descriptor
    const algorithm = digestAlgorithm(digest)
    await using directory = owned(await openBelow(this.#blobs, algorithm, O_RDONLY | O_DIRECTORY, this.path))
    await using file = owned(await openFile(directory.handle, digestHex(digest), `${this.path}/blobs/${algorithm}`))
    const { size } = await file.handle.stat()
    if (size !== sizeBytes) throw this.#unusable(descriptor, `it has ${size} bytes, expected ${sizeBytes}`)
    const hasher = new Bun.CryptoHasher(algorithm)
    let total = 0
    for await (const piece of piecesOf(file.handle)) {
      total += piece.length
      if (total > sizeBytes) throw this.#unusable(descriptor, `it has more than ${sizeBytes} bytes`)
      hasher.update(piece)
      yield piece
    }
    const actual = `${algorithm}:${hasher.digest('hex')}`
    if (total !== sizeBytes || actual !== digest)
      throw this.#unusable(descriptor, `its content has the digest ${actual}`)
  }

  #nameOf({ digest }: Descriptor): string {
    return `blob ${digest} of ${this.path}`
  }

  #unusable(descriptor: Descriptor, why: string): BerthError {
    return new BerthError('invalidArgument', `Cannot read ${this.#nameOf(descriptor)}: ${why}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#blobs.close()
  }
}

interface Owned extends AsyncDisposable {
  readonly handle: FileHandle
}

function owned(handle: FileHandle): Owned {
  return { handle, [Symbol.asyncDispose]: () => handle.close() }
}

/** The layout's own path is the user's: links in it are followed. */
async function openDirectory(path: string): Promise<Owned> {
  try {
    return owned(await open(path, O_RDONLY | O_DIRECTORY))
  } catch (error) {
    throw openError(error, path)
  }
}

/** Opens a name in an open directory. The path through /proc makes of open(2) an openat(2). */
async function openBelow(directory: FileHandle, name: string, flags: number, path: string): Promise<FileHandle> {
  try {
    return await open(`/proc/self/fd/${directory.fd}/${name}`, flags | O_NOFOLLOW)
  } catch (error) {
    throw openError(error, `${path}/${name}`)
  }
}

async function openFile(directory: FileHandle, name: string, path: string): Promise<FileHandle> {
  // O_NONBLOCK: a named pipe must not make it wait.
  const handle = await openBelow(directory, name, O_RDONLY | O_NONBLOCK, path)
  const stat = await handle.stat()
  if (stat.isFile()) return handle
  await handle.close()
  throw new BerthError('invalidArgument', `Cannot open "${path}/${name}": it is no regular file`)
}

function openError(error: unknown, path: string): BerthError {
  const code = (error as NodeJS.ErrnoException).code ?? 'an unknown error'
  if (code === 'ENOENT') return new BerthError('notFound', `Cannot open "${path}": it is not there`, { cause: error })
  const why = code === 'ELOOP' ? 'it is a link' : code === 'ENOTDIR' ? 'it is a link or no directory' : code
  return new BerthError('invalidArgument', `Cannot open "${path}": ${why}`, { cause: error })
}

async function readText(directory: FileHandle, name: string, path: string): Promise<string> {
  await using file = owned(await openFile(directory, name, path))
  const pieces: Uint8Array[] = []
  let total = 0
  for await (const piece of piecesOf(file.handle)) {
    total += piece.length
    if (total > DOCUMENT_LIMIT_BYTES) {
      throw new BerthError(
        'invalidArgument',
        `Cannot read "${path}/${name}": it has more than ${DOCUMENT_LIMIT_BYTES} bytes`,
      )
    }
    pieces.push(piece)
  }
  return decodeText(Buffer.concat(pieces), `"${path}/${name}"`)
}

async function* piecesOf(handle: FileHandle): AsyncGenerator<Uint8Array> {
  for (;;) {
    const buffer = Buffer.allocUnsafe(PIECE_BYTES)
    const { bytesRead } = await handle.read(buffer, 0, PIECE_BYTES, null)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
  }
}

function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new BerthError('invalidArgument', `Cannot read ${name}: it is not UTF-8`, { cause })
  }
}
