/**
 * Containers whose plans, taken together, have every kind of step that a container's plan can have. They differ in what excludes
 * each other: with and without a user namespace, a terminal, a shim, pivot_root, a wait for `start`.
 */

import { chmodSync, copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatJson } from '../../src/lib/json-shape.ts'
import { RLIM_INFINITY } from '../../src/linux/rlimits.ts'
import { defaultSpec } from '../../src/oci/default-spec.ts'
import type { Hooks, Mount, Process, RuntimeSpec } from '../../src/oci/runtime-spec.ts'
import type { Linux, Namespace } from '../../src/oci/runtime-spec-linux.ts'
import type { CreateOptions } from '../../src/runtime/create.ts'
import type { Mark } from './leftovers.ts'

export const SCENES = ['everything', 'userns', 'terminal', 'run', 'shim'] as const
export type SceneName = (typeof SCENES)[number]

/** First host id of the containers with a user namespace. */
const HOST_ID = 1_400_000
const IDS = [{ containerID: 0, hostID: HOST_ID, size: 65_536 }]

/** Makes the root filesystem and what the scenes bind or connect to, once, below `base`. */
export function makeScenery(base: string): void {
  const rootfs = join(base, 'rootfs')
  for (const dir of ['bin', 'etc', 'data', 'full/below']) mkdirSync(join(rootfs, dir), { recursive: true })
  copyFileSync('/bin/busybox', join(rootfs, 'bin/busybox'))
  chmodSync(join(rootfs, 'bin/busybox'), 0o755)
  symlinkSync('busybox', join(rootfs, 'bin/sh'))
  writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/data:/bin/sh\n')
  writeFileSync(join(rootfs, 'full/below/file'), 'content')
  for (const dir of ['state', 'log', 'source']) mkdirSync(join(base, dir), { recursive: true })
  writeFileSync(join(base, 'source/file'), '')
}

/** The bundle of a scene for one container, and how it is created. `netDevice`: an interface to move in, or none. */
export function makeBundle(base: string, scene: SceneName, id: string, netDevice: string | null): string {
  const bundle = join(base, `bundle-${scene}`)
  mkdirSync(bundle, { recursive: true })
  const spec = specOf(base, scene, id, netDevice)
  writeFileSync(join(bundle, 'config.json'), formatJson(spec))
  for (const dir of ['upper', 'work']) {
    rmSync(join(base, dir), { recursive: true, force: true })
    mkdirSync(join(base, dir))
  }
  return bundle
}

/** What `createContainer` is told for a scene. */
export function createOptions(mark: Mark, scene: SceneName, bundle: string): CreateOptions {
  const { base, stateRoot, writeFd } = mark
  const overlay = { kind: 'overlay', lowers: [join(base, 'rootfs')] } as const
  const endings: Readonly<Record<SceneName, CreateOptions['ending']>> = {
    everything: { kind: 'exit' },
    userns: { kind: 'exit' },
    terminal: { kind: 'exit' },
    run: { kind: 'wait' },
    shim: {
      kind: 'serve',
      stdin: true,
      log: { directory: join(base, 'log'), name: 'log', maxBytes: 1024, maxFiles: 2 },
    },
  }
  return {
    root: stateRoot,
    systemdCgroup: false,
    warn: () => {},
    bundle,
    consoleSocket: scene === 'terminal' ? join(base, 'console.sock') : null,
    pidFile: null,
    preservedFds: 0,
    pivot: scene !== 'terminal',
    newKeyring: true,
    start: scene === 'run' ? 'now' : 'on request',
    ending: endings[scene],
    stdio: ['ignore', 'ignore', writeFd],
    ...(scene === 'userns' && {
      rootSource: {
        ...overlay,
        upper: join(base, 'upper'),
        work: join(base, 'work'),
        veil: {
          owner: HOST_ID,
          entries: [
            { kind: 'empty', path: '/full', mode: 0o755 },
            { kind: 'hidden', path: '/etc/passwd', mode: 0 },
          ],
        },
      },
    }),
  }
}

/** The sockets that scenes hand fds to: whoever connects is read and forgotten. */
export function listenForFds(base: string): Disposable {
  const servers = ['console.sock', 'agent.sock'].map(name =>
    Bun.listen({ unix: join(base, name), socket: { data: () => {} } }),
  )
  return {
    [Symbol.dispose]() {
      for (const server of servers) server.stop(true)
    },
  }
}

function specOf(base: string, scene: SceneName, id: string, netDevice: string | null): RuntimeSpec {
  const spec = defaultSpec()
  return {
    ...spec,
    root: { path: join(base, 'rootfs'), readonly: scene !== 'run' },
    process: processOf(scene),
    domainname: 'fault.test',
    mounts: [...(spec.mounts ?? []), ...mountsOf(base, scene)],
    hooks: hooksOf(base),
    annotations: { 'org.berth.test': id },
    linux: linuxOf(base, scene, id, spec.linux ?? {}, netDevice),
  }
}

