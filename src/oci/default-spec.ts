/** The config that `spec` writes: the one `runc spec` writes, in the newest version of the spec. */

import { type Mount, OCI_RUNTIME_SPEC_VERSION, type RuntimeSpec } from './runtime-spec.ts'
import type { Namespace } from './runtime-spec-linux.ts'

/** The ids of the user who runs a rootless container; they become root inside. */
export interface RootlessIds {
  readonly uid: number
  readonly gid: number
}

const CAPABILITIES = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE']

/** Kernel interfaces that tell about the host or reach its hardware. */
const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/sys/firmware',
  '/proc/scsi',
]

const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

/** A config that runs `sh` in `rootfs` of the bundle; with `rootless`, one for a user without privileges. */
export function defaultSpec(rootless: RootlessIds | null = null): RuntimeSpec {
  return {
    ociVersion: OCI_RUNTIME_SPEC_VERSION,
    process: {
      terminal: true,
      user: { uid: 0, gid: 0 },
      args: ['sh'],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'],
      cwd: '/',
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024n, soft: 1024n }],
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: true },
    hostname: 'berth',
    mounts: rootless === null ? MOUNTS : MOUNTS.map(rootlessMount),
    linux: {
      ...(rootless === null
        ? { resources: { devices: [{ allow: false, access: 'rwm' }] } }
        : {
            uidMappings: [{ containerID: 0, hostID: rootless.uid, size: 1 }],
            gidMappings: [{ containerID: 0, hostID: rootless.gid, size: 1 }],
          }),
      namespaces: rootless === null ? NAMESPACES : ROOTLESS_NAMESPACES,
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
    },
  }
}

const NAMESPACES: readonly Namespace[] = [
  { type: 'pid' },
  { type: 'network' },
  { type: 'ipc' },
  { type: 'uts' },
  { type: 'mount' },
]

/** Without a network of its own, which an unprivileged user could not connect to anything. */
const ROOTLESS_NAMESPACES: readonly Namespace[] = [
  ...NAMESPACES.filter(({ type }) => type !== 'network'),
  { type: 'user' },
]

const MOUNTS: readonly Mount[] = [
  { destination: '/proc', type: 'proc', source: 'proc' },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  {
    destination: '/sys/fs/cgroup',
    type: 'cgroup',
    source: 'cgroup',
    options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
  },
]

/** A sysfs needs a network namespace of one's own, so the host's is bound; a gid that is not mapped can't own a devpts. */
function rootlessMount(mount: Mount): Mount {
  if (mount.type === 'sysfs') {
    return { destination: '/sys', type: 'none', source: '/sys', options: ['rbind', 'nosuid', 'noexec', 'nodev', 'ro'] }
  }
  if (mount.options === undefined) return mount
  return { ...mount, options: mount.options.filter(option => !/^[ug]id=/.test(option)) }
}
