import {
  MNT_DETACH,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from '../linux/mount-flags.ts'
import {
  AT_EMPTY_PATH,
  AT_RECURSIVE,
  AT_SYMLINK_NOFOLLOW,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  S_IFCHR,
  S_IFDIR,
} from '../linux/open-flags.ts'
import type { Slot } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import { type ContainerInput, inUserNamespace, makesNew, type RootSource, type VeilEntry } from './container-input.ts'
import type { PlanBuilder } from './plan-builder.ts'

const EEXIST = 17

const PROPAGATION = {
  private: MS_PRIVATE,
  shared: MS_SHARED,
  slave: MS_SLAVE,
  unbindable: MS_UNBINDABLE,
  rprivate: MS_PRIVATE,
  rshared: MS_SHARED,
  rslave: MS_SLAVE,
  runbindable: MS_UNBINDABLE,
} as const

/** Fds on their way from the launcher to the child, which takes them in the same order. */
export interface Handover {
  /** A slot of the container's user namespace in the launcher, for idmapped mounts; opened on first use. */
  userNamespace(): Slot
  /** Sends what the launcher has in `slot` to the child's slot of the same number. */
  send(slot: Slot, what: string): void
}

/** Makes the handover of one plan. */
export function handover(builder: PlanBuilder): Handover {
  let userns: Slot | null = null
  return {
    userNamespace() {
      if (userns !== null) return userns
      userns = builder.slots.allocate('user namespace')
      builder.parent.push(
        step(
          'open_child',
          { name: 'ns/user', flags: O_RDONLY, out: userns },
          "find the container's user namespace, for idmapped mounts",
        ),
      )
      return userns
    },
    send(slot, what) {
      builder.parent.push(step('send_fd', { fd: slot }, `hand ${what} to the child`))
      builder.child.push(step('recv_fd', { out: slot }, `receive ${what}`))
    },
  }
}

/** Prepares the root filesystem as a detached mount, in the launcher. The slot is the root directory from then on. */
export function prepareRoot(builder: PlanBuilder, input: ContainerInput, hand: Handover): Slot {
  const root = builder.slots.allocate('root')
  if (input.root.kind === 'overlay') prepareOverlay(builder, input, input.root, root, hand)
  else prepareDirectory(builder, input, input.root.path, root)
  return root
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

function prepareOverlay(
  builder: PlanBuilder,
  input: ContainerInput,
  source: RootSource & { kind: 'overlay' },
  root: Slot,
  hand: Handover,
): void {
  const idmapped = inUserNamespace(input.spec)
  const userns = idmapped ? hand.userNamespace() : null
  const stage = idmapped ? builder.parent : builder.host
  const lowers = source.lowers.map((path, index) => {
    const slot = builder.slots.allocate(`layer${index}`)
    stage.push(
      step(
        'open_tree',
        { dir: null, path, flags: OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, out: slot },
        'take a layer as a detached mount',
      ),
    )
    stage.push(
      step(
        'mount_setattr',
        {
          fd: slot,
          path: '',
          flags: AT_EMPTY_PATH,
          set: MOUNT_ATTR_RDONLY | (idmapped ? MOUNT_ATTR_IDMAP : 0),
          clear: 0,
          propagation: MS_PRIVATE,
          userns,
        },
        idmapped
          ? "show the layer's owners as the container's ids, without changing a file"
          : 'keep the layer read-only',
      ),
    )
    return slot
  })
  const upper = builder.slots.allocate('upper')
  const work = builder.slots.allocate('work')
  const directory = O_PATH | O_DIRECTORY
  stage.push(
    step('open', { path: source.upper, flags: directory, mode: 0, out: upper }, "find the container's own changes"),
    step('open', { path: source.work, flags: directory, mode: 0, out: work }, "find overlayfs's scratch directory"),
    ...(source.veil?.entries ?? []).flatMap(entry => veilSteps(entry, upper, source.veil?.owner ?? 0)),
    step(
      'mount_overlay',
      { joined: atLeast(input, 6, 5) ? 0 : 1, lowers, upper, work, options: [], attrs: 0, out: root },
      'put the container on top of its layers',
    ),
  )
  if (idmapped) hand.send(root, 'the root filesystem')
}

/** A restarted container has its veil already. Source: overlayfs.rst › whiteouts and opaque directories. */
function veilSteps({ kind, path, mode }: VeilEntry, upper: Slot, owner: number): Step[] {
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
            { dir: upper, path: name, name: 'trusted.overlay.opaque', value: 'y' },
            'let nothing of the layers shine through',
          ),
        ]
      : []),
  ]
}

/** Whether the kernel is at least this version. */
export function atLeast(input: ContainerInput, major: number, minor: number): boolean {
  const [have, haveMinor] = input.facts.kernel
  return have > major || (have === major && haveMinor >= minor)
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
  const propagation = linux?.rootfsPropagation === undefined ? 0 : PROPAGATION[linux.rootfsPropagation]
  if (propagation !== 0 && propagation !== MS_SLAVE)
    builder.child.push(
      step(
        'mount_setattr',
        {
          fd: null,
          path: '/',
          flags: linux?.rootfsPropagation?.startsWith('r') === true ? AT_RECURSIVE : 0,
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
