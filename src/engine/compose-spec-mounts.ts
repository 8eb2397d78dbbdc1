import { join } from 'node:path'
import type { Mount } from '../oci/runtime-spec.ts'
import { type HostDevice, INIT_PATH, type SpecInput } from './spec-input.ts'

/** The files that the engine generates for each container and mounts over the image's. */
export const GENERATED_FILES = ['hostname', 'hosts', 'resolv.conf'] as const

/** Docker's default mounts, the generated files, then what the user asked for; later ones lie on top. */
export function composeMounts(input: SpecInput): readonly Mount[] {
  const { options } = input
  const custom = [...options.binds.map(({ target }) => target), ...options.tmpfs.map(({ target }) => target)]
  const defaults = [...kernelMounts(input), ...generatedMounts(input)].filter(
    ({ destination }) => !custom.includes(destination),
  )
  const init: Mount[] = options.init
    ? [{ destination: INIT_PATH, type: 'bind', source: input.initPath, options: ['bind', 'ro', 'nosuid', 'nodev'] }]
    : []
  // Showing files of anybody under the owner's id takes privileges on the host.
  const idmapped = input.ids !== null && !input.rootless
  const devices = input.devices.filter(device => isBoundDevice(device, input)).map(deviceMount)
  const own = [...options.tmpfs.map(tmpfsMount), ...options.binds.map(bind => bindMount(bind, idmapped))]
  // A mount below another must come after it, whatever the order in which they were given.
  return [...defaults, ...init, ...devices, ...own.sort((a, b) => depth(a) - depth(b))]
}

function depth({ destination }: Mount): number {
  return destination.split('/').filter(Boolean).length
}

function kernelMounts({ options }: SpecInput): Mount[] {
  const access = options.privileged ? 'rw' : 'ro'
  const size = `size=${options.shmSizeBytes}`
  const mounts: Mount[] = [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
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
    sysMount(options.network === 'host', access),
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [access, 'nosuid', 'noexec', 'nodev'] },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: ['nosuid', 'noexec', 'nodev', 'mode=1777', size],
    },
  ]
  return mounts
}

/** sysfs shows the network namespace of the one who mounts it, and a user namespace may not mount it for the host's: bind it then. */
function sysMount(hostNetwork: boolean, access: string): Mount {
  const options = ['nosuid', 'noexec', 'nodev', access]
  return hostNetwork
    ? {
        destination: '/sys',
        type: 'bind',
        source: '/sys',
        options: ['rbind', 'rprivate', access === 'ro' ? 'rro' : 'rw', ...options],
      }
    : { destination: '/sys', type: 'sysfs', source: 'sysfs', options }
}

function generatedMounts({ directory }: SpecInput): Mount[] {
  return GENERATED_FILES.map(name => ({
    destination: `/etc/${name}`,
    type: 'bind',
    source: join(directory, name),
    options: ['bind', 'rprivate'],
  }))
}

function tmpfsMount({ target, options }: SpecInput['options']['tmpfs'][number]): Mount {
  return { destination: target, type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'noexec', ...options] }
}

/**
 * Whether a device is a bind mount: a user namespace may not make device nodes, and the runtime's way around it, to bind the host's,
 * finds it only where it has the same path.
 */
export function isBoundDevice({ hostPath, path }: HostDevice, { ids }: Pick<SpecInput, 'ids'>): boolean {
  return ids !== null && hostPath !== path
}

function deviceMount({ hostPath, path }: HostDevice): Mount {
  return { destination: path, type: 'bind', source: hostPath, options: ['bind', 'nosuid', 'noexec', 'rprivate'] }
}

/** In a user namespace the files keep their owners on both sides by an idmapped mount. */
function bindMount({ source, target, options }: SpecInput['options']['binds'][number], mapped: boolean): Mount {
  return { destination: target, type: 'bind', source, options: ['rbind', ...options, ...(mapped ? ['idmap'] : [])] }
}
