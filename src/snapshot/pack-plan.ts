import { release } from 'node:os'
import { MOUNT_ATTR_RDONLY, MOVE_MOUNT_F_EMPTY_PATH, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from '../linux/mount-flags.ts'
import { CLONE_NEWNS } from '../linux/namespaces.ts'
import { O_DIRECTORY, O_PATH, O_RDONLY } from '../linux/open-flags.ts'
import { type Slot, SlotTable } from '../plan/slots.ts'
import { hostPlan, type Plan, type Step, step } from '../plan/step.ts'
import {
  dieWithParent,
  dropPrivileges,
  enterTree,
  HARMLESS,
  leaveHost,
  restrictTree,
  takeTree,
} from './confined-plan.ts'
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

const READ_ONLY = { readonly: true } as const

/** The plan of a process that can reach nothing but the tree, and the layers it is compared with, and changes nothing. */
export function packPlan({ root, lowers, withContent }: TreeSource): Plan {
  const slots = new SlotTable()
  const tree = slots.allocate('tree')
  const lower = lowers.length === 0 ? null : slots.allocate('layers to compare with')
  const steps = [
    dieWithReader(),
    ...(root.kind === 'process' ? takeProcessRoot(root.pid, tree, slots) : []),
    ...leaveHost('leave the network and the mounts of the host'),
    ...(lower === null ? [] : takeLayers(lowers, lower, slots)),
    ...(root.kind === 'directory' ? takeTree(root.path, tree, READ_ONLY, 'the directory') : []),
    ...(root.kind === 'overlay' ? takeOverlay(root, tree, slots) : []),
    ...enterTree(tree),
    ...dropPrivileges('reading'),
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
  const before = [
    dieWithReader(),
    ...leaveHost('leave the network and the mounts of the host'),
    ...takeLayers(layers, tree, slots),
    ...enterTree(tree),
    ...dropPrivileges('reading'),
  ]
  const steps = paths.map(path =>
    step('names', { root: tree, path: Buffer.from(`${path === '' ? '.' : path}\0`, 'latin1') }, 'list a directory'),
  )
  return { plan: hostPlan([...before, ...steps], slots.count), firstStep: before.length }
}

function dieWithReader(): Step {
  return dieWithParent('stop reading when nobody waits for it any more')
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
    restrictTree(tree, READ_ONLY),
  ]
}

/** Before Linux 6.15 overlayfs takes no detached mounts as layers: here nobody else sees where they are attached. */
function takeLayer(path: string, out: Slot, userns: Slot | null): Step[] {
  return [
    ...takeTree(path, out, { readonly: true, userns }, 'a layer'),
    step(
      'move_mount',
      { from: out, to: null, path: '/', flags: MOVE_MOUNT_F_EMPTY_PATH },
      'attach it, so that overlayfs takes it',
    ),
  ]
}

function takeLayers(paths: readonly string[], out: Slot, slots: SlotTable): Step[] {
  const [only] = paths
  if (only !== undefined && paths.length === 1) return [...takeTree(only, out, READ_ONLY, 'the layer')]
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
    { joined, lowers, upper, work, options: ['source=overlay'], attrs: HARMLESS | MOUNT_ATTR_RDONLY, out },
    'put the layers on top of each other',
  )
}

function slotAt(slots: readonly Slot[], index: number): Slot {
  const slot = slots[index]
  if (slot === undefined) throw new RangeError(`no slot ${index}`)
  return slot
}
