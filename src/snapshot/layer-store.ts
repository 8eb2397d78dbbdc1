import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BerthError } from '../lib/error.ts'
import { flag, integer, object, parseJson, required } from '../lib/json-shape.ts'
import { TarParser } from '../lib/tar/parser.ts'
import { type Digest, digestAlgorithm, digestHex } from '../oci/digest.ts'
import { decompress } from './decompress.ts'
import { LayerComposer } from './layer-composer.ts'
import { makingName, removeLeftovers, removeTree } from './leftovers.ts'
import { DEFAULT_UNPACK_LIMITS, type UnpackLimits } from './unpack-limits.ts'
import { UnpackProcess } from './unpack-process.ts'

/**
 * Layers, each unpacked once and alone, in directories named by the digest of the uncompressed archive (the diffID):
 *
 *     <data root>/layers/sha256/<hex>/root/        what overlayfs takes as a lower directory
 *     <data root>/layers/sha256/<hex>/layer.json   what was found out on the way
 *     <data root>/layers/.making-<pid>-…/          the same, incomplete
 *
 * A layer appears by one rename when it is complete and its digest is verified; it never changes after that.
 * So it is there or not whatever gets killed, and no lock is needed: of two processes that unpack the same layer
 * at once the first one's stays. Layers need no parents, so that all layers of an image can be unpacked at the same time.
 */
export interface Layer {
  readonly diffId: Digest
  /** Absolute path of the directory for overlayfs. */
  readonly path: string
  /** Layers below this one are not to be seen at all: it has an opaque whiteout in its root. */
  readonly isOpaque: boolean
  readonly entryCount: number
  /** The sizes of its files, holes included. */
  readonly contentBytes: number
}

/** How to unpack one layer. */
export interface UnpackOptions {
  readonly limits?: UnpackLimits
  /** Told what is left out of the layer. */
  readonly warn?: (message: string) => void
  readonly signal?: AbortSignal
}

type Facts = Pick<Layer, 'isOpaque' | 'entryCount' | 'contentBytes'>

const FACTS = 'layer.json'
const ROOT = 'root'
const ROOT_MODE = 0o755
/** Enough to keep berth-init busy, little enough to hold. */
const SEND_BYTES = 256 * 1024

const count = required(integer(0, Number.MAX_SAFE_INTEGER))
const facts = object<Facts>({ isOpaque: required(flag), entryCount: count, contentBytes: count })

/** The layers below one data root. */
export class LayerStore {
  readonly #directory: string
  readonly #unpacking = new Map<Digest, Promise<Layer>>()

  private constructor(directory: string) {
    this.#directory = directory
  }

  /** Opens the store below an absolute path, making it when missing, and removes what killed processes left. */
  static async open(dataRoot: string): Promise<LayerStore> {
    const directory = join(dataRoot, 'layers')
    await mkdir(dataRoot, { recursive: true, mode: 0o711 })
    // No user of the host shall execute a setuid program of an image (CVE-2021-41091).
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await removeLeftovers(directory)
    return new LayerStore(directory)
  }

  /** The layer, or null when it is not unpacked. @throws {BerthError} invalidArgument: its layer.json is damaged */
  async find(diffId: Digest): Promise<Layer | null> {
    const directory = this.#pathOf(diffId)
    try {
      const path = join(directory, FACTS)
      const { value } = parseJson(await readFile(path, 'utf8'), path, facts)
      return { diffId, path: join(directory, ROOT), ...value }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  }

  /**
   * The layer, unpacked from its blob (compressed or not) when it is not there; `open` is called only then.
   * On throw nothing of it remains.
   * @throws {BerthError} invalidArgument: not a tar archive, an entry with no place in a layer, or another digest than `diffId`;
   * unavailable: a limit is exceeded, the disk is full; whatever reading the blob throws
   */
  async unpack(diffId: Digest, open: () => AsyncIterable<Uint8Array>, options: UnpackOptions = {}): Promise<Layer> {
    const found = this.#unpacking.get(diffId) ?? (await this.find(diffId))
    if (found !== null) return await found
    // Another caller may have begun while this one looked.
    const unpacking = this.#unpacking.get(diffId) ?? this.#make(diffId, open(), options)
    this.#unpacking.set(diffId, unpacking)
    try {
      return await unpacking
    } finally {
      this.#unpacking.delete(diffId)
    }
  }

  async #make(diffId: Digest, blob: AsyncIterable<Uint8Array>, options: UnpackOptions): Promise<Layer> {
    const name = makingName()
    const making = join(this.#directory, name)
    await mkdir(join(making, ROOT), { recursive: true, mode: ROOT_MODE })
    try {
      const value = await unpackInto(join(making, ROOT), diffId, blob, options)
      await writeFile(join(making, FACTS), `${JSON.stringify(value)}\n`)
      const directory = this.#pathOf(diffId)
      await mkdir(join(directory, '..'), { recursive: true })
      const isFirst = await renameUnlessThere(making, directory)
      if (!isFirst) await removeTree(this.#directory, name)
      return { diffId, path: join(directory, ROOT), ...value }
    } catch (error) {
      await removeTree(this.#directory, name)
      throw namingLayer(error, diffId)
    }
  }

  #pathOf(diffId: Digest): string {
    return join(this.#directory, digestAlgorithm(diffId), digestHex(diffId))
  }
}

/** Whether it was not there yet. */
async function renameUnlessThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOTEMPTY' || code === 'EEXIST') return false
    throw error
  }
}

function namingLayer(error: unknown, diffId: Digest): unknown {
  if (!(error instanceof BerthError)) return error
  const why = error.message.replace(/^Cannot unpack the layer: /, '')
  return new BerthError(error.category, `Cannot unpack layer "${diffId}": ${why}`, { cause: error })
}

/** Reads, decides, hands over, and verifies: the archive never is in memory as a whole. */
async function unpackInto(
  target: string,
  diffId: Digest,
  blob: AsyncIterable<Uint8Array>,
  { limits = DEFAULT_UNPACK_LIMITS, warn = () => undefined, signal }: UnpackOptions,
): Promise<Facts> {
  const hasher = new Bun.CryptoHasher(digestAlgorithm(diffId))
  const composer = new LayerComposer(limits, message => warn(`layer ${diffId}: ${message}`))
  const parser = new TarParser(composer)
  await using unpacking = new UnpackProcess(target)
  for await (const piece of decompress(blob, limits)) {
    signal?.throwIfAborted()
    hasher.update(piece)
    parser.push(piece)
    if (composer.encoder.length >= SEND_BYTES) await unpacking.send(composer.encoder.take())
  }
  parser.finish()
  const actual = `${digestAlgorithm(diffId)}:${hasher.digest('hex')}`
  if (actual !== diffId) {
    throw new BerthError('invalidArgument', `Cannot verify the layer: its content has the digest ${actual}`)
  }
  for (const _ of composer.finish()) {
    if (composer.encoder.length >= SEND_BYTES) await unpacking.send(composer.encoder.take())
  }
  await unpacking.send(composer.encoder.take())
  await unpacking.finish()
  const { isRootOpaque: isOpaque, entryCount, contentBytes } = composer
  return { isOpaque, entryCount, contentBytes }
}
