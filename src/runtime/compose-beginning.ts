import { CLONE_NEWNET } from '../linux/namespaces.ts'
import { O_RDONLY } from '../linux/open-flags.ts'
import type { Slot } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import { openHostProc } from './compose-isolation.ts'
import { type ContainerInput, inUserNamespace, makesNew } from './container-input.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** What the first steps of a plan have made for the others. */
export interface Beginning {
  /** The host's procfs, opened before anything of the container can stand in its place. */
  readonly hostProc: Slot
  /** The container's network namespace; null: the child's clone makes it, or there is none. */
  readonly network: Slot | null
}

/**
 * The first steps of a plan: the cgroup and the network namespace, which take the kernel longest and depend on nothing that is composed
 * later. A launcher that is there already carries them out meanwhile (docs/plan-protocol.md, "Mode run").
 */
export function composeBeginning(builder: PlanBuilder, input: Pick<ContainerInput, 'spec' | 'cgroup'>): Beginning {
  const hostProc = openHostProc(builder)
  builder.host.push(...input.cgroup.host)
  builder.undo.push(...input.cgroup.undo)
  // It belongs to the user namespace of the one who makes it, so that of a container with its own must be made in there.
  if (!makesNew(input.spec, 'network') || inUserNamespace(input.spec)) return { hostProc, network: null }
  const own = builder.slots.allocate('own network namespace')
  const network = builder.slots.allocate('container network namespace')
  builder.host.push(...networkSteps(own, network))
  return { hostProc, network }
}

function networkSteps(own: Slot, network: Slot): readonly Step[] {
  const path = '/proc/self/ns/net'
  return [
    step('open', { path, flags: O_RDONLY, mode: 0, out: own }, "keep the launcher's own network namespace"),
    step('unshare', { flags: CLONE_NEWNET }, 'make a network namespace for the child'),
    step('open', { path, flags: O_RDONLY, mode: 0, out: network }, 'hold it'),
    step('setns', { fd: own, type: CLONE_NEWNET }, "return to the launcher's own network namespace"),
  ]
}
