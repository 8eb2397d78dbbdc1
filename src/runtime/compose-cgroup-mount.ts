import { basename, join } from 'node:path'
import type { CgroupHierarchy } from '../host/cgroup/layout.ts'
import { ownDirectory } from '../host/cgroup/location.ts'
import { MOUNT_ATTR_RDONLY, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from '../linux/mount-flags.ts'
import type { MountOptions } from '../linux/mount-options.ts'
import { AT_EMPTY_PATH } from '../linux/open-flags.ts'
import type { Slot } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import { attach } from './attach.ts'
import { type ContainerInput, namespaceOf } from './container-input.ts'
import type { PlanBuilder } from './plan-builder.ts'

/**
 * A mount of type `cgroup`: the container's own view of its cgroups. On v2 that is one filesystem; on v1 and hybrid a tmpfs with one
 * mount per hierarchy, as on the host. Returns what must come after all mounts.
 */
export function composeCgroupMount(
  builder: PlanBuilder,
  input: ContainerInput,
  destination: string,
  options: MountOptions,
  root: Slot,
): readonly Step[] {
  const { mode, hierarchies } = input.facts.cgroups
  const attrs = options.attrSet | options.recursiveAttrSet
  const [only] = hierarchies
  if (mode === 'v2' && only !== undefined) {
    mountHierarchy(builder, input, only, destination, attrs, root)
    return []
  }
  const slot = builder.slots.allocate(destination)
  const target = builder.slots.allocate(`target of ${destination}`)
  builder.child.push(
    step('mkdirs', { root, path: destination, mode: 0o755, out: target }, 'find or make the mount point'),
    step(
      'mount_fs',
      { fstype: 'tmpfs', source: 'tmpfs', options: ['mode=755'], attrs: attrs & ~MOUNT_ATTR_RDONLY, out: slot },
      'make the directory of the cgroup hierarchies',
    ),
    attach(slot, target, destination),
  )
  for (const hierarchy of hierarchies) {
    const name = basename(hierarchy.mountPoint)
    mountHierarchy(builder, input, hierarchy, join(destination, name), attrs, root)
    for (const controller of hierarchy.controllers)
      if (hierarchy.version === 1 && controller !== name && !controller.includes('='))
        builder.child.push(
          step(
            'symlink',
            { target: name, root, path: join(destination, controller) },
            `find ${controller} under its own name too`,
          ),
        )
  }
  if ((attrs & MOUNT_ATTR_RDONLY) === 0) return []
  return [
    step(
      'mount_setattr',
      { fd: slot, path: '', flags: AT_EMPTY_PATH, set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: null },
      `make ${destination} read-only, now that everything is in it`,
    ),
  ]
}

function mountHierarchy(
  builder: PlanBuilder,
  input: ContainerInput,
  hierarchy: CgroupHierarchy,
  destination: string,
  attrs: number,
  root: Slot,
): void {
  const slot = builder.slots.allocate(destination)
  const target = builder.slots.allocate(`target of ${destination}`)
  builder.child.push(
    step('mkdirs', { root, path: destination, mode: 0o755, out: target }, 'find or make the mount point'),
  )
  if (namespaceOf(input.spec, 'cgroup') !== null) builder.child.push(mountStep(hierarchy, attrs, slot))
  else bindOwn(builder, input, hierarchy, attrs, slot)
  builder.child.push(attach(slot, target, destination))
}

function mountStep(hierarchy: CgroupHierarchy, attrs: number, slot: Slot): Step {
  const why = "make the hierarchy's filesystem, with the cgroup namespace's root"
  if (hierarchy.version === 2)
    return step('mount_fs', { fstype: 'cgroup2', source: 'cgroup', options: [], attrs, out: slot }, why)
  const named = hierarchy.controllers.some(controller => controller.startsWith('name='))
  const options = named ? ['none', ...hierarchy.controllers] : hierarchy.controllers
  return step('mount_fs', { fstype: 'cgroup', source: 'cgroup', options, attrs, out: slot }, why)
}

/** Without a cgroup namespace the container is shown its own directory only; the whole hierarchy would be the host's (CVE-2023-25809). */
function bindOwn(
  builder: PlanBuilder,
  input: ContainerInput,
  hierarchy: CgroupHierarchy,
  attrs: number,
  slot: Slot,
): void {
  // A user without the right to make a cgroup does without: the container stays in the user's own, and sees it read-only.
  const isMade = input.cgroup.viaSystemd || input.cgroup.host.length > 0
  const own = isMade
    ? input.cgroupLocation.directories.find(each => each.hierarchy.mountPoint === hierarchy.mountPoint)
    : undefined
  // What systemd makes is there only once the child is.
  const stage = input.facts.privileged && !input.cgroup.viaSystemd ? builder.host : builder.child
  const path = own?.dir ?? ownDirectory(hierarchy)
  stage.push(
    step(
      'open_tree',
      { dir: null, path, flags: OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, out: slot },
      "take the container's own cgroup as a detached mount",
    ),
    step(
      'mount_setattr',
      {
        fd: slot,
        path: '',
        flags: AT_EMPTY_PATH,
        set: own === undefined ? attrs | MOUNT_ATTR_RDONLY : attrs,
        clear: 0,
        propagation: 0,
        userns: null,
      },
      'set the attributes of the mount',
    ),
  )
}
