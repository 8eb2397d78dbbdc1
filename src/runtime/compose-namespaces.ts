import { EINVAL } from '../lib/errno.ts'
import { formatIdMap, mapToHost } from '../linux/id-map.ts'
import { CLONE_NEWCGROUP, CLONE_NEWNET, CLONE_NEWTIME, NAMESPACES } from '../linux/namespaces.ts'
import { O_RDONLY } from '../linux/open-flags.ts'
import type { Process } from '../oci/runtime-spec.ts'
import type { TimeOffsets } from '../oci/runtime-spec-linux.ts'
import type { Slot } from '../plan/slots.ts'
import { type Join, step } from '../plan/step.ts'
import type { Beginning } from './compose-beginning.ts'
import { composeForChild } from './compose-process.ts'
import { type ContainerInput, inUserNamespace, makesNew, namespaceOf } from './container-input.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** Questions a plan may ask TypeScript (`ask`). */
export const ASK_SCOPE = 1
export const ASK_ID_MAPS = 2
export const ASK_RECORD = 3

/**
 * The child: new namespaces are flags of its clone, existing ones are joined by an intermediate before it, and the id maps are
 * written by the launcher, which keeps the host's privileges.
 */
export function composeNamespaces(
  builder: PlanBuilder,
  input: ContainerInput,
  process: Process,
  { network }: Beginning,
): void {
  const { spec } = input
  const joins = openJoined(builder, input)
  const ownTime = makesNew(spec, 'time') ? makeTimeNamespace(builder, spec.linux?.timeOffsets) : null
  builder.clone(
    step(
      'clone',
      { flags: cloneFlags(input, network), cgroup: input.cgroup.cloneInto, joins, pidfd: null },
      'make the container process in its new namespaces',
    ),
  )
  if (ownTime !== null)
    // Hooks that the launcher starts must see the host's clocks again.
    builder.parent.push(
      step('setns', { fd: ownTime, type: CLONE_NEWTIME }, "return to the launcher's own time namespace"),
    )
  if (network !== null)
    builder.child.push(step('setns', { fd: network, type: CLONE_NEWNET }, "enter the container's network namespace"))
  settleChild(builder, input, process)
}

function openJoined(builder: PlanBuilder, input: ContainerInput): Join[] {
  const joins: Join[] = []
  for (const kind of NAMESPACES) {
    const path = namespaceOf(input.spec, kind.type)?.path
    if (path === undefined || path === null) continue
    const slot = builder.slots.allocate(`${kind.type} namespace`)
    builder.host.push(
      step('open', { path, flags: O_RDONLY, mode: 0, out: slot }, `find the ${kind.type} namespace to join`),
    )
    joins.push({ slot, type: kind.cloneFlag })
  }
  return joins
}

function cloneFlags(input: ContainerInput, network: Slot | null): number {
  let flags = 0
  for (const kind of NAMESPACES) {
    // Offsets of a time namespace must be set while it is empty, so the launcher unshares it and the child is born into it.
    if (kind.type === 'time' || (kind.type === 'network' && network !== null)) continue
    if (makesNew(input.spec, kind.type)) flags |= kind.cloneFlag
  }
  // The root of a cgroup namespace is the cgroup of the one who makes it; on v1 the child joins its cgroups only after clone.
  return (input.cgroup.unshareInChild ? flags & ~CLONE_NEWCGROUP : flags) >>> 0
}

/** The slot of the launcher's own one. */
function makeTimeNamespace(builder: PlanBuilder, offsets: TimeOffsets | undefined): Slot {
  const own = builder.slots.allocate('own time namespace')
  builder.host.push(
    step(
      'open',
      { path: '/proc/self/ns/time', flags: O_RDONLY, mode: 0, out: own },
      "keep the launcher's own time namespace",
    ),
  )
  builder.host.push(step('unshare', { flags: CLONE_NEWTIME }, 'make a time namespace for the child'))
  const lines = Object.entries(offsets ?? {}).map(
    ([clock, offset]) => `${clock} ${offset.secs ?? 0} ${offset.nanosecs ?? 0}\n`,
  )
  if (lines.length > 0)
    builder.host.push(
      step(
        'write',
        { dir: null, path: '/proc/self/timens_offsets', data: lines.join('') },
        "shift the container's clocks",
      ),
    )
  return own
}

/** Id maps and cgroup: what both sides must have done before the child may act. */
function settleChild(builder: PlanBuilder, input: ContainerInput, process: Process): void {
  const { spec, cgroup } = input
  const newUser = makesNew(spec, 'user')
  if (newUser) writeIdMaps(builder, input)
  if (cgroup.viaSystemd)
    builder.parent.push(step('ask', { tag: ASK_SCOPE }, 'have systemd make the scope with the child in it'))
  builder.parent.push(...cgroup.parent)
  composeForChild(builder, process, input.facts)
  if (builder.parent.length > 0) {
    const tag = builder.tag()
    builder.parent.push(step('post', { tag }, 'the child may go on'))
    builder.child.push(step('await', { tag }, 'wait for what the launcher does for it: id maps, cgroup, priorities'))
  }
  if (inUserNamespace(spec)) becomeMappedRoot(builder, input)
  builder.child.push(...cgroup.child)
  if (cgroup.unshareInChild && makesNew(spec, 'cgroup'))
    builder.child.push(
      step('unshare', { flags: CLONE_NEWCGROUP }, "make the container's cgroup the root of its cgroup namespace"),
    )
}

function writeIdMaps(builder: PlanBuilder, input: ContainerInput): void {
  const { uidMappings = [], gidMappings = [] } = input.spec.linux ?? {}
  if (!input.facts.privileged) {
    builder.parent.push(step('ask', { tag: ASK_ID_MAPS }, 'have newuidmap and newgidmap write the id maps'))
    return
  }
  builder.parent.push(
    step('write_child', { name: 'uid_map', data: formatIdMap(uidMappings) }, 'map user ids'),
    step('write_child', { name: 'gid_map', data: formatIdMap(gidMappings) }, 'map group ids'),
  )
}

/** In a user namespace the child starts as nobody with all capabilities; files it makes shall be root's. */
function becomeMappedRoot(builder: PlanBuilder, input: ContainerInput): void {
  const { uidMappings, gidMappings } = input.spec.linux ?? {}
  // A joined namespace's maps are not in the config: there EINVAL says that root is not mapped.
  const joined = !makesNew(input.spec, 'user')
  const tolerate = joined ? { tolerate: [EINVAL] } : {}
  if (joined || mapToHost(gidMappings ?? [], 0) !== undefined)
    builder.child.push(
      step('setresgid', { gid: 0 }, { why: 'become the root group of the user namespace', ...tolerate }),
    )
  if (joined || mapToHost(uidMappings ?? [], 0) !== undefined)
    builder.child.push(step('setresuid', { uid: 0 }, { why: 'become root of the user namespace', ...tolerate }))
}
