import { readFileSync } from 'node:fs'
import { BerthError } from '../../lib/error.ts'
import { type CgroupMount, parseCgroupMounts, parseProcCgroup } from '../../linux/cgroup/hierarchies.ts'

/** One hierarchy of cgroups and where this process is in it. */
export interface CgroupHierarchy {
  readonly version: 1 | 2
  /** v1: its controllers, a named hierarchy as `name=systemd`. v2: those that can be enabled below its mount point. */
  readonly controllers: readonly string[]
  readonly mountPoint: string
  /** Which part of the hierarchy is mounted there; `/` unless we run in a container without a cgroup namespace. */
  readonly root: string
  /** The cgroup of this process, as /proc/self/cgroup says. */
  readonly own: string
}

/** How the host's cgroups are set up. `hybrid`: v1 controllers, and a v2 hierarchy beside them. */
export interface CgroupLayout {
  readonly mode: 'v1' | 'hybrid' | 'v2'
  readonly hierarchies: readonly CgroupHierarchy[]
}

/**
 * Finds the mounted hierarchies.
 * @throws {BerthError} unavailable: none is mounted
 */
export function detectCgroups(): CgroupLayout {
  return readLayout(
    readFileSync('/proc/self/mountinfo', 'utf8'),
    readFileSync('/proc/self/cgroup', 'utf8'),
    mountPoint => readFileSync(`${mountPoint}/cgroup.controllers`, 'utf8'),
  )
}

/** The pure part of {@link detectCgroups}. `controllersAt` reads cgroup.controllers of a v2 mount point. */
export function readLayout(
  mountinfo: string,
  procCgroup: string,
  controllersAt: (mountPoint: string) => string,
): CgroupLayout {
  const mounts = new Map<string, CgroupMount>()
  for (const mount of parseCgroupMounts(mountinfo)) {
    const key = mount.version === 2 ? '' : [...mount.controllers].sort().join(',')
    const known = mounts.get(key)
    // A hierarchy may be mounted again elsewhere, as into a container's root; the usual place wins, then the first.
    if (known === undefined || (rank(mount) && !rank(known))) mounts.set(key, mount)
  }
  if (mounts.size === 0) {
    throw new BerthError(
      'unavailable',
      'Cannot find cgroups: no cgroup filesystem is mounted, expected one at /sys/fs/cgroup',
    )
  }
  const memberships = parseProcCgroup(procCgroup)
  const hierarchies = [...mounts.values()].map(({ version, controllers, mountPoint, root }) => ({
    version,
    controllers: version === 1 ? controllers : controllersAt(mountPoint).trim().split(' ').filter(Boolean),
    mountPoint,
    root,
    own:
      memberships.find(each =>
        version === 2 ? each.controllers.length === 0 : each.controllers.some(name => controllers.includes(name)),
      )?.path ?? '/',
  }))
  const v2 = hierarchies.some(each => each.version === 2)
  const v1 = hierarchies.some(each => each.version === 1 && each.controllers.some(name => !name.startsWith('name=')))
  return { mode: v1 ? (v2 ? 'hybrid' : 'v1') : 'v2', hierarchies: v1 ? hierarchies : hierarchies.filter(isV2) }
}

function rank(mount: CgroupMount): boolean {
  return mount.mountPoint.startsWith('/sys/fs/cgroup') && !mount.readOnly
}

function isV2(hierarchy: CgroupHierarchy): boolean {
  return hierarchy.version === 2
}
