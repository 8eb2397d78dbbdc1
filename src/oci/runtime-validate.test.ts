import { describe, expect, test } from 'bun:test'
import { defaultSpec } from './default-spec.ts'
import type { RuntimeSpec } from './runtime-spec.ts'
import { parseRuntimeSpec } from './runtime-spec-parser.ts'
import { findProblems, validateExecProcess, validateRuntimeSpec } from './runtime-validate.ts'

const base = defaultSpec()
const MAP = [{ containerID: 0, hostID: 1000, size: 10 }]

/** The default spec with properties replaced, as far down as the object goes. */
function spec(rest: object): RuntimeSpec {
  const merge = (a: Readonly<Record<string, unknown>>, b: object): object => {
    const entries = Object.entries(b).map(([key, value]) => {
      const old = a[key]
      const deep = isPlain(old) && isPlain(value)
      return [key, deep ? merge(old, value) : value]
    })
    return { ...a, ...Object.fromEntries(entries) }
  }
  const merged = merge({ ...base }, rest)
  const json = JSON.stringify(merged, (_, value) => (typeof value === 'bigint' ? Number(value) : value))
  return parseRuntimeSpec(json).value
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const namespaces = (...types: string[]) => types.map(type => ({ type }))
const process = (rest: object) => ({ process: rest })
const linux = (rest: object) => ({ linux: rest })
const mounts = (...list: object[]) => ({ mounts: list })
const bind = (rest: object) => ({ destination: '/d', source: '/s', options: ['rbind'], ...rest })
const rule = (rest: object) => ({ names: ['x'], action: 'SCMP_ACT_ERRNO', ...rest })
const seccomp = (rest: object) => linux({ seccomp: { defaultAction: 'SCMP_ACT_ALLOW', ...rest } })
const rlimit = (type: string, soft: number, hard: number) => ({ type, soft, hard })

const problems: readonly (readonly [rest: object, problem: string])[] = [
  [{ root: null }, 'root is absent'],
  [{ windows: { layerFolders: ['x'] } }, 'windows is for another platform than Linux'],
  [{ annotations: { '': 'x' } }, 'annotations has an empty key'],
  [process({ args: [] }), 'process.args is empty'],
  [process({ args: ['a\0b'] }), 'process.args[0] has a NUL character'],
  [process({ cwd: 'tmp' }), 'process.cwd is "tmp", expected an absolute path'],
  [process({ env: ['A=b', 'X'] }), 'process.env[1] is "X", expected NAME=value'],
  [process({ consoleSize: { height: 1, width: 65536 } }), 'process.consoleSize is 1×65536'],
  [process({ user: { umask: 0o1000 } }), 'process.user.umask is 01000'],
  [process({ user: { uid: 4294967295 } }), 'process.user.uid is 4294967295'],
  [process({ oomScoreAdj: 1001 }), 'process.oomScoreAdj is 1001'],
  [process({ ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 8 } }), 'process.ioPriority.priority is 8'],
  [process({ rlimits: [rlimit('RLIMIT_X', 1, 1)] }), 'process.rlimits[0] is RLIMIT_X'],
  [process({ rlimits: [rlimit('RLIMIT_CPU', 1, 1), rlimit('RLIMIT_CPU', 1, 1)] }), 'process.rlimits[1] is a second'],
  [process({ rlimits: [rlimit('RLIMIT_CPU', 2, 1)] }), 'process.rlimits[0] (RLIMIT_CPU) has soft 2 above hard 1'],
  [process({ scheduler: { policy: 'SCHED_ISO' } }), 'process.scheduler.policy is SCHED_ISO'],
  [process({ scheduler: { policy: 'SCHED_OTHER', nice: 20 } }), 'process.scheduler.nice is 20'],
  [process({ scheduler: { policy: 'SCHED_FIFO' } }), 'process.scheduler.priority is 0'],
  [process({ scheduler: { policy: 'SCHED_IDLE', priority: 1 } }), 'process.scheduler.priority is 1'],
  [process({ scheduler: { policy: 'SCHED_RR', priority: 1, runtime: 1 } }), 'process.scheduler has runtime'],
  [process({ scheduler: { policy: 'SCHED_DEADLINE', runtime: 2, deadline: 1 } }), 'process.scheduler has runtime 2'],
  [process({ execCPUAffinity: { final: '3-1' } }), 'process.execCPUAffinity.final is no list'],
  [process({ execCPUAffinity: { initial: ',' } }), 'process.execCPUAffinity.initial is ",", expected at least one'],
  [{ hooks: { poststop: [{ path: 'x' }] } }, 'hooks.poststop[0].path is "x"'],
  [
    { hostname: 'h', linux: { namespaces: namespaces('mount') } },
    'hostname is given, expected it with a uts namespace',
  ],
  [{ domainname: 'x'.repeat(65) }, 'domainname is longer than 64 bytes'],
  [linux({ namespaces: namespaces('uts') }), 'linux.namespaces has no "mount"'],
  [linux({ namespaces: namespaces('mount', 'uts', 'mount') }), 'linux.namespaces[2] is a second "mount"'],
  [
    linux({ namespaces: [...namespaces('mount', 'uts'), { type: 'pid', path: 'x' }] }),
    'linux.namespaces[2].path is "x"',
  ],
  [linux({ uidMappings: MAP }), 'linux.uidMappings is given, expected it with a user namespace only'],
  [linux({ namespaces: namespaces('mount', 'uts', 'user'), uidMappings: MAP }), 'linux.gidMappings is absent'],
  [linux({ timeOffsets: { boottime: { secs: 1 } } }), 'linux.timeOffsets is given, expected it with a time namespace'],
  [
    linux({ namespaces: namespaces('mount', 'uts', 'time'), timeOffsets: { monotonic: { nanosecs: 1_000_000_000 } } }),
    'linux.timeOffsets.monotonic.nanosecs is 1000000000',
  ],
  [
    linux({
      namespaces: [...namespaces('mount', 'uts'), { type: 'time', path: '/t' }],
      timeOffsets: { boottime: { secs: 1 } },
    }),
    'linux.timeOffsets is given with a time namespace to join',
  ],
  [
    linux({ sysctl: { 'vm.swappiness': '1' } }),
    'linux.sysctl["vm.swappiness"] would change the host: it belongs to no',
  ],
  [linux({ sysctl: { 'kernel.hostname': 'x' } }), 'linux.sysctl["kernel.hostname"] is refused'],
  [linux({ sysctl: { 'net/../kernel/x': '1' } }), 'linux.sysctl["net/../kernel/x"] is no name'],
  [linux({ sysctl: { 'net.ipv4.ip_forward': '1\n2' } }), 'has more than one line'],
  [
    linux({ namespaces: namespaces('mount', 'uts'), sysctl: { 'net.ipv4.ip_forward': '1' } }),
    'linux.sysctl["net.ipv4.ip_forward"] would change the host, expected a network namespace',
  ],
  [linux({ maskedPaths: ['proc'] }), 'linux.maskedPaths[0] is "proc"'],
  [linux({ personality: { domain: 'LINUX', flags: ['x'] } }), 'linux.personality.flags is not empty'],
  [linux({ devices: [{ type: 'c', path: '/dev/x' }] }), 'linux.devices[0] is undefined:undefined'],
  [linux({ devices: [{ type: 'p', path: '/dev/../x' }] }), 'linux.devices[0].path is "/dev/../x"'],
  [linux({ resources: { devices: [{ allow: true, type: 'p' }] } }), 'linux.resources.devices[0].type is "p"'],
  [linux({ resources: { devices: [{ allow: true, access: 'x' }] } }), 'linux.resources.devices[0].access is "x"'],
  [linux({ namespaces: namespaces('mount', 'uts'), netDevices: { eth0: {} } }), 'linux.netDevices is given'],
  [linux({ netDevices: { 'a/b': {} } }), 'linux.netDevices["a/b"] is no name of an interface'],
  [linux({ netDevices: { a: { name: 'x'.repeat(16) } } }), 'which is no name of an interface'],
  [linux({ netDevices: { a: { name: 'b' }, b: {} } }), 'linux.netDevices["b"].name is a second "b"'],
  [linux({ intelRdt: { closID: '../x' } }), 'linux.intelRdt.closID is "../x"'],
  [linux({ memoryPolicy: { nodes: '0' } }), 'linux.memoryPolicy.mode is absent'],
  [linux({ memoryPolicy: { mode: 'MPOL_BIND' } }), 'linux.memoryPolicy.nodes is empty'],
  [linux({ memoryPolicy: { mode: 'MPOL_LOCAL', nodes: '0' } }), 'linux.memoryPolicy.nodes is "0", expected none'],
  [linux({ memoryPolicy: { mode: 'MPOL_BIND', nodes: '1-0' } }), 'linux.memoryPolicy.nodes is no list'],
  [seccomp({ defaultAction: 'SCMP_ACT_NOTIFY' }), 'linux.seccomp.defaultAction is SCMP_ACT_NOTIFY'],
  [seccomp({ defaultErrnoRet: 1 }), 'linux.seccomp.defaultErrnoRet is given, expected it with SCMP_ACT_ERRNO'],
  [seccomp({ listenerMetadata: 'x' }), 'linux.seccomp.listenerMetadata is given'],
  [seccomp({ syscalls: [rule({ action: 'SCMP_ACT_NOTIFY' })] }), 'linux.seccomp.listenerPath is absent'],
  [seccomp({ syscalls: [rule({ errnoRet: 4096 })] }), 'linux.seccomp.syscalls[0].errnoRet is 4096'],
  [
    seccomp({ syscalls: [rule({ args: [{ index: 6, value: 0, op: 'SCMP_CMP_EQ' }] })] }),
    'linux.seccomp.syscalls[0].args[0].index is 6',
  ],
  [mounts({ destination: '' }), 'mounts[0].destination is empty'],
  [mounts({ destination: '/a/../b' }), 'mounts[0].destination is "/a/../b", expected a path without ".."'],
  [mounts(bind({}), bind({ destination: '//d/./' })), 'mounts[1] mounts "/s" on /d a second time'],
  [mounts(bind({ source: '' })), 'mounts[0].source is absent'],
  [mounts(bind({ options: ['bind', 'size=1'] })), 'mounts[0].options has "size=1"'],
  [mounts(bind({ options: ['bind', 'idmap'] })), 'mounts[0].options has idmap'],
  [mounts(bind({ uidMappings: MAP })), 'mounts[0].gidMappings is absent'],
  [mounts({ destination: '/d', type: 'tmpfs', uidMappings: MAP, gidMappings: MAP }), 'mounts[0] has an id mapping'],
  [mounts({ destination: '/d', type: 'proc', options: ['tmpcopyup'] }), 'mounts[0].options has tmpcopyup'],
]

