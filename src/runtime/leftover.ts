import { openCgroup } from '../host/cgroup/open-cgroup.ts'
import { sameProcess } from '../host/process-identity.ts'
import { CGROUP_OPTIONS } from './container-cgroup.ts'
import { returnNetDevices } from './return-net-devices.ts'
import type { StateDirectory, Traces } from './state-directory.ts'

const SIGKILL = 9

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
  const process_ = directory.record()?.process
  if (process_ !== undefined && sameProcess(process_)) process.kill(process_.pid, 'SIGKILL')
  if (traces !== null) {
    const cgroup = openCgroup(traces.cgroup, CGROUP_OPTIONS)
    await cgroup.kill(SIGKILL)
    await returnNetDevices(directory.path, traces.netDevices)
    await cgroup.remove()
  }
  directory.remove()
}
