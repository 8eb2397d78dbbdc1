import { existsSync } from 'node:fs'
import { BerthError } from '../../lib/error.ts'
import { SystemdCgroup } from './cgroup-systemd.ts'
import { CgroupV1 } from './cgroup-v1.ts'
import { CgroupV2 } from './cgroup-v2.ts'
import { type CgroupLocation, isUnified, type SystemdPlace } from './location.ts'
import type { CgroupManager, CgroupManagerOptions } from './manager.ts'

/** The manager of the cgroup at a location, made or not yet. */
export function openCgroup(location: CgroupLocation, options: CgroupManagerOptions = {}): CgroupManager {
  return location.manager === 'systemd' ? openSystemdCgroup(location, options) : openFiles(location, options)
}

/** The same for a systemd location, with {@link SystemdCgroup.adopt}. */
export function openSystemdCgroup(location: CgroupLocation, options: CgroupManagerOptions = {}): SystemdCgroup {
  return new SystemdCgroup(location, openFiles(location, options), options)
}

function openFiles(location: CgroupLocation, options: CgroupManagerOptions): CgroupManager {
  return isUnified(location) ? new CgroupV2(location, options) : new CgroupV1(location)
}

/**
 * Which instance of systemd makes units for us, for `resolveCgroupPath`: the system's for root, else the user's, below whose
 * own cgroup its slices are.
 * @throws {BerthError} unavailable: the host does not run systemd, or its bus can't be reached
 */
export async function findSystemd(rootless: boolean): Promise<SystemdPlace> {
  if (!existsSync('/run/systemd/system')) {
    throw new BerthError('unavailable', 'Cannot use the systemd cgroup manager: the host does not run systemd')
  }
  if (!rootless) return { bus: 'system', controlGroup: '' }
  const { SystemdBus } = await import('./systemd-bus.ts')
  using bus = await SystemdBus.open('user')
  return { bus: 'user', controlGroup: await bus.managerProperty('ControlGroup') }
}
