import { homedir } from 'node:os'
import { join } from 'node:path'

/** Where the engine keeps what must outlive a reboot, and where what must not. */
export interface EngineRoots {
  readonly data: string
  readonly run: string
}

/** /var/lib and /run for root; for a user the places of the XDG base directory specification. */
export function engineRoots(): EngineRoots {
  if (process.getuid?.() === 0) return { data: '/var/lib/berth', run: '/run/berth' }
  const data = process.env['XDG_DATA_HOME'] ?? join(homedir(), '.local/share')
  const run = process.env['XDG_RUNTIME_DIR'] ?? `/run/user/${process.getuid?.() ?? 0}`
  return { data: join(data, 'berth'), run: join(run, 'berth') }
}