function processOf(scene: SceneName): Process {
  const { terminal: _, ...process_ } = defaultSpec().process ?? { cwd: '/' }
  const common: Process = {
    ...process_,
    terminal: scene === 'terminal',
    args: ['sh', '-c', 'exit 0'],
    cwd: '/data',
    user: { uid: 1000, gid: 1000, additionalGids: [20], umask: 0o27 },
    noNewPrivileges: scene === 'everything' || scene === 'terminal',
    oomScoreAdj: 100,
  }
  if (scene !== 'everything') return common
  return {
    ...common,
    scheduler: { policy: 'SCHED_BATCH', nice: 1 },
    ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 5 },
    rlimits: [
      { type: 'RLIMIT_NOFILE', soft: 1024n, hard: 1024n },
      { type: 'RLIMIT_CORE', soft: 0n, hard: RLIM_INFINITY },
    ],
  }
}

function mountsOf(base: string, scene: SceneName): Mount[] {
  const source = join(base, 'source')
  const bind: Mount[] = [
    { destination: '/mnt/dir', source, options: ['rbind', 'rro', 'rslave'] },
    { destination: '/mnt/file', source: join(source, 'file'), options: ['bind', 'nosuid'] },
  ]
  if (scene === 'everything')
    return [
      ...bind,
      { destination: '/full', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup', 'ro', 'size=1m'] },
      { destination: '/full', type: 'tmpfs', source: 'again', options: ['remount', 'nosuid', 'size=2m'] },
    ]
  if (scene === 'userns')
    return [
      { destination: '/mnt/own', source, options: ['bind', 'idmap'] },
      { destination: '/mnt/other', source, options: ['bind', 'idmap'], uidMappings: IDS, gidMappings: IDS },
    ]
  return bind
}

/** Each hook is in the environment by the name of the test, so that one that is left behind can be found. */
function hooksOf(base: string): Hooks {
  const inRuntime = { path: '/bin/busybox', args: ['busybox', 'true'], env: [`BERTH_FAULT=${base}`], timeout: 5 }
  return {
    prestart: [inRuntime],
    createRuntime: [inRuntime],
    createContainer: [inRuntime],
    startContainer: [inRuntime],
    poststart: [inRuntime],
    poststop: [inRuntime],
  }
}

function linuxOf(base: string, scene: SceneName, id: string, linux: Linux, netDevice: string | null): Linux {
  return {
    ...linux,
    cgroupsPath: `/${id}`,
    namespaces: namespacesOf(scene, linux.namespaces ?? []),
    resources: { ...linux.resources, pids: { limit: 50n }, memory: { limit: 64n << 20n } },
    sysctl: scene === 'terminal' ? {} : { 'kernel.msgmax': '4096' },
    devices: [
      { type: 'c', path: '/dev/null', major: 1, minor: 3, fileMode: 0o666, uid: 0, gid: 0 },
      { type: 'p', path: '/dev/pipe', fileMode: 0o600, uid: 0, gid: 0 },
    ],
    ...(scene === 'userns' && { uidMappings: IDS, gidMappings: IDS }),
    ...(scene === 'everything' && {
      rootfsPropagation: 'shared',
      timeOffsets: { boottime: { secs: 1000n, nanosecs: 0 } },
      personality: { domain: 'LINUX' },
      memoryPolicy: { mode: 'MPOL_PREFERRED', nodes: '0' },
    }),
    ...(scene !== 'terminal' && {
      seccomp: {
        defaultAction: 'SCMP_ACT_ALLOW',
        ...(scene === 'userns' && { listenerPath: join(base, 'agent.sock') }),
        syscalls: [{ names: ['swapon'], action: scene === 'userns' ? 'SCMP_ACT_NOTIFY' : 'SCMP_ACT_ERRNO' }],
      },
    }),
    ...(netDevice !== null && { netDevices: { [netDevice]: { name: 'eth0' } } }),
  }
}

function namespacesOf(scene: SceneName, namespaces: readonly Namespace[]): readonly Namespace[] {
  switch (scene) {
    case 'everything':
      return [...namespaces, { type: 'cgroup' }, { type: 'time' }]
    case 'userns':
      return [...namespaces, { type: 'cgroup' }, { type: 'user' }]
    case 'terminal':
      return namespaces.map(each => (each.type === 'ipc' ? { type: 'ipc', path: '/proc/self/ns/ipc' } : each))
    default:
      return namespaces
  }
}
