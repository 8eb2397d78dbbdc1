import { poll, signalProcesses } from '../host/cgroup/processes.ts'
import { type ProcessIdentity, sameProcess } from '../host/process-identity.ts'
import { BerthError } from '../lib/error.ts'
import { SIGKILL } from './kill.ts'

/** How long a killed process may take to be gone; only one in uninterruptible sleep takes longer. */
const DEATH_TIMEOUT_MS = 10_000

/**
 * Kills a process, if it is still that one, and waits until it is gone. `kill` is how, where a signal to it alone is not enough.
 * @throws {BerthError} unavailable: it is still there after 10 s
 */
export async function endProcess(
  identity: ProcessIdentity,
  kill: () => Promise<void> | void = () => signalProcesses([identity.pid], SIGKILL),
): Promise<void> {
  if (!sameProcess(identity)) return
  await kill()
  const late = () =>
    new BerthError('unavailable', `Cannot end process "${identity.pid}": it is still there after SIGKILL`)
  await poll(() => (sameProcess(identity) ? null : true), DEATH_TIMEOUT_MS, late)
}
