import { CAPABILITIES } from '../linux/capabilities.ts'
import {
  MNT_DETACH,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_PRIVATE,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from '../linux/mount-flags.ts'
import { CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS } from '../linux/namespaces.ts'
import { AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, S_IFDIR } from '../linux/open-flags.ts'
import { PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG } from '../linux/prctl.ts'
import { SIGNALS } from '../linux/signals.ts'
import type { Slot } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import { isLayerImage, mountLayerImage } from './layer-mount.ts'

/** What a confined process is there for, and what that takes; CAP_SYS_ADMIN is for attributes of the name space `trusted`. */
const CAPABILITIES_KEPT = {
  /** Making files of any owner, mode, kind and attribute. */
  writing: ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_FSETID', 'CAP_MKNOD', 'CAP_SETFCAP', 'CAP_SYS_ADMIN'],
  /** Reading files of any owner and mode. */
  reading: ['CAP_DAC_READ_SEARCH', 'CAP_SYS_ADMIN'],
} as const

/** Attributes of mounts on which nothing is executed or opened as a device. */
export const HARMLESS: number = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC

/** Leaves the network and, for changes, the mounts of the host. */
export function leaveHost(why: string): readonly Step[] {
  return [
    step('unshare', { flags: CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS }, why),
    step(
      'mount_setattr',
      { fd: null, path: '/', flags: AT_RECURSIVE, set: 0, clear: 0, propagation: MS_PRIVATE, userns: null },
      'keep changes of mounts from the host',
    ),
  ]
}

/** How a tree is taken: `userns` shows its owners as the ids of that user namespace. */
export interface TreeAccess {
  readonly readonly: boolean
  readonly userns?: Slot | null
}

/** Takes a directory of the host, or of a layer's image, without what is mounted in it, as a detached mount on which nothing is executed or opened as a device. */
export function takeTree(path: string, out: Slot, access: TreeAccess, what: string): readonly Step[] {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW
  return [
    ...(isLayerImage(path)
      ? mountLayerImage(path, out)
      : [step('open_tree', { dir: null, path, flags, out }, `take ${what}`)]),
    step('check_type', { fd: out, type: S_IFDIR, major: -1, minor: -1 }, 'make sure that it is a directory'),
    restrictTree(out, access),
  ]
}

/** Makes a detached mount one on which nothing is executed or opened as a device. */
export function restrictTree(tree: Slot, { readonly, userns = null }: TreeAccess): Step {
  const set = HARMLESS | (readonly ? MOUNT_ATTR_RDONLY : 0) | (userns === null ? 0 : MOUNT_ATTR_IDMAP)
  const why = readonly ? 'only to read it' : 'let nothing of it be executed or opened as a device'
  return step(
    'mount_setattr',
    { fd: tree, path: '', flags: AT_EMPTY_PATH, set, clear: 0, propagation: MS_PRIVATE, userns },
    userns === null ? why : `${why}, with the container's ids`,
  )
}

/** Ends with whoever waits for it. */
export function dieWithParent(why: string): Step {
  return step('prctl', { option: PR_SET_PDEATHSIG, arg2: SIGNALS.SIGKILL, arg3: 0, arg4: 0, arg5: 0 }, why)
}

/** Makes a detached mount all that can be reached by a path. Other detached mounts stay within reach by their fds. */
export function enterTree(tree: Slot): readonly Step[] {
  return [
    step('move_mount', { from: tree, to: null, path: '/', flags: MOVE_MOUNT_F_EMPTY_PATH }, 'attach the directory'),
    step('fchdir', { fd: tree }, 'stand in it'),
    step('pivot_root', { newRoot: '.', putOld: '.' }, 'make it the root'),
    step('umount', { path: '.', flags: MNT_DETACH }, "drop the host's filesystems"),
    step('chdir', { path: '/' }, 'leave no way back'),
  ]
}

/** Keeps what it takes to write, or to read, files as they are in an image. */
export function dropPrivileges(purpose: keyof typeof CAPABILITIES_KEPT): readonly Step[] {
  const kept = CAPABILITIES_KEPT[purpose].reduce((mask, name) => mask | (1n << BigInt(CAPABILITIES.indexOf(name))), 0n)
  return [
    step('cap_bound', { keep: kept }, `give up what ${purpose} files does not need`),
    step(
      'capset',
      { effective: kept, permitted: kept, inheritable: 0n },
      `give up what ${purpose} files does not need`,
    ),
    step(
      'prctl',
      { option: PR_SET_NO_NEW_PRIVS, arg2: 1, arg3: 0, arg4: 0, arg5: 0 },
      'make sure that it is never had again',
    ),
  ]
}
