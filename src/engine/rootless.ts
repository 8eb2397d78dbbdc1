import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { detectCgroups } from '../host/cgroup/layout.ts'
import { resolveCgroupPath } from '../host/cgroup/location.ts'
import { findSystemd } from '../host/cgroup/open-cgroup.ts'
import { userName } from '../host/user-name.ts'
import { BerthError } from '../lib/error.ts'
import { capabilityMask } from '../linux/capabilities.ts'
import { heldCapabilities } from '../runtime/host-facts.ts'
import { type ContainerIds, type IdRange, rangeIds, rootlessIds } from '../security/id-ranges.ts'
import type { ContainerOptions } from './container-options.ts'

/** Whether the engine has no privileges on the host, so that a container is made with those of its user alone. */
export function isRootless(): boolean {
  return (heldCapabilities() & capabilityMask(['CAP_SYS_ADMIN'])) === 0n
}

/**
 * The ids of a container: its own range, or what the user has.
 * @throws {BerthError} forbidden: the options need privileges; unavailable: the user has no subordinate ids
 */
export function containerIds(options: ContainerOptions, range: IdRange | null): ContainerIds | null {
  if (!isRootless()) return range === null ? null : rangeIds(range)
  const uid = process.getuid?.() ?? 0
  for (const [option, isGiven] of [
    ['--privileged', options.privileged],
    ['--userns=host', options.userns === 'host'],
  ] as const)
    if (isGiven)
      throw new BerthError(
        'forbidden',
        `Cannot use ${option}: it takes privileges on the host, which user ${uid} lacks`,
      )
  const user = { name: userName(uid), uid, gid: process.getgid?.() ?? 0 }
  return rootlessIds(user, readIfThere('/etc/subuid'), readIfThere('/etc/subgid'))
}

function readIfThere(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

/** Where the cgroup of a container goes, and who makes it. */
export interface CgroupChoice {
  readonly systemdCgroup: boolean
  /** `linux.cgroupsPath`; null: nowhere. */
  readonly cgroupsPath: string | null
}

/**
 * Below `--cgroup-parent`; for a user without privileges beside his own cgroup where that was delegated to him, else as a scope of
 * his instance of systemd, else nowhere.
 */
export async function chooseCgroup(id: string, { cgroupParent }: ContainerOptions): Promise<CgroupChoice> {
  if (cgroupParent !== null || !isRootless())
    return { systemdCgroup: false, cgroupsPath: `${cgroupParent ?? '/berth'}/${id}` }
  const layout = detectCgroups()
  const cgroupsPath = `berth-${id}`
  const { directories } = resolveCgroupPath(layout, cgroupsPath, id, 'cgroupfs')
  if (directories.every(({ dir }) => isWritable(posix.dirname(dir)))) return { systemdCgroup: false, cgroupsPath }
  if (layout.mode === 'v2' && (await hasSystemd())) return { systemdCgroup: true, cgroupsPath: `:berth:${id}` }
  return { systemdCgroup: false, cgroupsPath: null }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    // Not being allowed is the answer.
    return false
  }
}

async function hasSystemd(): Promise<boolean> {
  try {
    await findSystemd(true)
    return true
  } catch (error) {
    // No session of his own, or no systemd: a container does without a cgroup then, unless it needs limits.
    if (error instanceof BerthError && error.category === 'unavailable') return false
    throw error
  }
}
