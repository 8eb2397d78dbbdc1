import { describe, expect, test } from 'bun:test'
import { runBpf } from '../../test/support/bpf-interpreter.ts'
import { AUDIT_ARCH, syscallNumber } from '../linux/seccomp/architectures.ts'
import { compileSeccomp } from '../linux/seccomp/compile-seccomp.ts'
import type { SeccompConfig } from '../linux/seccomp/config.ts'
import type { DockerProfile } from './docker-profile.ts'
import { hardenProfile, SECCOMP_HARDENINGS, type SeccompHardening } from './seccomp-hardening.ts'
import { dockerProfile, parseSeccompChoice, resolveProfile } from './seccomp-profile.ts'

const ALLOW = 0x7fff0000
const EPERM = 0x50001
const ENOSYS = 0x50026

type Abi = keyof typeof AUDIT_ARCH

function run(config: SeccompConfig, abi: Abi, call: string, ...args: readonly bigint[]): number {
  const nativeArch = abi === 'aarch64' || abi === 'arm' ? 'aarch64' : 'x86_64'
  const nr = syscallNumber(abi, call)
  if (nr === undefined) throw new Error(`${abi} has no ${call}`)
  const all = Array.from({ length: 6 }, (_, index) => args[index] ?? 0n)
  return runBpf(compileSeccomp(config, { nativeArch }).program, { nr, arch: AUDIT_ARCH[abi], args: all })
}

function docker(capabilities: readonly string[] = [], arch: 'x86_64' | 'aarch64' = 'x86_64'): SeccompConfig {
  return dockerProfile({ capabilities, arch, kernelVersion: '6.1.0-37-amd64' })
}

describe('dockerProfile()', () => {
  test.each<[string, Abi, string, readonly bigint[], number]>([
    ['read', 'x86_64', 'read', [], ALLOW],
    ['ptrace since 4.8', 'x86_64', 'ptrace', [], ALLOW],
    ['mount', 'x86_64', 'mount', [], EPERM],
    ['clone3', 'x86_64', 'clone3', [], ENOSYS],
    ['clone of a thread', 'x86_64', 'clone', [0x3d0f00n], ALLOW],
    ['clone of a user namespace', 'x86_64', 'clone', [0x10000000n], EPERM],
    ['arch_prctl', 'x86_64', 'arch_prctl', [], ALLOW],
    ['AF_INET', 'x86_64', 'socket', [2n], ALLOW],
    ['AF_VSOCK', 'x86_64', 'socket', [40n], EPERM],
    ['AF_ALG under high bits', 'x86_64', 'socket', [0x1_00000026n], EPERM],
    ['personality 0xffffffff', 'x86_64', 'personality', [0xffffffffn], ALLOW],
    ['personality ADDR_NO_RANDOMIZE', 'x86_64', 'personality', [0x40000n], EPERM],
    ['io_uring_setup', 'x86_64', 'io_uring_setup', [], EPERM],
    ['i386 read', 'i386', 'read', [], ALLOW],
    ['i386 socketcall', 'i386', 'socketcall', [1n], ALLOW],
    ['x32 read', 'x32', 'read', [], ALLOW],
  ])('%s without capabilities (%s)', (_, abi, call, args, expected) => {
    expect(run(docker(), abi, call, ...args)).toBe(expected)
  })

  test.each<[string, string, readonly bigint[]]>([
    ['CAP_SYS_ADMIN', 'mount', []],
    ['CAP_SYS_ADMIN', 'clone3', []],
    ['CAP_SYS_ADMIN', 'clone', [0x10000000n]],
    ['CAP_SYS_CHROOT', 'chroot', []],
    ['CAP_BPF', 'bpf', []],
    ['CAP_SYSLOG', 'syslog', []],
    ['CAP_SYS_TIME', 'clock_settime', []],
  ])('%s permits %s', (capability, call, args) => {
    expect(run(docker(), 'x86_64', call, ...args)).not.toBe(ALLOW)
    expect(run(docker([capability]), 'x86_64', call, ...args)).toBe(ALLOW)
  })

  test('on aarch64 the filter covers arm, with its private calls', () => {
    expect(docker([], 'aarch64').architectures).toEqual(['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'])
    expect(run(docker([], 'aarch64'), 'arm', 'cacheflush')).toBe(ALLOW)
    expect(run(docker([], 'aarch64'), 'aarch64', 'read')).toBe(ALLOW)
    expect(run(docker([], 'aarch64'), 'aarch64', 'mount')).toBe(EPERM)
  })

  test('its program is a third of what libseccomp makes of it (1,001 instructions), without shadowed rules', () => {
    const { program, shadowedSyscalls, unknownSyscalls } = compileSeccomp(docker(), { nativeArch: 'x86_64' })
    expect(program.length / 8).toBeLessThan(400)
    expect(shadowedSyscalls).toEqual([])
    expect(unknownSyscalls).toEqual(['riscv_hwprobe'])
  })
})

