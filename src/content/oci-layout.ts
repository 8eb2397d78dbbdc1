import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { BerthError } from '../lib/error.ts'
import { object, oneOf, parseJson, required } from '../lib/json-shape.ts'
import { digestAlgorithm, digestHex } from '../oci/digest.ts'
import { DOCUMENT_LIMIT_BYTES, decodeDocument } from '../oci/document.ts'
import { type Index, parseIndex } from '../oci/manifest.ts'
import { OCI_INDEX } from '../oci/media-types.ts'
import { type OwnedFile, openError, openOnly, openRegularFile, owned, piecesOf } from './regular-file.ts'
import { type BlobName, verifiedRead, wholeDocument } from './verified-read.ts'

const { O_RDONLY, O_DIRECTORY } = constants

/** The file that makes a directory a layout. */
export const LAYOUT_MARKER = 'oci-layout'

/** The shape of {@link LAYOUT_MARKER}. */
export const layoutMarker = object<{ readonly imageLayoutVersion: string }>({
  imageLayoutVersion: required(oneOf(['1.0.0'])),
})

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
    const version = await readText(directory.handle, LAYOUT_MARKER, path)
    parseJson(version, `${path}/${LAYOUT_MARKER}`, layoutMarker)
    const index = parseIndex(await readText(directory.handle, 'index.json', path), `${path}/index.json`, OCI_INDEX)
    return new OciLayout(path, index, await openBelow(directory.handle, 'blobs', O_RDONLY | O_DIRECTORY, path))
  }

  /** The text of a document, whole and verified. @throws {BerthError} as {@link read}, and when it has more than 4 MiB */
  async readDocument(descriptor: BlobName): Promise<string> {
    const name = this.#nameOf(descriptor)
    return decodeDocument(await wholeDocument(descriptor, name, this.read(descriptor)), name)
  }

  /**
   * The bytes of a blob. They are verified while they are read: only an iteration that ends without an error has
   * given the content that the descriptor names.
   * @throws {BerthError} notFound; invalidArgument: not a regular file, or of another size or digest
   */
  async *read(descriptor: BlobName, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const algorithm = digestAlgorithm(descriptor.digest)
    await using directory = owned(await openBelow(this.#blobs, algorithm, O_RDONLY | O_DIRECTORY, this.path))
    const name = digestHex(descriptor.digest)
    await using file = await openFile(directory.handle, name, `${this.path}/blobs/${algorithm}`)
    yield* verifiedRead(file.handle, descriptor, this.#nameOf(descriptor), signal)
  }

  #nameOf({ digest }: BlobName): string {
    return `blob ${digest} of ${this.path}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#blobs.close()
  }
}

/** The layout's own path is the user's: links in it are followed. */
async function openDirectory(path: string): Promise<OwnedFile> {
  try {
    return owned(await open(path, O_RDONLY | O_DIRECTORY))
  } catch (error) {
    throw openError(error, path)
  }
}

/** Opens a name in an open directory. The path through /proc makes of open(2) an openat(2). */
async function openBelow(directory: FileHandle, name: string, flags: number, path: string): Promise<FileHandle> {
  return await openOnly(below(directory, name), `${path}/${name}`, flags)
}

function openFile(directory: FileHandle, name: string, path: string): Promise<OwnedFile> {
  return openRegularFile(below(directory, name), `${path}/${name}`)
}

function below(directory: FileHandle, name: string): string {
  return `/proc/self/fd/${directory.fd}/${name}`
}

async function readText(directory: FileHandle, name: string, path: string): Promise<string> {
  await using file = await openFile(directory, name, path)
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
  return decodeDocument(Buffer.concat(pieces), `"${path}/${name}"`)
}
