import { renameSync } from 'node:fs'
import { lstat, mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { diskBytes } from '../lib/disk-bytes.ts'
import { BerthError } from '../lib/error.ts'
import { type Digest, digestAlgorithm, digestHex, parseDigest } from '../oci/digest.ts'
import { readDriverChoice } from './driver-choice.ts'
import type { LayerFacts } from './layer-job.ts'
import { LAYER_IMAGE } from './layer-mount.ts'
import { keepLayer, LAYER_RECORD, readLayerFacts, unkeptSince, writeLayerRecord } from './layer-record.ts'
import { makingName, removeLeftovers, removeTree, removingName, syncFilesystem } from './leftovers.ts'
import { treeUsage } from './tree-usage.ts'
import { unkeptMarker } from './unkept-layers.ts'
import { DEFAULT_UNPACK_LIMITS, type UnpackLimits } from './unpack-limits.ts'

/**
 * Layers, each unpacked once and alone, in directories named by the digest of the uncompressed archive (the diffID):
 *
 *     <data root>/layers/sha256/<hex>/root/        what overlayfs takes as a lower directory
 *     <data root>/layers/sha256/<hex>/layer.erofs  the same in one EROFS image instead, where the driver is erofs
 *     <data root>/layers/sha256/<hex>/layer.json   what was found out on the way, see layer-record.ts
 *     <data root>/layers/.making-<pid>-…/          the same, incomplete
 *     <data root>/layers/.removing-<pid>-…/        the same, not used any more
 *
 * A layer appears by one rename when it is complete and its digest is verified; it never changes after that.
 * So it is there or not whatever gets killed, and no lock is needed: of two processes that unpack the same layer
 * at once the first one's stays. Layers need no parents, so that all layers of an image can be unpacked at the same time.
 * It counts for the boot in which it was unpacked; that it is there after a loss of power, too, is seen to later, by `keep()`:
 *
 *     <data root>/unkept-layers    some may need that, the last of them came at its time
 */
export interface Layer extends LayerFacts {
  readonly diffId: Digest
  /** Absolute path of the directory for overlayfs, or of the image that holds it. */
  readonly path: string
}

/** A layer's directory, whole or not. */
export interface StoredLayer {
  readonly diffId: Digest
  /** What all of it takes of the disk, as `du` counts. */
  readonly diskBytes: number
  /** When it came, in milliseconds since 1970. */
  readonly sinceMs: number
}

/** How to unpack one layer. */
export interface UnpackOptions {
  readonly limits?: UnpackLimits
  /** Told what is left out of the layer. */
  readonly warn?: (message: string) => void
  /** Cancels at once, also while the blob is waited for. */
  readonly signal?: AbortSignal
}

const ROOT = 'root'
/** The kernel begins to write after 30 s, and looks every 5 s (vm.dirty_expire_centisecs, proc_sys_vm(5)). */
const REST_MS = 60_000
const ROOT_MODE = 0o755
/** How often a directory is replaced whose layer a loss of power has cut off, while others do the same. */
const REPLACE_ATTEMPTS = 10

/** The layers below one data root. */
export class LayerStore {
  readonly #directory: string
  readonly #unpacking = new Map<Digest, Promise<Layer>>()
  readonly #condemned = new Set<string>()

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

  /** The store as it is, for {@link find} on the way to a container: what {@link open} does would be most of what that takes. */
  static existing(dataRoot: string): LayerStore {
    return new LayerStore(join(dataRoot, 'layers'))
  }

  /** The layer, or null when it is not unpacked. @throws {BerthError} invalidArgument: its layer.json is damaged */
  async find(diffId: Digest): Promise<Layer | null> {
    const directory = this.#pathOf(diffId)
    const facts = readLayerFacts(directory)
    return facts === null ? null : { diffId, path: pathIn(directory, facts), ...facts }
  }

  /** What a layer takes on the disk, as `du` counts its tree; null when it is not there. @throws as {@link find} */
  async sizeOf(diffId: Digest): Promise<number | null> {
    return (await this.find(diffId))?.diskBytes ?? null
  }

  /** The layers that are there, also those that a loss of power has made useless: each can be condemned. */
  async list(): Promise<readonly Digest[]> {
    const found: Digest[] = []
    const algorithms = (await readdir(this.#directory)).filter(name => !name.startsWith('.'))
    for (const algorithm of algorithms) {
      for (const hex of await readdir(join(this.#directory, algorithm))) found.push(parseDigest(`${algorithm}:${hex}`))
    }
    return found
  }

  /** What there is on the disk, each layer with what it takes there; those that come or go meanwhile, some. */
  async *stored(): AsyncGenerator<StoredLayer> {
    for (const diffId of await this.list()) {
      const directory = this.#pathOf(diffId)
      const stat = await lstat(directory).catch(nullIfGone)
      if (stat === null) continue
      const record = await lstat(join(directory, LAYER_RECORD)).catch(nullIfGone)
      const unpackedBytes = await this.sizeOf(diffId).catch(nullIfDamaged)
      // Of a layer that is no use any more it is not written down.
      const measured = unpackedBytes === null ? await treeUsage(directory, { extents: false }) : null
      const below = measured?.uniqueBytes ?? (unpackedBytes ?? 0) + (record === null ? 0 : diskBytes(record))
      yield { diffId, diskBytes: diskBytes(stat) + below, sinceMs: stat.ctimeMs }
    }
  }

  /**
   * The layer, unpacked from its blob (compressed or not) when it is not there; `open` is called only then, and iterated to
   * its end: what it throws there, because the blob is not the one it should be, keeps the layer from appearing.
   * It is decompressed, hashed and parsed in another process; waits for its turn when many are unpacked at once.
   * On throw nothing of it remains.
   * @throws {BerthError} invalidArgument: not a tar archive, an entry with no place in a layer, or another digest than `diffId`;
   * unavailable: a limit is exceeded, the disk is full; cancelled: the process that unpacks was killed; whatever reading the blob throws
   */
  async unpack(diffId: Digest, open: () => AsyncIterable<Uint8Array>, options: UnpackOptions = {}): Promise<Layer> {
    const found = this.#unpacking.get(diffId) ?? (await this.find(diffId))
    if (found !== null) return await found
    // Another caller may have begun while this one looked.
    const unpacking = this.#unpacking.get(diffId) ?? this.#make(diffId, open, options)
    this.#unpacking.set(diffId, unpacking)
    try {
      return await unpacking
    } finally {
      this.#unpacking.delete(diffId)
    }
  }

  /**
   * Sees to it that layers will still be there, whole, after a loss of power; until then they count for this boot. Most of the time
   * this is one stat(2). It waits for the disk, so it is not called on the way to anything; and it leaves alone what came within
   * `restMs`: the kernel writes that by itself soon, and then there is little to wait for.
   * @throws {StepError} the disk has failed
   */
  async keep(restMs: number = REST_MS): Promise<void> {
    const marked = await lstat(this.#marker).catch(nullIfGone)
    if (marked === null) return
    const pending = (await this.list()).map(diffId => this.#pathOf(diffId)).filter(each => unkeptSinceIn(each) !== null)
    await using handles = new AsyncDisposableStack()
    const settled: string[] = []
    for (const directory of pending) {
      const handle = await open(directory).catch(nullIfGone)
      if (handle === null) continue
      handles.use(handle)
      // By its handle: a layer that replaces this one meanwhile is not on the disk.
      const held = `/proc/self/fd/${handle.fd}`
      const since = unkeptSinceIn(held)
      // A time to come is one of before the clock was set back.
      if (since !== null && Math.abs(Date.now() - since) >= restMs) settled.push(held)
    }
    if (settled.length > 0) await syncFilesystem(this.#directory)
    await Promise.all(settled.map(each => keepLayer(each, join(this.#directory, makingName()))))
    const now = await lstat(this.#marker).catch(nullIfGone)
    if (settled.length === pending.length && now?.mtimeMs === marked.mtimeMs) await rm(this.#marker, { force: true })
  }

  /**
   * Takes layers away, so that from now on they are not there; their space is free after {@link removeCondemned}, or after
   * the next `open()` if this process dies before. Synchronous: it stands inside a transaction in which nothing refers to them.
   * Those that are not there do not matter. @returns the layers that were there
   */
  condemnNow(diffIds: Iterable<Digest>): readonly Digest[] {
    return [...diffIds].filter(diffId => {
      const name = removingName()
      try {
        renameSync(this.#pathOf(diffId), join(this.#directory, name))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
        throw error
      }
      this.#condemned.add(name)
      return true
    })
  }

  /** Removes what {@link condemnNow} has taken away. @throws {StepError} */
  async removeCondemned(): Promise<void> {
    for (const name of this.#condemned) {
      await removeTree(this.#directory, name)
      this.#condemned.delete(name)
    }
  }

  async #make(diffId: Digest, open: () => AsyncIterable<Uint8Array>, options: UnpackOptions): Promise<Layer> {
    const { limits = DEFAULT_UNPACK_LIMITS, warn = () => undefined, signal } = options
    const name = makingName()
    const making = join(this.#directory, name)
    const form = readDriverChoice(dirname(this.#directory)) === 'erofs' ? 'erofs' : 'directory'
    const target = pathIn(making, { form })
    await mkdir(form === 'erofs' ? making : target, { recursive: true, mode: ROOT_MODE })
    try {
      // On the start path of a container nothing is unpacked.
      const { unpackElsewhere } = await import('./layer-workers.ts')
      const told = { warn: (message: string) => warn(`layer ${diffId}: ${message}`), signal }
      const facts = await unpackElsewhere({ form, target, diffId, limits }, open, told)
      await writeLayerRecord(making, facts)
      await writeFile(this.#marker, '')
      return await this.#publish(diffId, name, { diffId, path: pathIn(this.#pathOf(diffId), facts), ...facts })
    } catch (error) {
      await removeTree(this.#directory, name)
      throw namingLayer(error, diffId)
    }
  }

  /** Gives a complete layer its name, unless another process was faster. */
  async #publish(diffId: Digest, name: string, made: Layer): Promise<Layer> {
    const directory = this.#pathOf(diffId)
    await mkdir(join(directory, '..'), { recursive: true })
    for (let attempt = 1; ; attempt++) {
      if (await renameUnlessThere(join(this.#directory, name), directory)) break
      const found = await this.find(diffId)
      if (found !== null) {
        await removeTree(this.#directory, name)
        return found
      }
      if (attempt === REPLACE_ATTEMPTS) throw new BerthError('conflict', `Cannot replace "${directory}": it is in use`)
      this.condemnNow([diffId])
    }
    await this.removeCondemned()
    return made
  }

  get #marker(): string {
    return unkeptMarker(dirname(this.#directory))
  }

  #pathOf(diffId: Digest): string {
    return join(this.#directory, digestAlgorithm(diffId), digestHex(diffId))
  }
}

/** Where a layer is in its directory. */
function pathIn(directory: string, { form }: Pick<LayerFacts, 'form'>): string {
  return join(directory, form === 'erofs' ? LAYER_IMAGE : ROOT)
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

function nullIfGone(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null
  throw error
}

/** Null also for a record that is damaged: that is for who needs the layer to say. */
function unkeptSinceIn(directory: string): number | null {
  try {
    return unkeptSince(directory)
  } catch (error) {
    return nullIfDamaged(error)
  }
}

function nullIfDamaged(error: unknown): null {
  if (error instanceof BerthError && error.category === 'invalidArgument') return null
  throw error
}

function namingLayer(error: unknown, diffId: Digest): unknown {
  if (!(error instanceof BerthError)) return error
  const why = error.message.replace(/^Cannot unpack the layer: /, '')
  return new BerthError(error.category, `Cannot unpack layer "${diffId}": ${why}`, { cause: error })
}
