import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { ContentUsage, type StoredItem } from '../image/content-usage.ts'
import { type ImageRecord, imageId } from '../image/image-record.ts'
import { forgetUnused } from '../image/remove-image.ts'
import { removeOrphans } from '../image/remove-orphans.ts'
import type { Digest } from '../oci/digest.ts'
import { removeTree } from '../snapshot/leftovers.ts'
import { type DiskSpace, diskSpace, type FreeGoal, isFree } from './disk-space.ts'
import { findLeftovers, type LeftoverDirectory } from './find-leftovers.ts'
import type { EngineWithImages } from './open-images.ts'
import { removeContainerDirectory } from './prepare-container.ts'
import { withReserve } from './space-reserve.ts'
import { sweepContainers } from './sweep.ts'

/** What to collect. */
export interface CollectOptions {
  /** Only tell what would go. Default: false. */
  readonly isDry?: boolean
  /** Images that nobody needs go until so much is free; null: all images stay. */
  readonly goal: FreeGoal | null
  /** What came, or was used, less long ago stays: somebody may be about to use it, or to go on with it. */
  readonly minAgeMs: number
  readonly signal?: AbortSignal
}

/** Something that went, or would go. */
export interface Removal {
  readonly kind: 'partial' | 'blob' | 'layer' | 'image' | LeftoverDirectory['kind']
  /** A digest, a container's id, or the name of a file. */
  readonly id: string
  readonly why: string
  /** What it took of the disk; of an image what only it needed. */
  readonly diskBytes: number
}

/**
 * Garbage collection: removes what nothing needs. First what crashes have left (partial blobs, directories), then content that no
 * image, container or running transfer needs, then, until enough is free, images that have no name, are not pinned and that no
 * container was made of, the least recently used first. Everything else stays, always.
 * Safe beside whatever other processes do: all is decided in transactions, and killed at any moment it has removed a part.
 */
export async function collectGarbage(engine: EngineWithImages, options: CollectOptions): Promise<readonly Removal[]> {
  const collection = new Collection(engine, options, await diskSpace(engine.roots.data))
  if (options.isDry === true) return await collection.run()
  return await withReserve(engine.roots.data, () => collection.run())
}

/** One collection on its way. */
class Collection {
  readonly #engine: EngineWithImages
  readonly #options: CollectOptions
  readonly #before: DiskSpace
  readonly #removals: Removal[] = []

  constructor(engine: EngineWithImages, options: CollectOptions, before: DiskSpace) {
    this.#engine = engine
    this.#options = options
    this.#before = before
  }

  /** Can be done again when it failed: what has gone is gone, and is told of once. */
  async run(): Promise<readonly Removal[]> {
    const { isDry = false, goal } = this.#options
    if (!isDry) {
      // Where there has never been a container no storage driver need be chosen.
      if (existsSync(join(this.#engine.roots.data, 'containers'))) await sweepContainers(this.#engine)
      this.#engine.images.records.forgetDeadLeases()
    }
    await this.#leftovers(isDry)
    const usage = await ContentUsage.of(this.#engine.images)
    await this.#orphans(usage, isDry)
    if (goal !== null) await this.#images(goal, usage, isDry)
    return this.#removals
  }

  async #leftovers(isDry: boolean): Promise<void> {
    const { images } = this.#engine
    for (const { path, diskBytes } of await images.content.leftovers(this.#options.minAgeMs)) {
      if (!isDry) await rm(path, { force: true, recursive: true })
      this.#tell('partial', basename(path), 'its transfer has ended', diskBytes)
    }
    for (const each of await findLeftovers(this.#engine)) {
      if (!isDry) await this.#removeDirectory(each)
      const why = each.kind === 'container' ? 'there is no such container' : 'the process that made it has ended'
      this.#tell(each.kind, each.name, why, each.diskBytes)
    }
  }

  async #removeDirectory({ kind, parent, name }: LeftoverDirectory): Promise<void> {
    this.#options.signal?.throwIfAborted()
    if (kind === 'container') await removeContainerDirectory(join(parent, name), this.#engine.snapshots)
    else await removeTree(parent, name)
  }

  async #orphans(usage: ContentUsage, isDry: boolean): Promise<void> {
    const youngestMs = this.#youngestMs()
    const orphans = usage.orphans().filter(({ sinceMs }) => sinceMs <= youngestMs)
    const gone: readonly StoredItem[] = isDry
      ? orphans
      : await removeOrphans(orphans, this.#engine.images, this.#options.signal)
    for (const { kind, digest, diskBytes } of gone) this.#tell(kind, digest, 'nothing needs it', diskBytes)
  }

  async #images(goal: FreeGoal, usage: ContentUsage, isDry: boolean): Promise<void> {
    const { images } = this.#engine
    const gone = new Set<Digest>()
    for (const image of unusedImages(images.records.list(), this.#youngestMs())) {
      this.#options.signal?.throwIfAborted()
      if (isFree(await this.#spaceNow(isDry), goal)) return
      if (images.records.containersOf(image.digest).length > 0) continue
      if (!isDry && (await forgetUnused(image, images, false)) === null) continue
      const freedBefore = usage.freedBy(gone)
      gone.add(image.digest)
      const why = `no name, no container, last used ${new Date(lastUseMs(image)).toISOString()}`
      this.#tell('image', imageId(image), why, usage.freedBy(gone) - freedBefore)
    }
  }

  /** Filesystems may tell of freed space late; what was freed counts at once. */
  async #spaceNow(isDry: boolean): Promise<DiskSpace> {
    const before = this.#before
    const now = isDry ? before : await diskSpace(this.#engine.roots.data)
    const freedBytes = this.#removals.reduce((sum, { diskBytes }) => sum + diskBytes, 0)
    return { ...now, freeBytes: Math.max(now.freeBytes, before.freeBytes + freedBytes) }
  }

  #youngestMs(): number {
    return Date.now() - this.#options.minAgeMs
  }

  #tell(kind: Removal['kind'], id: string, why: string, diskBytes: number): void {
    this.#removals.push({ kind, id, why, diskBytes })
  }
}

/** Images without a name and without a pin that were last used before some moment, the least recently used first. */
function unusedImages(all: readonly ImageRecord[], youngestMs: number): readonly ImageRecord[] {
  return all
    .filter(image => image.names.length === 0 && !image.pinned && lastUseMs(image) <= youngestMs)
    .toSorted((a, b) => lastUseMs(a) - lastUseMs(b))
}

function lastUseMs({ usedMs, pulledMs }: ImageRecord): number {
  return Math.max(usedMs, pulledMs)
}
