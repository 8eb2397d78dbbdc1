import { release } from 'node:os'
import { type Capability, DOCKER_DEFAULT_CAPABILITIES } from '../src/linux/capabilities.ts'
import type { RuntimeSpec } from '../src/oci/runtime-spec.ts'
import { MASKED_PATHS, READONLY_PATHS } from '../src/security/defaults.ts'
import { dockerProfile } from '../src/security/seccomp-profile.ts'

/** Where the container's ids begin on the host, and how many there are. */
export const ID_BASE = 1_400_000
export const ID_COUNT = 65_536

const CAPABILITIES: readonly Capability[] = DOCKER_DEFAULT_CAPABILITIES

/** A container as engines start it: every namespace, Docker's mounts, capabilities and seccomp profile, masked paths. */
export function typicalSpec(args: readonly string[]): RuntimeSpec {
  const map = [{ containerID: 0, hostID: ID_BASE, size: ID_COUNT }]
  return {
    ociVersion: '1.3.0',
    process: {
      user: { uid: 0, gid: 0 },
      args,
      env: ['PATH=/bin', 'HOME=/'],
      cwd: '/',
      noNewPrivileges: true,
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
    },
    root: { path: 'rootfs' },
    hostname: 'bench',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      {
        destination: '/dev',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'strictatime', 'mode=755', 'size=64k'],
      },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
      },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
      { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
      {
        destination: '/dev/shm',
        type: 'tmpfs',
        source: 'shm',
        options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=64m'],
      },
    ],
    linux: {
      namespaces: [
        { type: 'pid' },
        { type: 'network' },
        { type: 'ipc' },
        { type: 'uts' },
        { type: 'mount' },
        { type: 'user' },
        { type: 'cgroup' },
      ],
      uidMappings: map,
      gidMappings: map,
      seccomp: dockerProfile({ capabilities: CAPABILITIES, arch: architecture(), kernelVersion: release() }),
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
    },
  } as RuntimeSpec
}

function architecture(): 'x86_64' | 'aarch64' {
  return process.arch === 'arm64' ? 'aarch64' : 'x86_64'
}