describe('validateRuntimeSpec()', () => {
  test.each(problems)('refuses %j', (rest, problem) => {
    expect(findProblems(spec(rest)).problems.join('; ')).toContain(problem)
    expect(() => validateRuntimeSpec(spec(rest))).toThrow('Cannot run config.json: ')
  })

  test('accepts the default spec', () => {
    expect(validateRuntimeSpec(base)).toEqual([])
  })

  test('names the first problem and counts the others', () => {
    expect(() => validateRuntimeSpec(spec({ process: { args: [], cwd: 'x', oomScoreAdj: 5000 } }))).toThrow(
      'Cannot run config.json: process.cwd is "x", expected an absolute path (and 2 more problems)',
    )
  })

  test('wants every id of the process and of devices in the maps of a new user namespace', () => {
    const mapped = linux({ namespaces: namespaces('mount', 'uts', 'user'), uidMappings: MAP, gidMappings: MAP })
    const user = { uid: 10, gid: 9, additionalGids: [3, 11] }
    expect(findProblems(spec({ ...mapped, process: { user } })).problems).toEqual([
      'process.user.uid is 10, expected an id that linux.uidMappings has',
      'process.user.additionalGids[1] is 11, expected an id that linux.gidMappings has',
    ])
  })

  test('warns of unknown capabilities, relative and covered mounts and mappings beside a joined namespace', () => {
    const config = spec({
      process: { capabilities: { bounding: ['CAP_KILL', 'CAP_NEW', 'kill'] } },
      linux: { namespaces: [...namespaces('mount', 'uts'), { type: 'user', path: '/n' }], uidMappings: MAP },
      mounts: [bind({ destination: 'd' }), { destination: '/d', type: 'tmpfs' }],
    })
    expect(validateRuntimeSpec(config)).toEqual([
      'process.capabilities.bounding has "CAP_NEW", which is unknown and ignored',
      'process.capabilities.bounding has "kill", which is unknown and ignored',
      'mounts[0].destination is "d": a relative path is deprecated and read as one from /',
      'mounts[1] covers an earlier mount on /d',
      'linux.uidMappings is given with a user namespace to join, whose own mappings count',
    ])
  })

  test('accepts a config of 10,000 variables and an argument of 1 MB', () => {
    const env = Array.from({ length: 10_000 }, (_, index) => `V${index}=x`)
    expect(validateRuntimeSpec(spec({ process: { env, args: ['x', 'y'.repeat(1 << 20)] } }))).toEqual([])
  })
})

test('validateExecProcess() names properties without a prefix', () => {
  expect(() => validateExecProcess({ cwd: 'x', args: ['sh'] }, null)).toThrow('Cannot run process.json: cwd is "x"')
  expect(validateExecProcess({ cwd: '/', args: ['sh'] }, null)).toEqual([])
})
