import { BerthError } from '../../lib/error.ts'
import { parseMountInfo } from '../mountinfo.ts'

/** One line of /proc/PID/cgroup: where a process is in one hierarchy. */
export interface CgroupMembership {
  /** Empty for the v2 hierarchy, `['name=systemd']` for a named one. */
  readonly controllers: readonly string[]
  /** As seen from the reader's cgroup namespace. */
  readonly path: string
}

/** One mounted hierarchy. */
export interface CgroupMount {
  readonly version: 1 | 2
  /** v1: the controllers, a named hierarchy as `name=…`. v2: none, its files say them. */
  readonly controllers: readonly string[]
  readonly mountPoint: string
  /** Which part of the hierarchy is mounted, as seen from the reader's cgroup namespace; mostly `/`. */
  readonly root: string
  readonly readOnly: boolean
}

/** Reads /proc/PID/cgroup. Source: cgroups(7) › /proc files. */
export function parseProcCgroup(text: string): readonly CgroupMembership[] {
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => {
      const first = line.indexOf(':')
      const second = line.indexOf(':', first + 1)
      if (first < 1 || second < 0)
        throw new BerthError('internal', `Cannot read /proc/self/cgroup: malformed line "${line}"`)
      const controllers = line.slice(first + 1, second)
      return { controllers: controllers === '' ? [] : controllers.split(','), path: line.slice(second + 1) }
    })
}

/** Mount options of cgroup v1 that are no controllers. Source: kernel/cgroup/cgroup-v1.c. */
const V1_FLAGS: ReadonlySet<string> = new Set(
  'rw ro none all xattr noprefix clone_children cpuset_v2_mode release_agent seclabel nodev nosuid noexec favordynmods'.split(
    ' ',
  ),
)

/**
 * The cgroup mounts among the lines of /proc/self/mountinfo, in mount order; a hierarchy mounted twice appears twice.
 * Source: proc_pid_mountinfo(5).
 */
export function parseCgroupMounts(mountinfo: string): readonly CgroupMount[] {
  // The type follows the lone hyphen. A host with many containers has thousands of other lines.
  const lines = mountinfo.split('\n').filter(line => line.includes(' - cgroup'))
  return parseMountInfo(lines.join('\n')).flatMap(({ fstype, mountPoint, root, options, superOptions }) => {
    if (fstype !== 'cgroup' && fstype !== 'cgroup2') return []
    const controllers = superOptions.filter(word => !V1_FLAGS.has(word) && !word.startsWith('release_agent='))
    return [
      {
        version: fstype === 'cgroup' ? 1 : 2,
        controllers: fstype === 'cgroup' ? controllers : [],
        mountPoint,
        root,
        readOnly: options.includes('ro'),
      },
    ]
  })
}
