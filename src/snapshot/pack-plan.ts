import { release } from 'node:os'
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
import {
  AT_EMPTY_PATH,
  AT_RECURSIVE,
  AT_SYMLINK_NOFOLLOW,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  S_IFDIR,
} from '../linux/open-flags.ts'
import { PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG } from '../linux/prctl.ts'
import { SIGNALS } from '../linux/signals.ts'
import { type Slot, SlotTable } from '../plan/slots.ts'
import { hostPlan, type Plan, type Step, step } from '../plan/step.ts'
import type { IdShift } from './id-shift.ts'

/** The tree to read. Paths are absolute. */
export type TreeRoot =
  | { readonly kind: 'directory'; readonly path: string }
  /** As a container sees it that is not running: its own directory over its layers, the topmost first. */
  | {
      readonly kind: 'overlay'
      readonly lowers: readonly string[]
      readonly upper: string
      readonly work: string
      /** Null: the container has the ids of the host. */
      readonly ids: IdShift | null
    }
  /** The root filesystem of a running process, as it is at this moment, without what is mounted in it. */
  | { readonly kind: 'process'; readonly pid: number }

/** What to read of a tree. */
export interface TreeSource {
  readonly root: TreeRoot
  /** Layers to compare with, topmost first; none: it is not compared. */
  readonly lowers: readonly string[]
  readonly withContent: boolean
}

/** Reading files of any owner and mode; CAP_SYS_ADMIN is for the attributes `trusted.overlay.*`. */
const CAPABILITIES_KEPT = ['CAP_DAC_READ_SEARCH', 'CAP_SYS_ADMIN'] as const
const ATTRS = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC

/** The plan of a process that can reach nothing but the tree, and the layers it is compared with, and changes nothing. */
export function packPlan({ root, lowers, withContent }: TreeSource): Plan {
  const slots = new SlotTable()
  const tree = slots.allocate('tree')
  const lower = lowers.length === 0 ? null : slots.allocate('layers to compare with')
  const steps = [
    ...leaveHost(root.kind === 'process' ? takeProcessRoot(root.pid, tree, slots) : []),
    ...(lower === null ? [] : takeLayers(lowers, lower, slots)),
    ...(root.kind === 'directory' ? takeDirectory(root.path, tree, null) : []),
    ...(root.kind === 'overlay' ? takeOverlay(root, tree, slots) : []),
    ...confine(tree),
    step('pack', { root: tree, lower, content: withContent ? 1 : 0 }, 'read the tree'),
  ]
  return hostPlan(steps, slots.count)
}

/** The plan of a process that lists directories of layers; the index of the step for the first path. */
export function namesPlan(
  layers: readonly string[],
  paths: readonly string[],
): { readonly plan: Plan; readonly firstStep: number } {
  const slots = new SlotTable()
  const tree = slots.allocate('layers')
  const before = [...leaveHost([]), ...takeLayers(layers, tree, slots), ...confine(tree)]
  const steps = paths.map(path =>
    step('names', { root: tree, path: Buffer.from(`${path === '' ? '.' : path}\0`, 'latin1') }, 'list a directory'),
  )
  return { plan: hostPlan([...before, ...steps], slots.count), firstStep: before.length }
}

function leaveHost(before: readonly Step[]): Step[] {
  return [
    step(
      'prctl',
      { option: PR_SET_PDEATHSIG, arg2: SIGNALS.SIGKILL, arg3: 0, arg4: 0, arg5: 0 },
      'stop reading when nobody waits for it any more',
    ),
    ...before,
    step(
      'unshare',
      { flags: CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS },
      'leave the network and the mounts of the host',
    ),
    step(
      'mount_setattr',
      { fd: null, path: '/', flags: AT_RECURSIVE, set: 0, clear: 0, propagation: MS_PRIVATE, userns: null },
      'keep changes of mounts from the host',
    ),
  ]
}

function takeProcessRoot(pid: number, tree: Slot, slots: SlotTable): Step[] {
  const own = slots.allocate('own mount namespace')
  const theirs = slots.allocate("the container's mount namespace")
  const open = (path: string, out: Slot, why: string): Step =>
    step('open', { path, flags: O_RDONLY, mode: 0, out }, why)
  return [
    open('/proc/self/ns/mnt', own, 'keep the own mount namespace'),
    open(`/proc/${pid}/ns/mnt`, theirs, "find the container's"),
    step('setns', { fd: theirs, type: CLONE_NEWNS }, 'enter it, where its root is /'),
    step(
      'open_tree',
      { dir: null, path: '/', flags: OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, out: tree },
      'take the root filesystem, without what is mounted in it',
    ),
    step('setns', { fd: own, type: CLONE_NEWNS }, 'return'),
    protect(tree, null),
  ]
}

