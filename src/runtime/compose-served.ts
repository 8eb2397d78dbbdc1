import { FUSE_SUPER_MAGIC } from '../linux/fs-magic.ts'
import { MNT_DETACH, MS_SLAVE, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from '../linux/mount-flags.ts'
import { CLONE_NEWNS } from '../linux/namespaces.ts'
import { AT_EMPTY_PATH, O_RDONLY } from '../linux/open-flags.ts'
import type { Slot } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import type { ServedRoot } from '../snapshot/root-source.ts'
import { keepOwnMounts } from './own-mounts.ts'
import type { PlanBuilder } from './plan-builder.ts'

/**
 * Takes the root that a server on the host has mounted in a namespace of its own. Afterwards the container's is the only mount of it, so
 * that the kernel ends the connection, and the server with it, when the container ends.
 */
export function takeServed(builder: PlanBuilder, { namespace, path }: ServedRoot, root: Slot): void {
  const theirs = builder.slots.allocate("server's mount namespace")
  const { keep, back } = keepOwnMounts(builder)
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
  const slave = { set: 0, clear: 0, propagation: MS_SLAVE, userns: null }
  builder.host.push(
    ...keep,
    step(
      'open',
      { path: namespace, flags: O_RDONLY, mode: 0, out: theirs },
      'find where the server of the root filesystem has mounted it',
    ),
    step('setns', { fd: theirs, type: CLONE_NEWNS }, 'go there'),
    step('open_tree', { dir: null, path, flags, out: root }, 'take the root filesystem as a detached mount'),
    step('check_fs', { fd: root, magic: FUSE_SUPER_MAGIC }, 'make sure that it is what the server serves'),
    step('umount', { path, flags: MNT_DETACH }, 'leave the container the only mount, which the server ends with'),
    ...back,
    step('close', { fd: theirs }, 'keep no way there'),
    step(
      'mount_setattr',
      { fd: root, path: '', flags: AT_EMPTY_PATH, ...slave },
      "keep the container's mounts from appearing on the host",
    ),
  )
}
