import { cleanPath } from '../lib/clean-path.ts'
import { EEXIST } from '../lib/errno.ts'
import { BerthError } from '../lib/error.ts'
import { PROC_SUPER_MAGIC } from '../linux/fs-magic.ts'
import { formatIdMap } from '../linux/id-map.ts'
import {
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_RDONLY,
  MS_REC,
  MS_REMOUNT,
  MS_SLAVE,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from '../linux/mount-flags.ts'
import { type MountOptions, mountFlagsOf, NEEDS_OLD_API, parseMountOptions } from '../linux/mount-options.ts'
import {
  AT_EMPTY_PATH,
  AT_RECURSIVE,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from '../linux/open-flags.ts'
import type { Mount } from '../oci/runtime-spec.ts'
import type { Slot } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import { attach } from './attach.ts'
import { composeCgroupMount } from './compose-cgroup-mount.ts'
import type { Handover } from './compose-handover.ts'
import { type ContainerInput, inUserNamespace } from './container-input.ts'
import { absoluteSource } from './mount-source.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** fsconfig(2) takes strings of at most 255 bytes; longer options go through mount(2). */
const FSCONFIG_LIMIT = 255

/** Files below /proc that a config may replace; anything else there would forge what the kernel says of the container. */
const PROC_FILES = new Set(
  [
    'cpuinfo',
    'diskstats',
    'loadavg',
    'meminfo',
    'net/dev',
    'slabinfo',
    'stat',
    'swaps',
    'sys/kernel/ns_last_pid',
    'uptime',
  ].map(name => `/proc/${name}`),
)

/** One mount while it is composed. */
interface MountPlan {
  readonly mount: Mount
  readonly options: MountOptions
  readonly name: string
  /** The SELinux context of files of a new filesystem, as an option of it; empty when there is none. */
  readonly context: readonly string[]
}

/** Their files have labels of the kernel's own, and they refuse another. */
const SELF_LABELLED = new Set(['proc', 'sysfs', 'mqueue'])

/** All mounts of the config, in its order. What must stay writable until the end is made read-only by the steps returned. */
export function composeMounts(
  builder: PlanBuilder,
  input: ContainerInput,
  root: Slot,
  hand: Handover,
): readonly Step[] {
  const late: Step[] = []
  for (const written of input.spec.mounts ?? []) {
    // `//proc` must be taken for what it is (CVE-2019-16884).
    const mount = { ...written, destination: cleanPath(written.destination) }
    const options = parseMountOptions(mount.options ?? [])
    const label = SELF_LABELLED.has(mount.type ?? '') ? '' : (input.spec.linux?.mountLabel ?? '')
    const context = label === '' ? [] : [`context=${label}`]
    const plan: MountPlan = { mount, options, name: mount.destination, context }
    checkDestination(plan)
    if (options.remount) remount(builder, plan, root)
    else if (isBind(mount, options)) bind(builder, input, plan, root, hand)
    else if (mount.type === 'cgroup' || mount.type === 'cgroup2')
      late.push(...composeCgroupMount(builder, input, mount.destination, options, root))
    else late.push(...filesystem(builder, plan, root))
  }
  return late
}

/** Whether a mount shows an existing tree rather than a filesystem of its own. */
export function isBind(mount: Mount, options: MountOptions): boolean {
  return options.bind || options.recursiveBind || mount.type === 'bind' || mount.type === 'rbind'
}

function checkDestination({ mount, options }: MountPlan): void {
  const destination = mount.destination
  if (!destination.startsWith('/proc/')) return
  if (isBind(mount, options) && PROC_FILES.has(destination)) return
  throw new BerthError(
    'invalidArgument',
    `Cannot mount at "${destination}": it is inside /proc, expected one of ${[...PROC_FILES].join(', ')} as a bind mount`,
  )
}

function bind(builder: PlanBuilder, input: ContainerInput, plan: MountPlan, root: Slot, hand: Handover): void {
  const { mount, options } = plan
  const source = absoluteSource(mount, input.bundle)
  const slot = builder.slots.allocate(plan.name)
  const recursive = options.recursiveBind || mount.type === 'rbind' ? AT_RECURSIVE : 0
  const userns = idmapNamespace(builder, input, plan, hand)
  const stage = !input.facts.privileged ? builder.child : userns?.late === true ? builder.parent : builder.host
  stage.push(
    step(
      'open_tree',
      { dir: null, path: source, flags: OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive, out: slot },
      `take ${source} as a detached mount`,
    ),
    ...attributes(plan, slot, recursive, userns?.slot ?? null),
  )
  if (mount.destination === '/proc')
    stage.push(step('check_fs', { fd: slot, magic: PROC_SUPER_MAGIC }, 'nothing but procfs may be mounted at /proc'))
  if (userns?.late === true && input.facts.privileged) hand.send(slot, `the mount for ${mount.destination}`)
  const target = builder.slots.allocate(`target of ${plan.name}`)
  builder.child.push(
    input.facts.directories.has(source)
      ? step('mkdirs', { root, path: mount.destination, mode: 0o755, out: target }, 'find or make the mount point')
      : step('mkfile', { root, path: mount.destination, mode: 0o644, out: target }, 'find or make the mount point'),
    attach(slot, target, mount.destination),
  )
}

/** The attribute changes of a bind mount: its own flags, then those for its whole tree, then ids and propagation. */
function attributes({ mount, options }: MountPlan, slot: Slot, recursive: number, userns: Slot | null): Step[] {
  const steps: Step[] = []
  const { attrSet, attrClear, recursiveAttrSet, recursiveAttrClear } = options
  const change = (
    flags: number,
    set: number,
    clear: number,
    propagation: number,
    ids: Slot | null,
    why: string,
  ): void => {
    steps.push(
      step(
        'mount_setattr',
        { fd: slot, path: '', flags: AT_EMPTY_PATH | flags, set, clear, propagation, userns: ids },
        why,
      ),
    )
  }
  // A clone of a shared mount is its peer: without this, what the container mounts there would appear on the host.
  const asked = options.propagation.length === 0 ? [MS_SLAVE | (recursive === 0 ? 0 : MS_REC)] : options.propagation
  for (const propagation of asked)
    change(
      (propagation & MS_REC) === 0 ? 0 : AT_RECURSIVE,
      0,
      0,
      propagation & ~MS_REC,
      null,
      'set how mounts propagate',
    )
  if (recursiveAttrSet !== 0 || recursiveAttrClear !== 0)
    change(AT_RECURSIVE, recursiveAttrSet, recursiveAttrClear, 0, null, 'set the attributes of the whole tree')
  if (attrSet !== 0 || attrClear !== 0) change(0, attrSet, attrClear, 0, null, 'set the attributes of the mount')
  if (userns !== null)
    change(
      options.idmap === 'ridmap' ? AT_RECURSIVE : 0,
      MOUNT_ATTR_IDMAP,
      0,
      0,
      userns,
      `show the owners in ${mount.source} on both sides as each side expects`,
    )
  return steps
}

/** The user namespace of an idmapped mount; `late`: it exists only once the child does. */
function idmapNamespace(
  builder: PlanBuilder,
  input: ContainerInput,
  plan: MountPlan,
  hand: Handover,
): { slot: Slot; late: boolean } | null {
  const { mount, options } = plan
  if (options.idmap === null && mount.uidMappings === undefined) return null
  if (mount.uidMappings === undefined || mount.gidMappings === undefined) {
    if (inUserNamespace(input.spec)) return { slot: hand.userNamespace(), late: true }
    throw new BerthError(
      'invalidArgument',
      `Cannot idmap the mount at "${mount.destination}": it has no mappings and the container no user namespace`,
    )
  }
  const slot = builder.slots.allocate(`ids of ${plan.name}`)
  const maps = { uidMap: formatIdMap(mount.uidMappings), gidMap: formatIdMap(mount.gidMappings), out: slot }
  builder.host.push(step('userns', maps, `make a user namespace that carries the id map of ${mount.destination}`))
  return { slot, late: false }
}

function filesystem(builder: PlanBuilder, plan: MountPlan, root: Slot): Step[] {
  const { mount, options } = plan
  const type = mount.type ?? 'none'
  const slot = builder.slots.allocate(plan.name)
  const target = mountPoint(builder, mount.destination, type, root)
  const late = (options.attrSet & MOUNT_ATTR_RDONLY) !== 0 && (type === 'tmpfs' || mount.destination === '/dev')
  const attrs = (late ? options.attrSet & ~MOUNT_ATTR_RDONLY : options.attrSet) | options.recursiveAttrSet
  const content = options.tmpcopyup ? openContent(builder, root, mount.destination) : null
  const old = (options.superblockFlags & NEEDS_OLD_API) !== 0
  if (old) mountByCall(builder, plan, root, target, { out: slot, attrs })
  else mountByContext(builder, plan, { out: slot, attrs })
  if (content !== null)
    builder.child.push(step('copy_tree', { from: content, to: slot }, 'copy it into the new filesystem'))
  for (const propagation of options.propagation)
    builder.child.push(
      step(
        'mount_setattr',
        {
          fd: slot,
          path: '',
          flags: AT_EMPTY_PATH,
          set: 0,
          clear: 0,
          propagation: propagation & ~MS_REC,
          userns: null,
        },
        'set how mounts propagate',
      ),
    )
  if (!old) builder.child.push(attach(slot, target, mount.destination))
  if (!late) return []
  return [
    step(
      'mount_setattr',
      { fd: slot, path: '', flags: AT_EMPTY_PATH, set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: null },
      `make ${mount.destination} read-only, now that everything is in it`,
    ),
  ]
}

/** Makes a filesystem that is attached later: fsopen(2), fsconfig(2), fsmount(2). */
function mountByContext(
  builder: PlanBuilder,
  { mount, options, context }: MountPlan,
  { out, attrs }: { out: Slot; attrs: number },
): void {
  const fstype = mount.type ?? 'none'
  const data = [...options.superblockOptions, ...options.data, ...context]
  if (data.some(option => option.length > FSCONFIG_LIMIT))
    throw new BerthError(
      'invalidArgument',
      `Cannot mount ${fstype} at "${mount.destination}": an option is longer than ${FSCONFIG_LIMIT} bytes`,
    )
  builder.child.push(
    step(
      'mount_fs',
      { fstype, source: mount.source ?? fstype, options: data, attrs, out },
      `make the ${fstype} for ${mount.destination}`,
    ),
  )
}

/** The same by mount(2), for the one option that fsconfig(2) has no name for (iversion). It is attached at once. */
function mountByCall(
  builder: PlanBuilder,
  { mount, options, context }: MountPlan,
  root: Slot,
  target: Slot,
  { out, attrs }: { out: Slot; attrs: number },
): void {
  const fstype = mount.type ?? 'none'
  const flags = options.superblockFlags
  // A context may have a comma (its categories), so mount(2) takes it in quotes.
  const data = [...options.data, ...context.map(each => each.replace(/=(.*)/, '="$1"'))].join(',')
  builder.child.push(
    step(
      'mount',
      { source: mount.source ?? fstype, target, fstype, flags, data },
      `mount the ${fstype} at ${mount.destination}`,
    ),
    step('mkdirs', { root, path: mount.destination, mode: 0o755, out }, 'find the mount that was made'),
    step(
      'mount_setattr',
      { fd: out, path: '', flags: AT_EMPTY_PATH, set: attrs, clear: 0, propagation: 0, userns: null },
      'set the attributes of the mount',
    ),
  )
}

/** procfs and sysfs go to real directories only: a link there is an image redirecting them (CVE-2019-19921). */
function mountPoint(builder: PlanBuilder, destination: string, type: string, root: Slot): Slot {
  const target = builder.slots.allocate(`target of ${destination}`)
  if (type !== 'proc' && type !== 'sysfs') {
    if (destination === '/proc')
      throw new BerthError(
        'invalidArgument',
        `Cannot mount ${type} at "/proc": nothing but procfs may be mounted there`,
      )
    builder.child.push(
      step('mkdirs', { root, path: destination, mode: 0o755, out: target }, 'find or make the mount point'),
    )
    return target
  }
  builder.child.push(
    step(
      'mkdir',
      { dir: root, path: destination.slice(1), mode: 0o755 },
      { why: 'make the mount point', tolerate: [EEXIST] },
    ),
    step(
      'openat2',
      {
        dir: root,
        path: destination,
        flags: O_PATH | O_DIRECTORY | O_NOFOLLOW,
        mode: 0,
        resolve: RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
        out: target,
      },
      `find the mount point of ${type}, which must be a real directory`,
    ),
  )
  return target
}

function openContent(builder: PlanBuilder, root: Slot, destination: string): Slot {
  const content = builder.slots.allocate(`content of ${destination}`)
  builder.child.push(
    step(
      'openat2',
      {
        dir: root,
        path: destination,
        flags: O_RDONLY | O_DIRECTORY,
        mode: 0,
        resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        out: content,
      },
      'find what the image has there (tmpcopyup)',
    ),
  )
  return content
}

function remount(builder: PlanBuilder, { mount, options }: MountPlan, root: Slot): void {
  const target = builder.slots.allocate(`target of ${mount.destination}`)
  builder.child.push(
    step('mkdirs', { root, path: mount.destination, mode: 0o755, out: target }, 'find the mount to change'),
  )
  const ofFilesystem = options.data.length > 0 || options.superblockOptions.length > 0
  if (ofFilesystem && !options.bind)
    builder.child.push(
      step(
        'mount',
        { source: '', target, fstype: '', flags: MS_REMOUNT | mountFlagsOf(options), data: options.data.join(',') },
        'change the options of the filesystem (remount)',
      ),
    )
  // After mount(2), which sets the attributes of the mount to exactly its flags.
  builder.child.push(
    step(
      'mount_setattr',
      {
        fd: target,
        path: '',
        flags: AT_EMPTY_PATH,
        set: options.attrSet | options.recursiveAttrSet,
        clear: options.attrClear,
        propagation: 0,
        userns: null,
      },
      'change the attributes of the mount (remount)',
    ),
  )
}
