import { describe, expect, test } from 'bun:test'
import { CAPABILITIES, capabilityMask, capabilityNames } from '../linux/capabilities.ts'
import type { RuntimeSpec } from '../oci/runtime-spec.ts'
import { composeSpec, containerCapabilities } from './compose-spec.ts'
import { type ContainerOptions, PLAIN_CONTAINER } from './container-options.ts'
import type { SpecInput } from './spec-input.ts'

const ALL = capabilityMask(CAPABILITIES)
const MAPPING = [{ containerID: 0, hostID: 1_400_000, size: 65_536 }]

const OPTIONS: ContainerOptions = { ...PLAIN_CONTAINER, image: { kind: 'host' }, shmSizeBytes: 65_536 }

const IMAGE: SpecInput['image'] = {
  env: [],
  entrypoint: [],
  cmd: ['/bin/sh'],
  workingDir: '',
  user: '',
  volumes: [],
  stopSignal: '',
  labels: {},
  exposedPorts: [],
}

function compose(
  options: Partial<ContainerOptions> = {},
  image: Partial<SpecInput['image']> = {},
  rest: Partial<SpecInput> = {},
): RuntimeSpec {
  return composeSpec({
    id: 'abcdef0123456789',
    options: { ...OPTIONS, ...options },
    image: { ...IMAGE, ...image },
    user: { uid: 0, gid: 0, additionalGids: [0] },
    ids: { uidMappings: MAPPING, gidMappings: MAPPING },
    rootless: false,
    cgroupsPath: '/berth/x',
    directory: '/data/c',
    seccomp: { defaultAction: 'SCMP_ACT_ERRNO' },
    cpuPaths: ['/sys/cpu0'],
    initPath: '/lib/berth-init',
    devices: [],
    available: ALL,
    hardNofile: null,
    consoleSize: null,
    ...rest,
  })
}

const namesOf = (spec: RuntimeSpec): readonly string[] => (spec.linux?.namespaces ?? []).map(({ type }) => type)
const mountsOf = (spec: RuntimeSpec): readonly string[] => (spec.mounts ?? []).map(({ destination }) => destination)

test('composeSpec() isolates by default', () => {
  const spec = compose()
  expect(namesOf(spec)).toEqual(['mount', 'pid', 'ipc', 'uts', 'cgroup', 'user', 'network'])
  expect(spec.process).toMatchObject({ noNewPrivileges: true, cwd: '/', args: ['/bin/sh'], terminal: false })
  expect(spec.process?.rlimits).toEqual([{ type: 'RLIMIT_NOFILE', soft: 1024n, hard: 524_288n }])
  expect(spec.linux).toMatchObject({ uidMappings: MAPPING, gidMappings: MAPPING, rootfsPropagation: 'private' })
  expect(spec.linux?.maskedPaths).toContain('/proc/kcore')
  expect(spec.linux?.maskedPaths).toContain('/sys/cpu0')
  expect(spec.linux?.readonlyPaths).toContain('/proc/sys')
  expect(spec.linux?.resources?.pids).toEqual({ limit: 4096n })
  expect(spec.linux?.resources?.devices).toEqual([{ allow: false, access: 'rwm' }])
  expect(spec.hostname).toBe('abcdef012345')
})

test('composeSpec() takes from an image nothing that lowers isolation', () => {
  const greedy = compose(
    {},
    { env: ['LD_PRELOAD=x'], user: '0', labels: { a: 'b' }, volumes: ['/data'], exposedPorts: ['80'] },
  )
  const { process: _, ...rest } = greedy
  const { process: __, ...plain } = compose()
  expect(rest).toEqual(plain)
  expect(greedy.process?.capabilities).toEqual(compose().process?.capabilities)
})

describe('containerCapabilities()', () => {
  const names = (options: Partial<ContainerOptions>, available = ALL): readonly string[] =>
    capabilityNames(containerCapabilities({ ...OPTIONS, ...options }, available))
  const usual = names({})

  test.each<readonly [Partial<ContainerOptions>, readonly string[]]>([
    [{ capDrop: ['chown'] }, usual.filter(name => name !== 'CAP_CHOWN')],
    [{ capDrop: ['ALL'] }, []],
    [{ capDrop: ['ALL'], capAdd: ['CAP_CHOWN'] }, ['CAP_CHOWN']],
    [{ capDrop: ['CHOWN'], capAdd: ['CHOWN'] }, usual],
    [{ capAdd: ['all'] }, [...CAPABILITIES]],
    [{ capAdd: ['ALL'], capDrop: ['SYS_ADMIN'] }, CAPABILITIES.filter(name => name !== 'CAP_SYS_ADMIN')],
    [{ privileged: true }, [...CAPABILITIES]],
    [{ privileged: true, capDrop: ['SYS_ADMIN'] }, CAPABILITIES.filter(name => name !== 'CAP_SYS_ADMIN')],
  ])('of %j', (options, expected) => {
    expect(names(options).toSorted()).toEqual([...expected].toSorted())
  })

  test('gives on the host no more than the engine has', () => {
    const own = capabilityMask(['CAP_CHOWN'])
    expect(names({ privileged: true, userns: 'host' }, own)).toEqual(['CAP_CHOWN'])
    expect(names({ capAdd: ['ALL'], userns: 'host' }, own)).toEqual(['CAP_CHOWN'])
  })

  test('throws for a name that the kernel has not', () => {
    expect(() => names({ capAdd: ['FLY'] })).toThrow('Cannot use capability "FLY": the kernel has none of that name')
  })

  test('are not effective for a user who is not root', () => {
    const { process } = compose({}, {}, { user: { uid: 5, gid: 5, additionalGids: [5] } })
    expect(process?.capabilities).toMatchObject({ bounding: usual, effective: [], permitted: [], ambient: [] })
  })
})

