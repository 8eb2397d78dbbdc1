import { posix } from 'node:path'
import { cleanPath } from '../../lib/clean-path.ts'
import { BerthError } from '../../lib/error.ts'
import { expandSlice, parseSystemdPath } from '../../linux/cgroup/systemd-unit.ts'
import type { CgroupHierarchy, CgroupLayout } from './layout.ts'

/** Who makes and removes the cgroup: Berth itself in the filesystem, or systemd as a unit. */
export type CgroupManagerKind = 'cgroupfs' | 'systemd'

/** A cgroup in one hierarchy. */
export interface CgroupDirectory {
  readonly hierarchy: CgroupHierarchy
  /** Absolute path below the hierarchy's mount point. */
  readonly dir: string
}

/** Where a container's cgroups are: one directory per hierarchy. Plain data, kept in the container's state. */
export interface CgroupLocation {
  readonly manager: CgroupManagerKind
  readonly directories: readonly CgroupDirectory[]
  /** With systemd: the unit, its slice ('' is the manager's default), and whose instance has it. */
  readonly systemd?: { readonly unit: string; readonly slice: string; readonly bus: 'system' | 'user' }
}

/** What only systemd knows: `ControlGroup` of the user instance, below which its slices are. */
export interface SystemdPlace {
  readonly bus: 'system' | 'user'
  /** '' for the system instance. */
  readonly controlGroup: string
}

/**
 * `linux.cgroupsPath` → directories. cgroupfs: an absolute path counts from the mount points, a relative one (and the default,
 * the id) from the runtime's own cgroup; on v2 from its parent, because the own cgroup has processes in it and a cgroup
 * with processes can't give controllers to its children. systemd: `slice:prefix:name`.
 * @throws {BerthError} invalidArgument for `..` or a malformed path
 * Source: runtime-spec › Control groups › Cgroups Path; as runc does.
 */
export function resolveCgroupPath(
  layout: CgroupLayout,
  cgroupsPath: string | undefined,
  id: string,
  manager: CgroupManagerKind,
  place: SystemdPlace = { bus: 'system', controlGroup: '' },
): CgroupLocation {
  if (manager === 'systemd') return systemdLocation(layout, cgroupsPath, id, place)
  const path = cgroupsPath || id
  if (path.split('/').includes('..') || /[\0\n]/.test(path)) {
    throw new BerthError('invalidArgument', `Cannot use cgroupsPath "${path}": it holds "..", expected a path without`)
  }
  const directories = layout.hierarchies.map(hierarchy => {
    const base = hierarchy.version === 1 ? ownDirectory(hierarchy) : parentOfOwn(hierarchy)
    const start = path.startsWith('/') ? hierarchy.mountPoint : base
    return { hierarchy, dir: cleanPath(`${start}/${path}`) }
  })
  if (directories.some(({ hierarchy, dir }) => dir === hierarchy.mountPoint)) {
    throw new BerthError(
      'invalidArgument',
      `Cannot use cgroupsPath "${path}": it is the root, expected a cgroup below it`,
    )
  }
  return { manager, directories }
}

/** The directory of this process's own cgroup; the mount point when the mount does not show it. */
export function ownDirectory(hierarchy: CgroupHierarchy): string {
  return directoryOf(hierarchy, hierarchy.own) ?? hierarchy.mountPoint
}

/** The directory of a path as /proc/PID/cgroup says it; undefined when the mount does not show it. */
export function directoryOf(hierarchy: CgroupHierarchy, path: string): string | undefined {
  const { root, mountPoint } = hierarchy
  if (path.split('/').includes('..')) return undefined
  if (root === '/') return cleanPath(`${mountPoint}/${path}`)
  if (path === root) return mountPoint
  return path.startsWith(`${root}/`) ? posix.join(mountPoint, path.slice(root.length)) : undefined
}

function parentOfOwn(hierarchy: CgroupHierarchy): string {
  const own = ownDirectory(hierarchy)
  return own === hierarchy.mountPoint ? own : posix.dirname(own)
}

function systemdLocation(
  layout: CgroupLayout,
  cgroupsPath: string | undefined,
  id: string,
  place: SystemdPlace,
): CgroupLocation {
  if (place.bus === 'user' && layout.mode !== 'v2') {
    throw new BerthError(
      'notImplemented',
      `Cannot use systemd's user instance: the host has cgroup ${layout.mode}, expected v2`,
    )
  }
  const { slice, unit } = parseSystemdPath(cgroupsPath, id)
  const path = posix.join('/', place.controlGroup, expandSlice(slice || defaultSlice(place)), unit)
  const directories = layout.hierarchies.map(hierarchy => ({ hierarchy, dir: posix.join(hierarchy.mountPoint, path) }))
  return { manager: 'systemd', directories, systemd: { unit, slice, bus: place.bus } }
}

/** Where systemd's units go that name no slice. */
export function defaultSlice(place: Pick<SystemdPlace, 'bus'>): string {
  return place.bus === 'user' ? 'user.slice' : 'system.slice'
}

/**
 * The directory that has a controller's files. `freezer` and `devices` are part of v2's core, so the v2 directory has them
 * when no v1 hierarchy does.
 */
export function directoryFor(location: CgroupLocation, controller: string): CgroupDirectory | undefined {
  return (
    location.directories.find(
      ({ hierarchy }) => hierarchy.version === 1 && hierarchy.controllers.includes(controller),
    ) ??
    location.directories.find(
      ({ hierarchy }) =>
        hierarchy.version === 2 && (controller === 'cgroup' || hierarchy.controllers.includes(controller)),
    )
  )
}

/** The v2 directory of a location, undefined on pure v1. */
export function unifiedDirectory(location: CgroupLocation): CgroupDirectory | undefined {
  return location.directories.find(({ hierarchy }) => hierarchy.version === 2)
}

/** Whether v2 alone is in charge, so that it has the devices and the freezer too. */
export function isUnified(location: CgroupLocation): boolean {
  return location.directories.every(({ hierarchy }) => hierarchy.version === 2)
}