describe('resolveProfile()', () => {
  const profile: DockerProfile = {
    defaultAction: 'SCMP_ACT_ERRNO',
    archMap: [{ architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] }],
    syscalls: [
      { names: ['both'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_A', 'CAP_B'] } },
      { names: ['notA'], action: 'SCMP_ACT_ALLOW', excludes: { caps: ['CAP_A', 'CAP_C'] } },
      { names: ['arm'], action: 'SCMP_ACT_ALLOW', includes: { arches: ['arm', 'arm64'] } },
      { names: ['notArm'], action: 'SCMP_ACT_ALLOW', excludes: { arches: ['arm64'] } },
      { names: ['new'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: { kernel: 5, major: 10 } } },
      { names: ['old'], action: 'SCMP_ACT_ALLOW', excludes: { minKernel: { kernel: 5, major: 10 } } },
      { names: ['always'], action: 'SCMP_ACT_ALLOW', includes: { caps: [], arches: [] }, excludes: {} },
    ],
  }
  const namesFor = (capabilities: readonly string[], arch: 'x86_64' | 'aarch64', kernelVersion: string) =>
    resolveProfile(profile, { capabilities, arch, kernelVersion }).syscalls?.flatMap(rule => rule.names)

  test.each([
    [['CAP_A'], 'x86_64', '5.10.1', ['notArm', 'new', 'always']],
    [['CAP_A', 'CAP_B'], 'x86_64', '6.1', ['both', 'notArm', 'new', 'always']],
    [[], 'aarch64', '5.9.99-gentoo', ['notA', 'arm', 'old', 'always']],
    [[], 'aarch64', '4.19', ['notA', 'arm', 'old', 'always']],
  ] as const)('%j on %s with %s keeps %j', (capabilities, arch, kernel, names) => {
    expect(namesFor(capabilities, arch, kernel)).toEqual([...names])
  })

  test('takes the architectures of the machine from archMap and drops the conditions', () => {
    const on = (arch: 'x86_64' | 'aarch64') => resolveProfile(profile, { capabilities: [], arch, kernelVersion: '6.1' })
    expect(on('aarch64').architectures).toEqual(['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'])
    expect(on('x86_64').architectures).toBeUndefined()
    expect(on('x86_64').syscalls?.at(-1)).toEqual({ names: ['always'], action: 'SCMP_ACT_ALLOW' })
  })

  test('refuses a kernel version that is none', () => {
    expect(() => namesFor([], 'x86_64', 'linux')).toThrow('Cannot read kernel version "linux"')
  })
})

describe('hardenProfile()', () => {
  test.each<[string, Abi, string, readonly bigint[], number]>([
    ['AF_ALG', 'x86_64', 'socket', [38n], EPERM],
    ['AF_VSOCK', 'i386', 'socket', [40n], EPERM],
    ['AF_NETLINK', 'x86_64', 'socket', [16n], ALLOW],
    ['a family after AF_VSOCK', 'x32', 'socket', [44n], ALLOW],
    ['AF_ALG of x32 under high bits', 'x32', 'socket', [0x7_00000026n], EPERM],
    ['socketcall(SYS_SOCKET)', 'i386', 'socketcall', [1n], ENOSYS],
    ['socketcall(SYS_SOCKET) under high bits', 'i386', 'socketcall', [0x1_00000001n], ENOSYS],
    ['socketcall(SYS_BIND)', 'i386', 'socketcall', [2n], ALLOW],
    ['socketcall(SYS_SENDMMSG)', 'i386', 'socketcall', [20n], ALLOW],
    ['io_uring_setup', 'x86_64', 'io_uring_setup', [], EPERM],
    ['userfaultfd', 'x86_64', 'userfaultfd', [], EPERM],
    ['keyctl', 'x86_64', 'keyctl', [], EPERM],
  ])('%s (%s %s) with CAP_SYS_ADMIN', (_, abi, call, args, expected) => {
    expect(run(hardenProfile(docker(['CAP_SYS_ADMIN'])), abi, call, ...args)).toBe(expected)
  })

  test('refuses what a looser profile allows outright, and leaves the rest', () => {
    const names = ['socket', 'socketcall', 'io_uring_setup', 'keyctl', 'userfaultfd', 'read']
    const loose: SeccompConfig = {
      defaultAction: 'SCMP_ACT_ERRNO',
      architectures: ['SCMP_ARCH_X86'],
      syscalls: [{ names, action: 'SCMP_ACT_ALLOW' }],
    }
    const hardened = hardenProfile(loose)
    expect(run(hardened, 'x86_64', 'socket', 38n)).toBe(EPERM)
    expect(run(hardened, 'x86_64', 'socket', 1n)).toBe(ALLOW)
    expect(run(hardened, 'i386', 'socketcall', 1n)).toBe(ENOSYS)
    for (const name of ['io_uring_setup', 'keyctl', 'userfaultfd'])
      expect(run(hardened, 'x86_64', name)).not.toBe(ALLOW)
    expect(run(hardened, 'x86_64', 'read')).toBe(ALLOW)
    expect(compileSeccomp(hardened, { nativeArch: 'x86_64' }).shadowedSyscalls).toEqual([])
  })

  test('leaves out what is excepted', () => {
    const all = Object.keys(SECCOMP_HARDENINGS) as SeccompHardening[]
    expect(hardenProfile(docker(), all)).toEqual(docker())
    expect(run(hardenProfile(docker(), ['socketcall']), 'i386', 'socketcall', 1n)).toBe(ALLOW)
  })
})

describe('parseSeccompChoice()', () => {
  test('knows the two words, and takes anything else as a path', () => {
    expect(parseSeccompChoice('unconfined')).toEqual({ kind: 'unconfined' })
    expect(parseSeccompChoice('builtin')).toEqual({ kind: 'builtin' })
    expect(parseSeccompChoice('./my.json')).toEqual({ kind: 'file', path: './my.json' })
    expect(() => parseSeccompChoice('')).toThrow('Cannot read security option "seccomp"')
  })
})
