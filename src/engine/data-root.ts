import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { BerthError } from '../lib/error.ts'
import type { DriverName } from '../snapshot/snapshot-driver.ts'
import type { KeepFree } from './disk-space.ts'

/** Where the engine keeps what must outlive a reboot, and where what must not. */
export interface EngineRoots {
  readonly data: string
  readonly run: string
  /** The trust policy that was named; absent: the one in the usual place, if there is one. */
  readonly policy?: string
}

/**
 * What was given in the place of the usual, as `--root`, `--run-root` and `--policy` name it; paths are relative to the working
 * directory.
 */
export interface GivenRoots {
  readonly data?: string
  readonly run?: string
  readonly policy?: string
  /** How root filesystems are made, as `--storage-driver` names it. */
  readonly storageDriver?: DriverName
  /** What is to stay free on the data root's filesystem, as `--keep-free` names it. */
  readonly keepFree?: KeepFree
}

/**
 * /var/lib and /run for root; for a user the places of the XDG base directory specification; or those that were given.
 * @throws {BerthError} unavailable: the user has no session
 */
export function engineRoots(given: GivenRoots): EngineRoots {
  return {
    data: given.data === undefined ? usualDataRoot() : resolve(given.data),
    run: given.run === undefined ? usualRunRoot() : resolve(given.run),
    ...(given.policy !== undefined && { policy: resolve(given.policy) }),
  }
}

function usualDataRoot(): string {
  if (process.getuid?.() === 0) return '/var/lib/berth'
  return join(process.env['XDG_DATA_HOME'] ?? join(homedir(), '.local/share'), 'berth')
}

function usualRunRoot(): string {
  if (process.getuid?.() === 0) return '/run/berth'
  const uid = process.getuid?.() ?? 0
  const run = process.env['XDG_RUNTIME_DIR'] ?? `/run/user/${uid}`
  if (!existsSync(run))
    throw new BerthError(
      'unavailable',
      `Cannot find a directory for live state: "${run}" does not exist, expected a session of user ${uid} (loginctl enable-linger) or XDG_RUNTIME_DIR, or --run-root`,
    )
  return join(run, 'berth')
}
