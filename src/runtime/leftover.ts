import { openCgroup } from '../host/cgroup/open-cgroup.ts'
import { poll, signalProcesses } from '../host/cgroup/processes.ts'
import { type ProcessIdentity, sameProcess } from '../host/process-identity.ts'
import { BerthError } from '../lib/error.ts'
import { CGROUP_OPTIONS } from './container-cgroup.ts'
import { returnNetDevices } from './return-net-devices.ts'
import type { StateDirectory, Traces } from './state-directory.ts'

const SIGKILL = 9
const DEATH_TIMEOUT_MS = 10_000

/**
 * Removes what a creation that came to nothing may have left: its processes, the network devices it moved, its cgroup, its directory.
 * Mostly the launcher has done so, and this finds nothing; it has not when it was killed itself. Idempotent.
 * `traces` are what the creation may have made, by default what the directory tells.
 * @throws {BerthError} as the cgroup manager and `returnNetDevices` do; then the directory stays, so that it can be tried again
 */
export async function removeLeftover(
  directory: StateDirectory,
  traces: Traces | null = directory.traces(),
): Promise<void> {
  // The launcher first: its own undo goes by names, which may soon be those of a new container.
  await end(traces?.launcher)
  await end(directory.record()?.process)
  if (traces !== null) {
    const cgroup = openCgroup(traces.cgroup, CGROUP_OPTIONS)
    await cgroup.kill(SIGKILL)
    await returnNetDevices(directory.path, traces.netDevices)
    await cgroup.remove()
  }
  directory.remove()
}

/** Kills a process, if it is still that one, and waits until it is gone. */
async function end(identity: ProcessIdentity | null | undefined): Promise<void> {
  if (identity === null || identity === undefined || !sameProcess(identity)) return
  signalProcesses([identity.pid], SIGKILL)
  const late = () =>
    new BerthError('unavailable', `Cannot end process "${identity.pid}": it is still there after SIGKILL`)
  await poll(() => (sameProcess(identity) ? null : true), DEATH_TIMEOUT_MS, late)
}
