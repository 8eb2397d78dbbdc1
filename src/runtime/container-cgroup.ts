import type { CgroupManager, CgroupManagerOptions } from '../host/cgroup/manager.ts'
import { openCgroup } from '../host/cgroup/open-cgroup.ts'
import { runSteps } from '../host/helper.ts'
import { O_DIRECTORY, O_PATH } from '../linux/open-flags.ts'
import { SlotTable } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import type { ContainerRecord } from './state-directory.ts'

/** What the managers need from outside: only berth-init can attach a BPF program. */
export const CGROUP_OPTIONS: CgroupManagerOptions = { attachDeviceProgram }

/** The cgroup of a container that exists. */
export function cgroupOf(record: Pick<ContainerRecord, 'cgroup'>): CgroupManager {
  return openCgroup(record.cgroup, CGROUP_OPTIONS)
}

async function attachDeviceProgram(dir: string, program: Uint8Array): Promise<void> {
  const slots = new SlotTable()
  const cgroup = slots.allocate('cgroup')
  await runSteps([
    step('open', { path: dir, flags: O_PATH | O_DIRECTORY, mode: 0, out: cgroup }, "find the container's cgroup"),
    step('bpf_device', { program, cgroup, replace: 1 }, 'replace the filter of devices'),
  ])
}
