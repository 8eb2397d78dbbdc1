import { describe, expect, test } from 'bun:test'
import defaultProfileJson from './data/docker-default.json'
import { parseDockerProfile, toBuiltinProfile, toDockerProfile } from './seccomp-profile-parser.ts'

const parse = (profile: unknown) => parseDockerProfile(JSON.stringify(profile), 'p.json')
const withRule = (rule: unknown) => ({ defaultAction: 'SCMP_ACT_ERRNO', syscalls: [rule] })

describe('parseDockerProfile()', () => {
  test('reads every field', () => {
    expect(
      parse({
        defaultAction: 'SCMP_ACT_ERRNO',
        defaultErrnoRet: 38,
        archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: null }],
        flags: ['SECCOMP_FILTER_FLAG_LOG'],
        listenerPath: '/run/agent.sock',
        listenerMetadata: 'x',
        syscalls: [
          {
            names: ['clone'],
            action: 'SCMP_ACT_ALLOW',
            args: [{ index: 0, value: 2114060288, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
            comment: 'threads only',
            includes: { minKernel: '4.8' },
            excludes: { caps: ['CAP_SYS_ADMIN'], arches: ['s390'] },
          },
        ],
      }),
    ).toEqual({
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 38,
      archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: [] }],
      flags: ['SECCOMP_FILTER_FLAG_LOG'],
      listenerPath: '/run/agent.sock',
      listenerMetadata: 'x',
      syscalls: [
        {
          names: ['clone'],
          action: 'SCMP_ACT_ALLOW',
          args: [{ index: 0, value: 2114060288n, valueTwo: 0n, op: 'SCMP_CMP_MASKED_EQ' }],
          includes: { minKernel: { kernel: 4, major: 8 } },
          excludes: { caps: ['CAP_SYS_ADMIN'], arches: ['s390'] },
        },
      ],
    })
  })

  test("reads Docker's old form, with one name a rule and null lists", () => {
    const rule = { name: 'read', action: 'SCMP_ACT_ALLOW', args: null }
    expect(parse(withRule(rule)).syscalls).toEqual([{ names: ['read'], action: 'SCMP_ACT_ALLOW' }])
  })

  test("reads Podman's errno by name, which counts more than the number", () => {
    const profile = parse({
      ...withRule({ names: ['read'], action: 'SCMP_ACT_ERRNO', errno: 'EPERM', errnoRet: 5 }),
      defaultErrno: 'ENOSYS',
    })
    expect(profile.defaultErrnoRet).toBe(38)
    expect(profile.syscalls?.[0]?.errnoRet).toBe(1)
  })

  test('keeps all 64 bits of a value', () => {
    const text = `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["personality"],"action":"SCMP_ACT_ERRNO",
      "args":[{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}`
    expect(parseDockerProfile(text, 'p.json').syscalls?.[0]?.args?.[0]?.value).toBe(2n ** 64n - 1n)
  })

  const allow = { names: ['read'], action: 'SCMP_ACT_ALLOW' }
  const argument = { index: 0, value: 1, op: 'SCMP_CMP_EQ' }
  test.each<[string, unknown, string]>([
    ['a list at the top', [], 'it is [], expected an object'],
    ['no default action', { syscalls: [] }, 'defaultAction is absent, expected one of'],
    ['an unknown key', { defaultAction: 'SCMP_ACT_ALLOW', sycalls: [] }, 'it has unknown key "sycalls"'],
    [
      'two kinds of architectures',
      { ...withRule(allow), architectures: [], archMap: [] },
      'both architectures and archMap',
    ],
    ['an unknown action', withRule({ ...allow, action: 'ALLOW' }), 'syscalls[0].action is "ALLOW", expected one of'],
    ['name and names', withRule({ ...allow, name: 'write' }), 'syscalls[0] has both name and names'],
    ['no names', withRule({ action: 'SCMP_ACT_ALLOW' }), 'syscalls[0] has no names'],
    ['an unknown key in a rule', withRule({ ...allow, arg: [] }), 'syscalls[0] has unknown key "arg"'],
    [
      'a name that is no text',
      withRule({ ...allow, names: [1] }),
      'syscalls[0].names is [1], expected a list of texts',
    ],
    [
      'an index of 6',
      withRule({ ...allow, args: [{ ...argument, index: 6 }] }),
      'args[0].index is 6, expected a number',
    ],
    ['a negative value', withRule({ ...allow, args: [{ ...argument, value: -1 }] }), 'args[0].value is -1, expected'],
    ['a fraction', withRule({ ...allow, args: [{ ...argument, value: 0.5 }] }), 'args[0].value is 0.5, expected'],
    [
      'a value above 64 bits',
      withRule({ ...allow, args: [{ ...argument, value: 2 ** 65 }] }),
      'args[0].value is 36893',
    ],
    ['an unknown operator', withRule({ ...allow, args: [{ ...argument, op: 'EQ' }] }), 'args[0].op is "EQ", expected'],
    ['an unknown flag', { ...withRule(allow), flags: ['X'] }, 'flags[0] is "X", expected one of'],
    ['the flag that Berth sets', { ...withRule(allow), flags: ['SECCOMP_FILTER_FLAG_NEW_LISTENER'] }, 'flags[0] is'],
    ['a wrong kernel', withRule({ ...allow, includes: { minKernel: '4' } }), 'syscalls[0].includes has minKernel "4"'],
    ['kernel 0.0', withRule({ ...allow, includes: { minKernel: '0.0' } }), 'has minKernel "0.0", expected'],
    [
      'an unknown condition',
      withRule({ ...allow, includes: { cap: [] } }),
      'syscalls[0].includes has unknown key "cap"',
    ],
    ['an unknown errno', withRule({ ...allow, errno: 'EWHAT' }), 'syscalls[0] has errno "EWHAT"'],
  ])('refuses %s', (_, profile, message) => {
    expect(() => parse(profile)).toThrow(`Cannot read seccomp profile "p.json": `)
    expect(() => parse(profile)).toThrow(message)
  })

  test('names the file when it is no JSON', () => {
    expect(() => parseDockerProfile('{', 'p.json')).toThrow(/^Cannot read seccomp profile "p.json": /)
  })
})

describe('toBuiltinProfile()', () => {
  test('reads the built-in profile as the strict parser does', () => {
    expect(toBuiltinProfile(defaultProfileJson)).toEqual(toDockerProfile(defaultProfileJson, 'docker-default.json'))
  })
})
