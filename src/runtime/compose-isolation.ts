import { EACCES, ENOENT, ENOTDIR } from '../lib/errno.ts'
import { BerthError, invariant } from '../lib/error.ts'
import { PROC_SUPER_MAGIC } from '../linux/fs-magic.ts'
import {
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from '../linux/mount-flags.ts'
import { O_DIRECTORY, O_PATH, S_IFCHR } from '../linux/open-flags.ts'
import { sysctlPath } from '../linux/sysctl.ts'
import type { Slot } from '../plan/slots.ts'
import { step } from '../plan/step.ts'
import type { ContainerInput } from './container-input.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** The host's procfs, checked and opened before anything of the container can stand in its place (CVE-2019-16884, CVE-2025-52881). */
export function openHostProc(builder: PlanBuilder): Slot {
  const proc = builder.slots.allocate('proc of the host')
  builder.host.push(
    step(
      'open',
      { path: '/proc', flags: O_PATH | O_DIRECTORY, mode: 0, out: proc },
      "keep the host's procfs for settings of the child",
    ),
    step('check_fs', { fd: proc, magic: PROC_SUPER_MAGIC }, 'make sure that it is procfs'),
  )
  return proc
}

/**
 * Refuses what only the machine can tell that it can't be had.
 * @throws {BerthError} notImplemented: linux.intelRdt; unavailable: linux.mountLabel without SELinux
 */
export function refuseUnavailable({ spec, facts }: ContainerInput): void {
  const { intelRdt, mountLabel = '' } = spec.linux ?? {}
  if (intelRdt !== undefined)
    throw new BerthError('notImplemented', 'Cannot set linux.intelRdt: this runtime makes no resctrl groups')
  if (mountLabel !== '' && !facts.seLinux)
    throw new BerthError(
      'unavailable',
      `Cannot label mounts "${mountLabel}" (linux.mountLabel): SELinux is not enabled on this host`,
    )
}

/** Hides `maskedPaths` and makes `readonlyPaths` read-only, by fds of the launcher and the child only (CVE-2025-31133). */
export function composePaths(builder: PlanBuilder, input: ContainerInput, root: Slot): void {
  const { maskedPaths = [], readonlyPaths = [] } = input.spec.linux ?? {}
  for (const path of readonlyPaths)
    builder.child.push(
      step(
        'readonly_path',
        { root, path },
        { why: 'make it read-only (linux.readonlyPaths)', tolerate: [ENOENT, ENOTDIR] },
      ),
    )
  if (maskedPaths.length === 0) return
  const file = builder.slots.allocate('null')
  const directory = builder.slots.allocate('empty directory')
  const stage = input.facts.privileged ? builder.host : builder.child
  stage.push(
    step(
      'open_tree',
      { dir: null, path: '/dev/null', flags: OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, out: file },
      "take the host's /dev/null, to cover files",
    ),
    step('check_type', { fd: file, type: S_IFCHR, major: 1, minor: 3 }, 'make sure that it is the null device'),
  )
  const attrs = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
  builder.child.push(
    step(
      'mount_fs',
      { fstype: 'tmpfs', source: 'tmpfs', options: ['nr_inodes=1', 'mode=755'], attrs, out: directory },
      'make an empty directory, to cover directories',
    ),
  )
  for (const path of maskedPaths)
    builder.child.push(
      step(
        'mask',
        { root, path, directory, file },
        { why: 'hide it (linux.maskedPaths)', tolerate: [ENOENT, ENOTDIR, EACCES] },
      ),
    )
}

/** Kernel settings of the container's own namespaces; keys were checked to be such. */
export function composeSysctl(builder: PlanBuilder, input: ContainerInput, proc: Slot): void {
  for (const [key, value] of Object.entries(input.spec.linux?.sysctl ?? {})) {
    const path = sysctlPath(key)
    invariant(path !== undefined, `sysctl ${key} has been checked`)
    builder.child.push(
      step(
        'write_checked',
        { dir: proc, path: `sys/${path}`, magic: PROC_SUPER_MAGIC, data: value },
        `set ${key} (linux.sysctl)`,
      ),
    )
  }
}

/** Host and domain name of a new UTS namespace. */
export function composeHostname(builder: PlanBuilder, input: ContainerInput): void {
  const { hostname, domainname } = input.spec
  if (hostname !== undefined && hostname !== '')
    builder.child.push(step('sethostname', { name: hostname }, 'set the host name'))
  if (domainname !== undefined && domainname !== '')
    builder.child.push(step('setdomainname', { name: domainname }, 'set the NIS domain name'))
}
