import type { CgroupLayout } from '../../src/host/cgroup/layout.ts'
import type { Mount, Process, RuntimeSpec } from '../../src/oci/runtime-spec.ts'
import type { Linux } from '../../src/oci/runtime-spec-linux.ts'
import type { Plan } from '../../src/plan/step.ts'
import type { CgroupComposition } from '../../src/runtime/compose-cgroup.ts'
import { composeContainer } from '../../src/runtime/compose-container.ts'
import type { SeccompFilter } from '../../src/runtime/compose-credentials.ts'
import type { ContainerInput, HostFacts } from '../../src/runtime/container-input.ts'
import { PlanBuilder } from '../../src/runtime/plan-builder.ts'

export const CGROUP_V2: CgroupLayout = {
  mode: 'v2',
  hierarchies: [
    { version: 2, controllers: ['cpu', 'memory', 'pids'], mountPoint: '/sys/fs/cgroup', root: '/', own: '/init.scope' },
  ],
}

export const CGROUP_V1: CgroupLayout = {
  mode: 'v1',
  hierarchies: [
    { version: 1, controllers: ['cpu', 'cpuacct'], mountPoint: '/sys/fs/cgroup/cpu', root: '/', own: '/own' },
    { version: 1, controllers: ['name=systemd'], mountPoint: '/sys/fs/cgroup/systemd', root: '/', own: '/own' },
  ],
}

/** No cgroup at all, as for a user who has no right to make one. */
export const NO_CGROUP: CgroupComposition = {
  location: { manager: 'cgroupfs', directories: [] },
  host: [],
  parent: [],
  child: [],
  undo: [],
  cloneInto: null,
  unshareInChild: false,
  viaSystemd: false,
}

/** A machine that exists nowhere, so that plans for it are the same everywhere. */
export function hostFacts(more: Partial<HostFacts> = {}): HostFacts {
  return {
    kernel: [6, 18],
    cgroups: CGROUP_V2,
    directories: new Set(),
    appArmor: false,
    seLinux: false,
    privileged: true,
    hardLimits: {},
    environment: [],
    kcore: false,
    ...more,
  }
}

export const PROCESS: Process = { cwd: '/', args: ['/bin/true'] }

/** The parts of a config that a test is about. */
export interface SpecParts extends Omit<Partial<RuntimeSpec>, 'process' | 'linux'> {
  readonly process?: Partial<Process>
  readonly linux?: Linux
  readonly mounts?: readonly Mount[]
}

/** A config with as little as possible beside what is given: a mount and a pid namespace, and one program. */
export function specOf({ process, linux, ...more }: SpecParts = {}): RuntimeSpec {
  return {
    ociVersion: '1.3.0',
    process: { ...PROCESS, ...process },
    linux: { namespaces: [{ type: 'pid' }, { type: 'mount' }], ...linux },
    ...more,
  }
}

/** Namespaces and id maps of a container whose root is user 100000 of the host. */
export const USER_NAMESPACE = {
  namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'user' }],
  uidMappings: [{ containerID: 0, hostID: 100_000, size: 65_536 }],
  gidMappings: [{ containerID: 0, hostID: 100_000, size: 65_536 }],
} as const satisfies Linux

export function containerInput(parts: SpecParts = {}, more: Partial<ContainerInput> = {}): ContainerInput {
  return {
    id: 'c1',
    spec: specOf(parts),
    bundle: '/bundle',
    stateDirectory: '/run/berth/c1',
    root: { kind: 'directory', path: '/bundle/rootfs' },
    facts: hostFacts(),
    cgroup: NO_CGROUP,
    cgroupLocation: NO_CGROUP.location,
    netDevices: [],
    stdio: { pipes: [false, false, false], consoleSocket: null, preservedFds: 0 },
    start: 'now',
    ending: { kind: 'exit' },
    pivot: true,
    newKeyring: true,
    ...more,
  }
}

/** The plan of a container on that machine. */
export function composed(
  parts: SpecParts = {},
  more: Partial<ContainerInput> = {},
  seccomp: SeccompFilter | null = null,
): Plan {
  const input = containerInput(parts, more)
  return composeContainer(new PlanBuilder(input.stdio.preservedFds), input, seccomp)
}
