import { AT_REMOVEDIR, O_DIRECTORY, O_PATH } from '../linux/open-flags.ts'
import { SlotTable } from '../plan/slots.ts'
import { hostPlan, type Plan, type Step, step } from '../plan/step.ts'
import type { CreatedContainer } from './create.ts'
import { ownEnvironment } from './host-facts.ts'

/**
 * What is left to do when a container has ended in the foreground, as steps for the launcher that waits for it: the cgroup goes, then
 * the state. Any step that fails leads to the last one, which has `delete` do it all, as does a container that needs more than that:
 * network devices to return, hooks, a unit of systemd. `command` is how this program is called, up to the verb of the runtime.
 */
export function composeFinish(root: string, { directory, record }: CreatedContainer, command: readonly string[]): Plan {
  const [program = ''] = command
  const args = [...command, 'delete', '--force', record.id]
  const slots = new SlotTable()
  const call = step('call', { path: program, args, env: ownEnvironment() }, 'have the runtime delete the container')
  const isPlain =
    record.cgroup.manager === 'cgroupfs' &&
    record.netDevices.length === 0 &&
    (directory.spec().hooks?.poststop ?? []).length === 0
  const plain = isPlain ? removal(root, record.id, record.cgroup.directories, slots) : []
  const last = plain.length - 1
  const steps = plain.map(
    (each, index): Step => ({
      ...each,
      tolerate: 'all',
      skipOnFailure: last - index,
      ...(index === last && { skipOnSuccess: 1 }),
    }),
  )
  return hostPlan([...steps, call], slots.count)
}

function removal(
  root: string,
  id: string,
  cgroups: CreatedContainer['record']['cgroup']['directories'],
  slots: SlotTable,
): readonly Step[] {
  const parent = slots.allocate('root of the runtime')
  return [
    ...cgroups.map(({ dir }) => step('unlink', { dir: null, path: dir, flags: AT_REMOVEDIR }, 'remove the cgroup')),
    step('open', { path: root, flags: O_PATH | O_DIRECTORY, mode: 0, out: parent }, 'find the state of the container'),
    step('remove_tree', { dir: parent, name: id }, 'forget the container'),
  ]
}
