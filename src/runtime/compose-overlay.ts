import { EEXIST } from '../lib/errno.ts'
import {
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_PRIVATE,
  MS_SLAVE,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from '../linux/mount-flags.ts'
import { CLONE_NEWNS } from '../linux/namespaces.ts'
import { AT_EMPTY_PATH, AT_RECURSIVE, O_DIRECTORY, O_PATH, S_IFCHR } from '../linux/open-flags.ts'
import type { Slot } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import { isLayerImage, mountLayerImage } from '../snapshot/layer-mount.ts'
import type { Handover } from './compose-handover.ts'
import { type ContainerInput, inUserNamespace, type OverlayLayers, type VeilEntry } from './container-input.ts'
import { keepOwnMounts } from './own-mounts.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** Mounts layers with the container's own directory on top, as a detached mount in the launcher. */
export function prepareOverlay(
  builder: PlanBuilder,
  input: ContainerInput,
  source: OverlayLayers,
  root: Slot,
  hand: Handover,
): void {
  const idmapped = inUserNamespace(input.spec)
  const userns = idmapped ? hand.userNamespace() : null
  const stage = idmapped ? builder.parent : builder.host
  // Overlayfs takes detached mounts as layers since Linux 6.15 only: before, they are attached where nobody sees them.
  const attached = !atLeast(input, 6, 15)
  const back = attached ? enterPrivateMounts(builder, stage) : []
  const lowers = source.lowers.map((path, index) => {
    const slot = builder.slots.allocate(`layer${index}`)
    stage.push(...takeLayer(path, slot, userns))
    if (attached) stage.push(attachToRoot(slot, 'attach it, so that overlayfs takes it (before Linux 6.15)'))
    return slot
  })
  const { upper, work } = openOwn(builder, stage, source)
  stage.push(
    ...(source.veil === null || source.veil === undefined ? [] : veilSteps(source.veil.entries, upper, source.veil)),
    mountOverlay(input, { lowers, upper, work, options: [], out: root }),
    ...back,
  )
  if (idmapped) hand.send(root, 'the root filesystem')
}

/**
 * The same without privileges on the host: by the child, which is root of its user namespace and may mount an overlay there, but may
 * not idmap its layers. Overlayfs then keeps its marks in user.* attributes. Source: overlayfs.rst › User xattr.
 */
export function mountOwnOverlay(builder: PlanBuilder, input: ContainerInput, source: OverlayLayers, out: Slot): void {
  const { child, slots } = builder
  const lowers = source.lowers.map((path, index) => {
    const slot = slots.allocate(`layer${index} of ${source.upper}`)
    child.push(step('open', { path, flags: O_PATH | O_DIRECTORY, mode: 0, out: slot }, 'find a layer'))
    return slot
  })
  const { upper, work } = openOwn(builder, child, source)
  const { veil } = source
  if (veil !== null && veil !== undefined)
    child.push(...veilSteps(veil.entries, upper, { owner: veil.owner, opaque: 'user.overlay.opaque' }))
  child.push(mountOverlay(input, { lowers, upper, work, options: ['userxattr'], out }))
}

/** A copy of the launcher's mounts that nothing leaves, and the steps that lead out of it. */
function enterPrivateMounts(builder: PlanBuilder, stage: Step[]): readonly Step[] {
  const { keep, back } = keepOwnMounts(builder)
  stage.push(
    ...keep,
    step('unshare', { flags: CLONE_NEWNS }, 'make a mount namespace for attaching layers, which nobody else sees'),
    step(
      'mount_setattr',
      { fd: null, path: '/', flags: AT_RECURSIVE, set: 0, clear: 0, propagation: MS_SLAVE, userns: null },
      'let nothing of it appear on the host',
    ),
  )
  return back
}

/** Over "/" lies nothing that path lookups of the launcher, which start below, would meet. */
function attachToRoot(slot: Slot, why: string): Step {
  return step('move_mount', { from: slot, to: null, path: '/', flags: MOVE_MOUNT_F_EMPTY_PATH }, why)
}

function takeLayer(path: string, slot: Slot, userns: Slot | null): Step[] {
  return [
    ...(isLayerImage(path) ? mountLayerImage(path, slot) : [cloneLayer(path, slot)]),
    step(
      'mount_setattr',
      {
        fd: slot,
        path: '',
        flags: AT_EMPTY_PATH,
        set: MOUNT_ATTR_RDONLY | (userns === null ? 0 : MOUNT_ATTR_IDMAP),
        clear: 0,
        propagation: MS_PRIVATE,
        userns,
      },
      userns === null
        ? 'keep the layer read-only'
        : "show the layer's owners as the container's ids, without changing a file",
    ),
  ]
}

function cloneLayer(path: string, out: Slot): Step {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
  return step('open_tree', { dir: null, path, flags, out }, 'take a layer as a detached mount')
}

function openOwn(builder: PlanBuilder, stage: Step[], source: OverlayLayers): { upper: Slot; work: Slot } {
  const upper = builder.slots.allocate(`upper ${source.upper}`)
  const work = builder.slots.allocate(`work ${source.work}`)
  const flags = O_PATH | O_DIRECTORY
  stage.push(
    step('open', { path: source.upper, flags, mode: 0, out: upper }, "find the container's own changes"),
    step('open', { path: source.work, flags, mode: 0, out: work }, "find overlayfs's scratch directory"),
  )
  return { upper, work }
}

function mountOverlay(
  input: ContainerInput,
  layers: { lowers: readonly Slot[]; upper: Slot; work: Slot; options: readonly string[]; out: Slot },
): Step {
  const joined = atLeast(input, 6, 5) ? 0 : 1
  // Without a source the table of mounts would call it "none".
  const options = ['source=overlay', ...layers.options]
  return step('mount_overlay', { joined, attrs: 0, ...layers, options }, 'put the container on top of its layers')
}

const TRUSTED_OPAQUE = 'trusted.overlay.opaque'

/** A restarted container has its veil already. Source: overlayfs.rst › whiteouts and opaque directories. */
function veilSteps(
  entries: readonly VeilEntry[],
  upper: Slot,
  { owner, opaque = TRUSTED_OPAQUE }: { readonly owner: number; readonly opaque?: string },
): Step[] {
  return entries.flatMap(entry => veilEntrySteps(entry, upper, owner, opaque))
}

function veilEntrySteps({ kind, path, mode }: VeilEntry, upper: Slot, owner: number, opaque: string): Step[] {
  const name = path.slice(1)
  const tolerate = [EEXIST]
  if (kind === 'hidden')
    return [
      step(
        'mknod',
        { root: upper, path, type: S_IFCHR, mode: 0, major: 0, minor: 0, uid: 0, gid: 0 },
        { why: `hide ${path}`, tolerate },
      ),
    ]
  const skipOnFailure = kind === 'empty' ? 3 : 2
  return [
    step(
      'mkdir',
      { dir: upper, path: name, mode: 0o700 },
      {
        why: kind === 'empty' ? `show an empty ${path}` : `make the way to what is hidden in ${path}`,
        tolerate,
        skipOnFailure,
      },
    ),
    step('chown', { fd: upper, path: name, uid: owner, gid: owner }, "give it to the container's root"),
    step('chmod', { fd: upper, path: name, mode }, 'with its usual mode'),
    ...(kind === 'empty'
      ? [
          step(
            'setxattr',
            { dir: upper, path: name, name: opaque, value: 'y' },
            'let nothing of the layers shine through',
          ),
        ]
      : []),
  ]
}

/** Whether the kernel is at least this version. */
function atLeast(input: ContainerInput, major: number, minor: number): boolean {
  const [have, haveMinor] = input.facts.kernel
  return have > major || (have === major && haveMinor >= minor)
}
