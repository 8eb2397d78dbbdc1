import { cleanPath } from '../lib/clean-path.ts'
import { BerthError } from '../lib/error.ts'
import { OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE } from '../linux/mount-flags.ts'
import { S_IFBLK, S_IFCHR, S_IFIFO } from '../linux/open-flags.ts'
import type { Device } from '../oci/runtime-spec-linux.ts'
import type { Slot } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import { attach } from './attach.ts'
import { type ContainerInput, inUserNamespace } from './container-input.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** The devices every container gets. Source: runtime-spec › Default Devices. */
const DEFAULT_DEVICES: readonly Device[] = [
  ['/dev/null', 1, 3],
  ['/dev/zero', 1, 5],
  ['/dev/full', 1, 7],
  ['/dev/random', 1, 8],
  ['/dev/urandom', 1, 9],
  ['/dev/tty', 5, 0],
].map(([path, major, minor]) => ({
  type: 'c',
  path: String(path),
  major: Number(major),
  minor: Number(minor),
  fileMode: 0o666,
  uid: 0,
  gid: 0,
}))

const FILE_TYPES = { c: S_IFCHR, u: S_IFCHR, b: S_IFBLK, p: S_IFIFO } as const

/** The config's devices and the default ones, by mknod or, where a user namespace forbids that, by binding the host's. */
export function composeDevices(builder: PlanBuilder, input: ContainerInput, root: Slot): void {
  const { spec } = input
  // A bind mount at /dev brings the devices of its source; making nodes in it would change the host.
  if (bindsDev(input)) return
  const own = spec.linux?.devices ?? []
  const devices = [...DEFAULT_DEVICES.filter(device => !own.some(({ path }) => path === device.path)), ...own]
  for (const device of devices) {
    if (inUserNamespace(spec) && device.type !== 'p') bindDevice(builder, input, device, root)
    else makeDevice(builder, device, root)
  }
  composeLinks(builder, input, root)
}

/** Whether the config binds something at /dev. */
function bindsDev({ spec }: ContainerInput): boolean {
  return (spec.mounts ?? []).some(
    mount =>
      cleanPath(mount.destination) === '/dev' &&
      (mount.type === 'bind' || (mount.options ?? []).some(option => option === 'bind' || option === 'rbind')),
  )
}

function makeDevice(builder: PlanBuilder, device: Device, root: Slot): void {
  builder.child.push(
    step(
      'mknod',
      {
        root,
        path: device.path,
        type: FILE_TYPES[device.type],
        mode: device.fileMode ?? 0o666,
        major: device.major ?? 0,
        minor: device.minor ?? 0,
        uid: device.uid ?? 0,
        gid: device.gid ?? 0,
      },
      `make the device ${device.path}`,
    ),
  )
}

/** mknod(2) of devices is refused in a user namespace whatever the capabilities, so the host's node is shown instead. */
function bindDevice(builder: PlanBuilder, input: ContainerInput, device: Device, root: Slot): void {
  const node = builder.slots.allocate(device.path)
  const target = builder.slots.allocate(`target of ${device.path}`)
  const { major, minor } = device
  if (major === undefined || minor === undefined)
    throw new BerthError('invalidArgument', `Cannot make the device "${device.path}": it has no major and minor number`)
  const stage = input.facts.privileged ? builder.host : builder.child
  stage.push(
    step(
      'open_tree',
      { dir: null, path: device.path, flags: OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, out: node },
      "take the host's device node as a detached mount",
    ),
    step(
      'check_type',
      { fd: node, type: FILE_TYPES[device.type], major, minor },
      'make sure that it is the device of the config',
    ),
  )
  builder.child.push(
    step('mkfile', { root, path: device.path, mode: 0o666, out: target }, `make a place for ${device.path}`),
    attach(node, target, device.path),
  )
}

/** Source: runtime-spec › Runtime: /dev symbolic links. */
function composeLinks(builder: PlanBuilder, input: ContainerInput, root: Slot): void {
  const links: [string, string][] = [
    ['/proc/self/fd', '/dev/fd'],
    ['/proc/self/fd/0', '/dev/stdin'],
    ['/proc/self/fd/1', '/dev/stdout'],
    ['/proc/self/fd/2', '/dev/stderr'],
    ['pts/ptmx', '/dev/ptmx'],
  ]
  if (input.facts.kcore) links.push(['/proc/kcore', '/dev/core'])
  for (const [target, path] of links) builder.child.push(step('symlink', { target, root, path }, `link ${path}`))
}