test.each<readonly [entrypoint: readonly string[] | null, command: readonly string[], args: readonly string[]]>([
  [null, [], ['/entry', 'cmd']],
  [null, ['own'], ['/entry', 'own']],
  [['/other'], [], ['/other']],
  [['/other'], ['own'], ['/other', 'own']],
  [[], ['own'], ['own']],
])('composeSpec() runs with entrypoint %j and command %j: %j', (entrypoint, command, args) => {
  const image = { entrypoint: ['/entry'], cmd: ['cmd'] }
  expect(compose({ entrypoint, command }, image).process?.args).toEqual([...args])
  expect(compose({ entrypoint, command, init: true }, image).process?.args).toEqual([
    '/dev/init',
    'init',
    '--',
    ...args,
  ])
})

test('composeSpec() throws when there is nothing to run', () => {
  for (const options of [{ entrypoint: [] }, { command: [''] }])
    expect(() => compose(options, { cmd: [] })).toThrow('Cannot create container: no command specified')
})

test('composeSpec() lets the image set variables, and the options overrule it', () => {
  const { process } = compose(
    { env: ['A=3', 'TERM=x'], terminal: true },
    { env: ['A=1', 'B=2', 'PATH=/bin', 'junk', '=x'] },
  )
  expect(process?.env).toEqual(['PATH=/bin', 'HOSTNAME=abcdef012345', 'TERM=x', 'A=3', 'B=2'])
})

test('composeSpec() shares the namespaces of the host that are asked for, and no others', () => {
  expect(namesOf(compose({ network: 'host' }))).not.toContain('network')
  expect(compose({ network: 'host' }).hostname).toBeUndefined()
  expect(compose({ userns: 'host' }, {}, { ids: null }).linux?.uidMappings).toBeUndefined()
  expect(namesOf(compose({}, {}, { ids: null }))).toEqual(['mount', 'pid', 'ipc', 'uts', 'cgroup', 'network'])
})

test('composeSpec() mounts what lies deeper later, and in the place of its own what the user mounts there', () => {
  const binds = [
    { source: '/s/deep', target: '/a/b/c', options: ['rprivate'] },
    { source: '/s', target: '/a', options: ['ro', 'rprivate'] },
    { source: '/h', target: '/etc/hosts', options: [] },
  ]
  const spec = compose({
    binds,
    tmpfs: [
      { target: '/a/b', options: ['size=1m'] },
      { target: '/dev/shm', options: [] },
    ],
  })
  const mounts = mountsOf(spec)
  expect(mounts.slice(-5)).toEqual(
    ['/a', '/a/b', '/dev/shm', '/etc/hosts', '/a/b/c'].toSorted(
      (a, b) => a.split('/').length - b.split('/').length || mounts.indexOf(a) - mounts.indexOf(b),
    ),
  )
  expect(new Set(mounts).size).toBe(mounts.length)
  expect(spec.mounts?.find(({ destination }) => destination === '/a')?.options).toEqual([
    'rbind',
    'ro',
    'rprivate',
    'idmap',
  ])
  const shared = compose({ binds }, {}, { ids: null }).mounts
  expect(shared?.find(({ destination }) => destination === '/a')?.options).toEqual(['rbind', 'ro', 'rprivate'])
})

test('composeSpec() binds a device that has another path in a user namespace', () => {
  const device = { type: 'c', hostPath: '/dev/a', path: '/dev/b', major: 1, minor: 5, access: 'r' } as const
  const inNamespace = compose({}, {}, { devices: [device] })
  expect(inNamespace.linux?.devices).toEqual([])
  expect(mountsOf(inNamespace)).toContain('/dev/b')
  const onHost = compose({}, {}, { devices: [device], ids: null })
  expect(onHost.linux?.devices).toMatchObject([{ path: '/dev/b', major: 1, minor: 5 }])
  for (const spec of [inNamespace, onHost])
    expect(spec.linux?.resources?.devices?.at(-1)).toEqual({ allow: true, type: 'c', major: 1, minor: 5, access: 'r' })
})

test('composeSpec() bounds open files by what may be given', () => {
  const limits = (hardNofile: bigint | null, ulimits: ContainerOptions['ulimits'] = []) =>
    compose({ ulimits }, {}, { hardNofile }).process?.rlimits
  expect(limits(4096n)).toEqual([{ type: 'RLIMIT_NOFILE', soft: 1024n, hard: 4096n }])
  expect(limits(512n)).toEqual([{ type: 'RLIMIT_NOFILE', soft: 512n, hard: 512n }])
  const own = { type: 'RLIMIT_NOFILE', soft: 5n, hard: 6n }
  expect(limits(null, [own])).toEqual([own])
})

test('composeSpec() writes limits as the runtime takes them', () => {
  const resources = {
    memoryBytes: 1n,
    memorySwapBytes: -1n,
    cpus: 1.5,
    cpuShares: 7n,
    cpusetCpus: '0-1',
    pidsLimit: 0n,
    blkioWeight: 20,
  }
  expect(compose({ resources }).linux?.resources).toMatchObject({
    memory: { limit: 1n, swap: -1n },
    cpu: { quota: 150_000n, period: 100_000n, shares: 7n, cpus: '0-1' },
    pids: { limit: -1n },
    blockIO: { weight: 20 },
  })
  expect(compose({}, {}, { cgroupsPath: null }).linux?.resources?.pids).toBeUndefined()
})