function protect(fd: Slot, userns: Slot | null): Step {
  const set = ATTRS | (userns === null ? 0 : MOUNT_ATTR_IDMAP)
  return step(
    'mount_setattr',
    { fd, path: '', flags: AT_EMPTY_PATH, set, clear: 0, propagation: MS_PRIVATE, userns },
    userns === null ? 'let nothing be changed or executed' : "the same, with the container's ids",
  )
}

function takeDirectory(path: string, out: Slot, userns: Slot | null): Step[] {
  return [
    step(
      'open_tree',
      { dir: null, path, flags: OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW, out },
      'take a directory, without what is mounted in it',
    ),
    step('check_type', { fd: out, type: S_IFDIR, major: -1, minor: -1 }, 'make sure that it is one'),
    protect(out, userns),
  ]
}

/** Before Linux 6.15 overlayfs takes no detached mounts as layers: here nobody else sees where they are attached. */
function takeLayer(path: string, out: Slot, userns: Slot | null): Step[] {
  return [
    ...takeDirectory(path, out, userns),
    step(
      'move_mount',
      { from: out, to: null, path: '/', flags: MOVE_MOUNT_F_EMPTY_PATH },
      'attach it, so that overlayfs takes it',
    ),
  ]
}

function takeLayers(paths: readonly string[], out: Slot, slots: SlotTable): Step[] {
  const [only] = paths
  if (only !== undefined && paths.length === 1) return takeDirectory(only, out, null)
  const lowers = paths.map((_, index) => slots.allocate(`layer${index}`))
  return [
    ...paths.flatMap((path, index) => takeLayer(path, slotAt(lowers, index), null)),
    overlay(lowers, null, null, out),
  ]
}

function takeOverlay(root: TreeRoot & { readonly kind: 'overlay' }, out: Slot, slots: SlotTable): Step[] {
  const { ids } = root
  const userns = ids === null ? null : slots.allocate("user namespace with the container's ids")
  const lowers = root.lowers.map((_, index) => slots.allocate(`own layer${index}`))
  const upper = slots.allocate('upper')
  const work = slots.allocate('work')
  const flags = O_PATH | O_DIRECTORY
  return [
    step('open', { path: root.upper, flags, mode: 0, out: upper }, "find the container's own changes"),
    step('open', { path: root.work, flags, mode: 0, out: work }, "find overlayfs's scratch directory"),
    ...(userns === null || ids === null ? [] : [step('userns', idMapOf(ids, userns), "make the container's ids")]),
    ...root.lowers.flatMap((path, index) => takeLayer(path, slotAt(lowers, index), userns)),
    overlay(lowers, upper, work, out),
  ]
}

function idMapOf({ start, size }: IdShift, out: Slot): { uidMap: string; gidMap: string; out: Slot } {
  return { uidMap: `0 ${start} ${size}\n`, gidMap: `0 ${start} ${size}\n`, out }
}

function overlay(lowers: readonly Slot[], upper: Slot | null, work: Slot | null, out: Slot): Step {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  // `lowerdir+` came with Linux 6.5.
  const joined = major > 6 || (major === 6 && minor >= 5) ? 0 : 1
  return step(
    'mount_overlay',
    { joined, lowers, upper, work, options: ['source=overlay'], attrs: ATTRS, out },
    'put the layers on top of each other',
  )
}

function slotAt(slots: readonly Slot[], index: number): Slot {
  const slot = slots[index]
  if (slot === undefined) throw new RangeError(`no slot ${index}`)
  return slot
}

function confine(root: Slot): Step[] {
  const kept = CAPABILITIES_KEPT.reduce((mask, name) => mask | (1n << BigInt(CAPABILITIES.indexOf(name))), 0n)
  return [
    step('move_mount', { from: root, to: null, path: '/', flags: MOVE_MOUNT_F_EMPTY_PATH }, 'attach the tree'),
    step('fchdir', { fd: root }, 'stand in it'),
    step('pivot_root', { newRoot: '.', putOld: '.' }, 'make it the root'),
    step('umount', { path: '.', flags: MNT_DETACH }, "drop the host's filesystems"),
    step('chdir', { path: '/' }, 'leave no way back'),
    step('cap_bound', { keep: kept }, 'give up what reading does not need'),
    step('capset', { effective: kept, permitted: kept, inheritable: 0n }, 'give up what reading does not need'),
    step(
      'prctl',
      { option: PR_SET_NO_NEW_PRIVS, arg2: 1, arg3: 0, arg4: 0, arg5: 0 },
      'make sure that it is never had again',
    ),
  ]
}
