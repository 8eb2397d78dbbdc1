import { rmSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { removeTree } from './leftovers.ts'

/**
 * Removes a directory that a container had, without a process for it in the usual case. A container can nest directories deeper than a
 * path may be long; then only berth-init, which goes by fds, gets to the bottom. Idempotent.
 */
export async function removeDirectory(path: string): Promise<void> {
  try {
    rmSync(path, { recursive: true, force: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENAMETOOLONG') throw error
    await removeTree(dirname(path), basename(path))
  }
}
