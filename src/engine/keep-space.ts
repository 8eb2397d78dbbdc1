import { stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openImageStore } from '../image/image-store.ts'
import { isDiskFull } from '../lib/disk-full.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import type { CollectOptions } from './collect-garbage.ts'
import { diskSpace, isFree, watermarksOf } from './disk-space.ts'
import type { Engine } from './open-engine.ts'
import { makeReserve } from './space-reserve.ts'

/** What it takes of the engine. */
type SpaceEngine = Pick<Engine, 'roots' | 'database' | 'warn' | 'snapshots' | 'keepFree'>

/** Its time is that of the last collection. */
const COLLECTED = 'last-collection'
/** Orphans wait that long for the transfer that they are of to go on, and to be looked for. */
const COLLECTION_INTERVAL_MS = 24 * 3600 * 1000
/** Somebody may be about to use what has just come: an image that was committed without a name, the layers of a pull that broke off. */
const SHORT_OF_SPACE_AGE_MS = 3600 * 1000

/**
 * To be called before and after what takes space of the disk, and after what gives it back. When less is free than the low watermark
 * it collects garbage up to the high one; else, once a day, what crashes have left. Most of the time it is one statfs(2) and one stat(2).
 * That it fails is a warning: it is not what the user asked for.
 */
export async function keepSpace(engine: SpaceEngine): Promise<void> {
  try {
    const space = await diskSpace(engine.roots.data)
    const { low, high } = watermarksOf(space, engine.keepFree)
    const isShort = !isFree(space, low)
    const stamp = join(engine.roots.data, COLLECTED)
    const ageMs = await ageOf(stamp)
    // A store that is new has nothing to collect.
    if (ageMs === null) {
      await makeReserve(engine.roots.data)
      await touch(stamp)
    }
    if (!isShort && (ageMs ?? 0) < COLLECTION_INTERVAL_MS) return
    await collect(engine, {
      goal: isShort ? high : null,
      minAgeMs: isShort ? SHORT_OF_SPACE_AGE_MS : COLLECTION_INTERVAL_MS,
    })
    await touch(stamp)
  } catch (error) {
    engine.warn(`what is not needed could not be removed: ${messageOf(error)}`)
  }
}

/**
 * Does work that takes space, between two looks at what is left. When the disk gets full all the same, what has come by then is removed.
 * @throws {BerthError} unavailable: the disk is full; whatever the work throws
 */
export async function withSpace<T>(engine: SpaceEngine, work: () => Promise<T>): Promise<T> {
  await keepSpace(engine)
  try {
    return await work()
  } catch (error) {
    if (!isDiskFull(error)) throw error
    await removeOrphansNow(engine)
    if (error instanceof BerthError) throw error
    throw new BerthError('unavailable', `Cannot go on: no space is left in "${engine.roots.data}"`, { cause: error })
  } finally {
    await keepSpace(engine)
  }
}

/** Nobody goes on where there is no room. */
async function removeOrphansNow(engine: SpaceEngine): Promise<void> {
  try {
    await collect(engine, { goal: null, minAgeMs: 0 })
  } catch (error) {
    engine.warn(`what has come could not be removed: ${messageOf(error)}`)
  }
}

async function collect(engine: SpaceEngine, options: CollectOptions): Promise<void> {
  const { collectGarbage } = await import('./collect-garbage.ts')
  const images = await openImageStore(engine.roots.data, engine.database.sqlite)
  await collectGarbage({ ...engine, images }, options)
}

/** Null: there is no such file. */
async function ageOf(path: string): Promise<number | null> {
  try {
    const { mtimeMs } = await stat(path)
    // A time to come is one of before the clock was set back.
    return Math.abs(Date.now() - mtimeMs)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

async function touch(stamp: string): Promise<void> {
  await writeFile(stamp, '', { mode: 0o600 })
  const now = new Date()
  await utimes(stamp, now, now)
}
