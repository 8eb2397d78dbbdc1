import { describe, expect, test } from 'bun:test'
import { parseRuntimeSpec } from './runtime-spec-parser.ts'
import { parseProcess } from './runtime-spec-process-parser.ts'
import { parseResources } from './runtime-spec-resources-parser.ts'

const config = (rest: object) => JSON.stringify({ ociVersion: '1.3.0', ...rest })

describe('parseRuntimeSpec()', () => {
  const bad: readonly (readonly [rest: object, message: string])[] = [
    [{ ociVersion: 'one' }, 'ociVersion is "one", expected a SemVer version'],
    [{ root: {} }, 'root.path is absent'],
    [{ process: { args: ['sh'] } }, 'process.cwd is absent'],
    [{ process: { cwd: '/', args: 'sh' } }, 'process.args is "sh", expected an array'],
    [{ process: { cwd: '/', user: { uid: -1 } } }, 'process.user.uid is -1'],
    [{ process: { cwd: '/', user: { uid: 4294967296 } } }, 'process.user.uid is 4294967296'],
    [{ process: { cwd: '/', rlimits: [{ type: 'NOFILE', soft: 1, hard: 1 }] } }, 'process.rlimits[0].type is "NOFILE"'],
    [{ process: { cwd: '/', scheduler: { policy: 'SCHED_X' } } }, 'process.scheduler.policy is "SCHED_X"'],
    [{ process: { cwd: '/', execCPUAffinity: { initial: 'a' } } }, 'process.execCPUAffinity.initial is "a"'],
    [{ hooks: { poststop: [{ path: '/x', timeout: 0 }] } }, 'hooks.poststop[0].timeout is 0'],
    [{ annotations: { 'a.b': 1 } }, 'annotations["a.b"] is 1, expected a text'],
    [{ linux: { namespaces: [{ type: 'net' }] } }, 'linux.namespaces[0].type is "net", expected one of user, '],
    [{ linux: { devices: [{ type: 'x', path: '/dev/x' }] } }, 'linux.devices[0].type is "x"'],
    [{ linux: { seccomp: { defaultAction: 'SCMP_ACT_X' } } }, 'linux.seccomp.defaultAction is "SCMP_ACT_X"'],
    [
      { linux: { seccomp: { defaultAction: 'SCMP_ACT_LOG', syscalls: [{ names: [], action: 'SCMP_ACT_LOG' }] } } },
      'linux.seccomp.syscalls[0].names is an array, expected an array of at least 1',
    ],
    [{ linux: { resources: { pids: {} } } }, 'linux.resources.pids.limit is absent'],
    [{ linux: { intelRdt: { memBwSchema: 'X' } } }, 'linux.intelRdt.memBwSchema is "X"'],
    [{ linux: { rootfsPropagation: 'none' } }, 'linux.rootfsPropagation is "none"'],
    [{ windows: { layerFolders: [] } }, 'windows.layerFolders is an array, expected an array of at least 1'],
  ]
  test.each(bad)('refuses %j', (rest, message) => {
    expect(() => parseRuntimeSpec(config(rest))).toThrow(`Cannot parse config.json: ${message}`)
  })

  test('keeps all digits of 64-bit integers', () => {
    const json = `{"ociVersion":"1.3.0","process":{"cwd":"/","rlimits":[{"type":"RLIMIT_CORE",
      "soft":18446744073709551615,"hard":18446744073709551615}]},"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW",
      "syscalls":[{"names":["personality"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":9007199254740993,
      "op":"SCMP_CMP_EQ"}]}]},"timeOffsets":{"boottime":{"secs":-9223372036854775808}}}}`
    const { value } = parseRuntimeSpec(json)
    expect(value.process?.rlimits?.[0]?.soft).toBe(18446744073709551615n)
    expect(value.linux?.seccomp?.syscalls?.[0]?.args?.[0]?.value).toBe(9007199254740993n)
    expect(value.linux?.timeOffsets?.boottime?.secs).toBe(-9223372036854775808n)
  })

  test('reports unknown properties by their paths and leaves them out', () => {
    const { value, warnings } = parseRuntimeSpec(config({ process: { cwd: '/', NoNewPrivileges: true }, x: 1 }))
    expect(value).toEqual({ ociVersion: '1.3.0', process: { cwd: '/' } })
    expect(warnings).toEqual([
      'config.json: unknown property process.NoNewPrivileges is ignored',
      'config.json: unknown property x is ignored',
    ])
  })

  test('takes null for absent, as Go programs write it', () => {
    expect(parseRuntimeSpec(config({ mounts: null, linux: { seccomp: null } })).value.linux).toEqual({})
  })

  test('drops the type bits of a fileMode and says so', () => {
    const { value, warnings } = parseRuntimeSpec(
      config({ linux: { devices: [{ type: 'c', path: '/dev/null', major: 1, minor: 3, fileMode: 0o20666 }] } }),
    )
    expect(value.linux?.devices?.[0]?.fileMode).toBe(0o666)
    expect(warnings).toEqual(['config.json: bits of linux.devices[0].fileMode above 0777 are ignored'])
  })
})

test('parseProcess() and parseResources() read lone objects and name their own file', () => {
  expect(parseProcess('{"cwd":"/","args":["true"]}').value).toEqual({ cwd: '/', args: ['true'] })
  expect(() => parseProcess('{}')).toThrow('Cannot parse process.json: cwd is absent')
  expect(parseResources('{"memory":{"limit":-1}}').value).toEqual({ memory: { limit: -1n } })
  expect(() => parseResources('{"cpu":{"shares":-1}}')).toThrow('Cannot parse resources.json: cpu.shares is -1')
})
