import {
  MNT_DETACH,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_REC,
  MS_SLAVE,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from '../linux/mount-flags.ts'
import { parsePropagation } from '../linux/mount-options.ts'
import { AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, S_IFDIR } from '../linux/open-flags.ts'
import type { Slot } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import { attach } from './attach.ts'
import type { Handover } from './compose-handover.ts'
import { mountOwnOverlay, prepareOverlay } from './compose-overlay.ts'
import { takeServed } from './compose-served.ts'
import { type ContainerInput, makesNew } from './container-input.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** Prepares the root filesystem as a detached mount, in the launcher. The slot is the root directory from then on. */
export function prepareRoot(builder: PlanBuilder, input: ContainerInput, hand: Handover): Slot {
  const root = builder.slots.allocate('root')
  switch (input.root.kind) {
    case 'overlay':
      if (input.facts.privileged) prepareOverlay(builder, input, input.root, root, hand)
      else mountOwnOverlay(builder, input, input.root, root)
      break
    case 'idmapped':
      prepareIdmapped(builder, input.root.path, root, hand)
      break
    case 'served':
      takeServed(builder, input.root, root)
      break
    case 'directory':
    case 'patchwork':
      prepareDirectory(builder, input, input.root.path, root)
  }
  return root
}

/** Files keep the ids of the image on the disk, whatever ids the container has. */
function prepareIdmapped(builder: PlanBuilder, path: string, root: Slot, hand: Handover): void {
  const userns = hand.userNamespace()
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW
  const attrs = { set: MOUNT_ATTR_IDMAP, clear: 0, propagation: MS_SLAVE, userns }
  builder.parent.push(
    step('open_tree', { dir: null, path, flags, out: root }, 'take the root filesystem as a detached mount'),
    step(
      'check_type',
      { fd: root, type: S_IFDIR, major: -1, minor: -1 },
      'make sure that the root filesystem is a directory',
    ),
    step(
      'mount_setattr',
      { fd: root, path: '', flags: AT_EMPTY_PATH, ...attrs },
      "show its owners as the container's ids, without changing a file",
    ),
  )
  hand.send(root, 'the root filesystem')
}

function prepareDirectory(builder: PlanBuilder, input: ContainerInput, path: string, root: Slot): void {
  // Without privileges on the host only the child, root of its own user namespace, may clone mounts.
  const stage = input.facts.privileged ? builder.host : builder.child
  stage.push(
    step(
      'open_tree',
      { dir: null, path, flags: OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW, out: root },
      'take the root filesystem as a detached mount',
    ),
    step(
      'check_type',
      { fd: root, type: S_IFDIR, major: -1, minor: -1 },
      'make sure that the root filesystem is a directory',
    ),
    step(
      'mount_setattr',
      {
        fd: root,
        path: '',
        flags: AT_EMPTY_PATH | AT_RECURSIVE,
        set: 0,
        clear: 0,
        propagation: MS_SLAVE,
        userns: null,
      },
      "keep the container's mounts from appearing on the host",
    ),
  )
}

/** Puts the root filesystem over "/" of the child's mount namespace: mounts in it need an attached parent before Linux 6.15. */
export function attachRoot(builder: PlanBuilder, input: ContainerInput, root: Slot): void {
  if (!makesNew(input.spec, 'mount')) return
  builder.child.push(
    step(
      'mount_setattr',
      { fd: null, path: '/', flags: AT_RECURSIVE, set: 0, clear: 0, propagation: MS_SLAVE, userns: null },
      "make the child's view of mounts its own",
    ),
    step(
      'move_mount',
      { from: root, to: null, path: '/', flags: MOVE_MOUNT_F_EMPTY_PATH },
      'attach the root filesystem',
    ),
  )
}

/** Puts the overlays of a patchwork into the attached root. Returns what must come after all mounts. */
export function attachPatches(builder: PlanBuilder, input: ContainerInput, root: Slot): readonly Step[] {
  if (input.root.kind !== 'patchwork') return []
  return input.root.patches.flatMap(patch => {
    const slot = builder.slots.allocate(`overlay of ${patch.target}`)
    const target = builder.slots.allocate(`target of ${patch.target}`)
    mountOwnOverlay(builder, input, patch, slot)
    builder.child.push(
      step('mkdirs', { root, path: patch.target, mode: 0o755, out: target }, 'find or make the mount point'),
      attach(slot, target, patch.target),
    )
    if (input.spec.root?.readonly !== true) return []
    return [
      step(
        'mount_setattr',
        { fd: slot, path: '', flags: AT_EMPTY_PATH, set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: null },
        `make ${patch.target} read-only, now that everything is in it`,
      ),
    ]
  })
}

/** Makes the prepared root the only root: the last moment at which the host's files can be reached. */
export function enterRoot(builder: PlanBuilder, input: ContainerInput, root: Slot): void {
  builder.child.push(step('fchdir', { fd: root }, 'stand in the root filesystem'))
  if (makesNew(input.spec, 'mount') && input.pivot)
    builder.child.push(
      step('pivot_root', { newRoot: '.', putOld: '.' }, 'make it the root, with the old root on top of it'),
      step('umount', { path: '.', flags: MNT_DETACH }, "drop the host's filesystems"),
    )
  else builder.child.push(step('chroot', { path: '.' }, 'make it the root'))
  builder.child.push(step('chdir', { path: '/' }, 'leave no way back'))
  finishRoot(builder, input)
}

function finishRoot(builder: PlanBuilder, input: ContainerInput): void {
  const { root, linux } = input.spec
  const readonly = root?.readonly === true
  const asked = parsePropagation(linux?.rootfsPropagation ?? '') ?? 0
  const propagation = asked & ~MS_REC
  if (propagation !== 0 && propagation !== MS_SLAVE)
    builder.child.push(
      step(
        'mount_setattr',
        {
          fd: null,
          path: '/',
          flags: asked === propagation ? 0 : AT_RECURSIVE,
          set: 0,
          clear: 0,
          propagation,
          userns: null,
        },
        'let mounts propagate as the config asks (linux.rootfsPropagation)',
      ),
    )
  if (readonly)
    builder.child.push(
      step(
        'mount_setattr',
        { fd: null, path: '/', flags: 0, set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: null },
        'make the root read-only (root.readonly)',
      ),
    )
}
