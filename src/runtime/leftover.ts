import { openCgroup } from '../host/cgroup/open-cgroup.ts'
import { CGROUP_OPTIONS } from './container-cgroup.ts'
import { endProcess } from './end-process.ts'
import { SIGKILL } from './kill.ts'
import { returnNetDevices } from './return-net-devices.ts'
import type { StateDirectory, Traces } from './state-directory.ts'

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
  for (const process of [traces?.launcher, directory.record()?.process]) if (process) await endProcess(process)
  if (traces !== null) {
    const cgroup = openCgroup(traces.cgroup, CGROUP_OPTIONS)
    await cgroup.kill(SIGKILL)
    await returnNetDevices(directory.path, traces.netDevices)
    await cgroup.remove()
  }
  directory.remove()
}
