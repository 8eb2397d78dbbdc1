import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { BerthError } from '../lib/error.ts'

/** Where the engine keeps what must outlive a reboot, and where what must not. */
export interface EngineRoots {
  readonly data: string
  readonly run: string
}

/**
 * /var/lib and /run for root; for a user the places of the XDG base directory specification.
 * @throws {BerthError} unavailable: the user has no session
 */
export function engineRoots(): EngineRoots {
  if (process.getuid?.() === 0) return { data: '/var/lib/berth', run: '/run/berth' }
  const data = process.env['XDG_DATA_HOME'] ?? join(homedir(), '.local/share')
  const uid = process.getuid?.() ?? 0
  const run = process.env['XDG_RUNTIME_DIR'] ?? `/run/user/${uid}`
  if (!existsSync(run))
    throw new BerthError(
      'unavailable',
      `Cannot find a directory for live state: "${run}" does not exist, expected a session of user ${uid} (loginctl enable-linger) or XDG_RUNTIME_DIR`,
    )
  return { data: join(data, 'berth'), run: join(run, 'berth') }
}
