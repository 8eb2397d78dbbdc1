import { SQLiteError } from 'bun:sqlite'
import { BerthError } from '../lib/error.ts'

/**
 * Does what writes to state.db.
 * @throws {BerthError} unavailable: its disk is full; whatever else `work` throws
 */
export function writeDatabase<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof SQLiteError) || error.code !== 'SQLITE_FULL') throw error
    throw new BerthError('unavailable', 'Cannot write state.db: no space is left on its disk', { cause: error })
  }
}

/**
 * The same for what need not be written, because nobody counts it once our process has ended: on a full disk it stays undone,
 * so that what filled the disk is what is told.
 */
export function writeIfRoom(work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof SQLiteError) || error.code !== 'SQLITE_FULL') throw error
  }
}
