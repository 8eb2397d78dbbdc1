import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDiskFull } from '../lib/disk-full.ts'
import { makingName } from '../snapshot/leftovers.ts'

/** In the data root. */
const RESERVE = 'reserve'
/** Several times what the removal of an image writes to the log of the database. */
const RESERVE_BYTES = 1024 * 1024

/**
 * Puts a file aside that can be given up when the disk is full. Does nothing when it is there, or when there is no room for it.
 * Its bytes are random: a filesystem that compresses must reserve them all the same.
 */
export async function makeReserve(dataRoot: string): Promise<void> {
  const path = join(dataRoot, RESERVE)
  if (existsSync(path)) return
  const making = join(dataRoot, makingName())
  try {
    await writeFile(making, randomBytes(RESERVE_BYTES), { mode: 0o600 })
    await rename(making, path)
  } catch (error) {
    await rm(making, { force: true })
    if (!isDiskFull(error)) throw error
  }
}

/**
 * Does work that gives space back. To take something away from a database takes space first: when there is none, the reserve is given
 * up and the work is done once more, from its beginning.
 */
export async function withReserve<T>(dataRoot: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const path = join(dataRoot, RESERVE)
    if (!isDiskFull(error) || !existsSync(path)) throw error
    await rm(path, { force: true })
    return await work()
  } finally {
    await makeReserve(dataRoot)
  }
}
