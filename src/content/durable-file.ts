/** What is on the disk when the power goes: directories and small files. */
import { constants } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { BerthError } from '../lib/error.ts'
import { errorCode } from './regular-file.ts'

const { O_RDONLY, O_DIRECTORY } = constants

/** Waits until the names in a directory are on the disk. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, O_RDONLY | O_DIRECTORY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Replaces a small file at once: who reads it has the old content or the new. `temporary` is a path that nobody else uses.
 * @throws {BerthError} unavailable: the disk is full or broken
 */
export async function replaceFile(path: string, bytes: Uint8Array, temporary: string): Promise<void> {
  try {
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(bytes)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
    await syncDirectory(dirname(path))
  } catch (error) {
    await rm(temporary, { force: true })
    throw storageError(error, `Cannot write "${path}"`)
  }
}

const STATES: Readonly<Record<string, string>> = {
  ENOSPC: 'no space is left on the device',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file system takes no file that large',
  EROFS: 'the file system is read-only',
  EIO: 'the device reports an error (EIO)',
}

/** A failure of the file system, with what it means; other errors are given back as they are. */
export function storageError(error: unknown, what: string): unknown {
  const code = errorCode(error)
  if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) return error
  return new BerthError('unavailable', `${what}: ${STATES[code] ?? code}`, { cause: error })
}
