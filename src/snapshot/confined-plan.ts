import { CAPABILITIES } from '../linux/capabilities.ts'
import {
  MNT_DETACH,
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
import { AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW } from '../linux/open-flags.ts'
import { PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG } from '../linux/prctl.ts'
import { SIGNALS } from '../linux/signals.ts'
import type { Slot } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'

/** What making files of any owner, mode, kind and attribute takes; CAP_SYS_ADMIN is for attributes of the name space `trusted`. */
const CAPABILITIES_KEPT = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_MKNOD',
  'CAP_SETFCAP',
  'CAP_SYS_ADMIN',
] as const

const HARMLESS = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC

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

/** Takes a directory of the host, alone, as a detached mount on which nothing is executed or opened as a device. */
export function takeTree(
  path: string,
  out: Slot,
  { readonly, userns = null }: { readonly readonly: boolean; readonly userns?: Slot | null },
  what: string,
): readonly Step[] {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW
  return [
    step('open_tree', { dir: null, path, flags, out }, `take ${what}`),
    step(
      'mount_setattr',
      {
        fd: out,
        path: '',
        flags: AT_EMPTY_PATH,
        set: HARMLESS | (readonly ? MOUNT_ATTR_RDONLY : 0),
        clear: 0,
        propagation: MS_PRIVATE,
        userns,
      },
      readonly ? 'only to read it' : 'let nothing of it be executed or opened as a device',
    ),
  ]
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

/** Keeps what it takes to write files as they are in an image. */
export function dropPrivileges(): readonly Step[] {
  const kept = CAPABILITIES_KEPT.reduce((mask, name) => mask | (1n << BigInt(CAPABILITIES.indexOf(name))), 0n)
  return [
    step('cap_bound', { keep: kept }, 'give up what writing files does not need'),
    step('capset', { effective: kept, permitted: kept, inheritable: 0n }, 'give up what writing files does not need'),
    step(
      'prctl',
      { option: PR_SET_NO_NEW_PRIVS, arg2: 1, arg3: 0, arg4: 0, arg5: 0 },
      'make sure that it is never had again',
    ),
  ]
}
