import { accessSync, constants, existsSync } from 'node:fs'
import { posix } from 'node:path'
import { BerthError } from '../../lib/error.ts'
import { childCgroups, isGone, readCgroupFile } from './cgroup-file.ts'
import { type CgroupDirectory, type CgroupLocation, directoryOf } from './location.ts'
import { processesBelow } from './processes.ts'

/** What there is of a cgroup in one hierarchy before it is made. */
export interface CgroupProbe extends CgroupDirectory {
  /** The directories to make, topmost first; none when it is there already. */
  readonly missing: readonly string[]
  /** Whether we may make cgroups where the first missing one goes. */
  readonly writable: boolean
  /** v2: controllers to enable, by the cgroup whose children need them, topmost first. */
  readonly enable: readonly { readonly dir: string; readonly controllers: readonly string[] }[]
  /** v1 cpuset: cgroups on the path that have no CPUs or memory nodes and so can't have processes, and what they inherit. */
  readonly cpuset: readonly { readonly dir: string; readonly file: string; readonly value: string }[]
}

/**
 * Looks what must be made for a container's cgroup. `expected` are processes that may be in it already.
 * @throws {BerthError} conflict: it is there already with processes in it, or frozen
 */
export function probeCgroup(
  location: CgroupLocation,
  expected: ReadonlySet<number> = new Set(),
): readonly CgroupProbe[] {
  const probes = location.directories.map(probeDirectory)
  for (const { hierarchy, dir, missing } of probes) {
    if (missing.length > 0) continue
    const pids = processesBelow(dir).filter(pid => !expected.has(pid))
    if (pids.length > 0) {
      throw new BerthError(
        'conflict',
        `Cannot use cgroup "${dir}": processes ${pids.join(', ')} are in it, expected none`,
      )
    }
    const frozen = hierarchy.version === 2 ? readCgroupFile(dir, 'cgroup.freeze') : readCgroupFile(dir, 'freezer.state')
    if (frozen?.trim() === '1' || frozen?.startsWith('FR')) {
      throw new BerthError('conflict', `Cannot use cgroup "${dir}": it is frozen, expected it thawed`)
    }
  }
  return probes
}

function probeDirectory({ hierarchy, dir }: CgroupDirectory): CgroupProbe {
  const path = pathFrom(hierarchy.mountPoint, dir)
  const missing = path.slice(path.findLastIndex(each => existsSync(each)) + 1)
  const deepest = posix.dirname(missing[0] ?? `${dir}/x`)
  return {
    hierarchy,
    dir,
    missing,
    writable: isWritable(deepest),
    enable: hierarchy.version === 2 ? controllersToEnable(path.slice(0, -1), missing, hierarchy.controllers) : [],
    cpuset: hierarchy.controllers.includes('cpuset') && hierarchy.version === 1 ? cpusetsToFill(path, missing) : [],
  }
}

/** Every directory from the mount point down to a cgroup, both included. */
function pathFrom(mountPoint: string, dir: string): readonly string[] {
  const names = dir.slice(mountPoint.length).split('/').filter(Boolean)
  return [mountPoint, ...names.map((_, i) => `${mountPoint}/${names.slice(0, i + 1).join('/')}`)]
}

function isWritable(dir: string): boolean {
  try {
    accessSync(dir, constants.W_OK)
    return true
  } catch {
    // Not being allowed is the answer; what follows from it is the composer's decision.
    return false
  }
}

function controllersToEnable(
  parents: readonly string[],
  missing: readonly string[],
  available: readonly string[],
): CgroupProbe['enable'] {
  let offered = available
  return parents.flatMap(dir => {
    if (missing.includes(dir)) return [{ dir, controllers: offered }]
    offered = words(readCgroupFile(dir, 'cgroup.controllers')) ?? offered
    const enabled = words(readCgroupFile(dir, 'cgroup.subtree_control')) ?? []
    const controllers = offered.filter(name => !enabled.includes(name))
    return controllers.length === 0 ? [] : [{ dir, controllers }]
  })
}

function words(text: string | null): readonly string[] | undefined {
  return text?.trim().split(' ').filter(Boolean)
}

function cpusetsToFill(path: readonly string[], missing: readonly string[]): CgroupProbe['cpuset'] {
  const fill: { dir: string; file: string; value: string }[] = []
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    let inherited = ''
    for (const dir of path) {
      const own = missing.includes(dir) ? '' : (readCgroupFile(dir, file)?.trim() ?? '')
      if (own === '') fill.push({ dir, file, value: inherited })
      else inherited = own
    }
  }
  return fill.sort((a, b) => path.indexOf(a.dir) - path.indexOf(b.dir))
}

/**
 * The v2 cgroup that a further process of a running container can be put into: the container's own, or, when something in
 * the container made it an inner node (a container's systemd does), the one its init process is in, since inner nodes
 * with controllers take no processes.
 */
export function joinableDirectory({ hierarchy, dir }: CgroupDirectory, initPid: number | undefined): string {
  const inner = (readCgroupFile(dir, 'cgroup.subtree_control') ?? '').trim() !== '' && childCgroups(dir).length > 0
  if (!inner || initPid === undefined) return dir
  const path = /^0::(.*)$/m.exec(readProcCgroup(initPid))?.[1]
  const current = path === undefined ? undefined : directoryOf(hierarchy, path)
  return current?.startsWith(`${dir}/`) ? current : dir
}

function readProcCgroup(pid: number): string {
  try {
    return readCgroupFile(`/proc/${pid}`, 'cgroup') ?? ''
  } catch (error) {
    if (isGone(error)) return ''
    throw error
  }
}
