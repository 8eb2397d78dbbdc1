import { describe, expect, test } from 'bun:test'
import { runBpf } from '../../../test/support/bpf-interpreter.ts'
import { AUDIT_ARCH, syscallNumber } from './architectures.ts'
import { compileSeccomp } from './compile-seccomp.ts'
import type { SeccompAction, SeccompConfig, SeccompOperator, SeccompSyscall } from './config.ts'

const X86 = ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']
const ALLOW = 0x7fff0000
const KILL_THREAD = 0
const EPERM = 0x50001
const EACCES = 0x5000d
const ENOSYS = 0x50026
const UINT64_MAX = 2n ** 64n - 1n

type Call = readonly [abi: keyof typeof AUDIT_ARCH, call: string | number, ...args: (bigint | number)[]]

function run(config: SeccompConfig, [abi, call, ...args]: Call, nativeArch: 'x86_64' | 'aarch64' = 'x86_64'): number {
  const nr = typeof call === 'number' ? call : (syscallNumber(abi, call) ?? -1)
  const { program } = compileSeccomp(config, { nativeArch })
  const all = Array.from({ length: 6 }, (_, index) => BigInt.asUintN(64, BigInt(args[index] ?? 0)))
  return runBpf(program, { nr, arch: AUDIT_ARCH[abi], args: all })
}

function refuseBut(...syscalls: SeccompSyscall[]): SeccompConfig {
  return { defaultAction: 'SCMP_ACT_ERRNO', architectures: X86, syscalls }
}

function rule(name: string, action: SeccompAction, ...args: NonNullable<SeccompSyscall['args']>): SeccompSyscall {
  return { names: [name], action, args }
}

function is(index: number, value: bigint, op: SeccompOperator = 'SCMP_CMP_EQ', valueTwo?: bigint) {
  return { index, value, op, ...(valueTwo !== undefined && { valueTwo }) }
}

describe('compileSeccomp() actions', () => {
  test.each<[SeccompAction, number | undefined, number]>([
    ['SCMP_ACT_KILL', undefined, 0],
    ['SCMP_ACT_KILL_THREAD', undefined, 0],
    ['SCMP_ACT_KILL_PROCESS', undefined, 0x80000000],
    ['SCMP_ACT_TRAP', undefined, 0x30000],
    ['SCMP_ACT_ERRNO', undefined, EPERM],
    ['SCMP_ACT_ERRNO', 0, 0x50000],
    ['SCMP_ACT_ERRNO', 4095, 0x50fff],
    ['SCMP_ACT_TRACE', undefined, 0x7ff00001],
    ['SCMP_ACT_TRACE', 0xffff, 0x7ff0ffff],
    ['SCMP_ACT_LOG', undefined, 0x7ffc0000],
    ['SCMP_ACT_NOTIFY', undefined, 0x7fc00000],
  ])('%s with errnoRet %p returns it for a rule', (action, errnoRet, expected) => {
    const entry = { names: ['chmod'], action, ...(errnoRet !== undefined && { errnoRet }) }
    const config = { defaultAction: 'SCMP_ACT_ALLOW', listenerPath: '/run/agent', syscalls: [entry] } as const
    expect(run(config, ['x86_64', 'chmod'])).toBe(expected)
    expect(run(config, ['x86_64', 'read'])).toBe(ALLOW)
  })

  const listening = { listenerPath: '/a' }
  test.each<[string, SeccompConfig, RegExp]>([
    [
      'an errno on ALLOW',
      { defaultAction: 'SCMP_ACT_ALLOW', defaultErrnoRet: 1 },
      /default action: errnoRet 1 with SCMP/,
    ],
    [
      'an errno on KILL',
      refuseBut({ ...rule('read', 'SCMP_ACT_KILL'), errnoRet: 5 }),
      /"read": errnoRet 5 with SCMP_ACT/,
    ],
    [
      'an errno above 4095',
      refuseBut({ ...rule('read', 'SCMP_ACT_ERRNO'), errnoRet: 4096 }),
      /4096, expected 0 to 4095/,
    ],
    [
      'trace data above 65535',
      refuseBut({ ...rule('read', 'SCMP_ACT_TRACE'), errnoRet: 65536 }),
      /expected 0 to 65535/,
    ],
    ['a rule without names', refuseBut({ names: [], action: 'SCMP_ACT_ALLOW' }), /no names/],
    ['an empty name', refuseBut({ names: ['read', ''], action: 'SCMP_ACT_ALLOW' }), /an empty name/],
    ['a seventh argument', refuseBut(rule('read', 'SCMP_ACT_ALLOW', is(6, 0n))), /argument index 6, expected 0 to 5/],
    ['a constant of 65 bits', refuseBut(rule('read', 'SCMP_ACT_ALLOW', is(0, 2n ** 64n))), /expected 64 bits/],
    ['a negative constant', refuseBut(rule('read', 'SCMP_ACT_ALLOW', is(0, -1n))), /expected 64 bits/],
    ['NOTIFY by default', { defaultAction: 'SCMP_ACT_NOTIFY' }, /default action SCMP_ACT_NOTIFY/],
    ['NOTIFY without a listener', refuseBut(rule('chmod', 'SCMP_ACT_NOTIFY')), /SCMP_ACT_NOTIFY without listenerPath/],
    ['NOTIFY on write', { ...refuseBut(rule('write', 'SCMP_ACT_NOTIFY')), ...listening }, /SCMP_ACT_NOTIFY for write/],
    [
      'NOTIFY on sendmsg',
      { ...refuseBut(rule('sendmsg', 'SCMP_ACT_NOTIFY')), ...listening },
      /SCMP_ACT_NOTIFY for send/,
    ],
    ['metadata for no listener', { ...refuseBut(), listenerMetadata: 'x' }, /listenerMetadata without listenerPath/],
    [
      'WAIT_KILLABLE_RECV without NOTIFY',
      { ...refuseBut(), flags: ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'] },
      /WAIT_KILLABLE_RECV, expected with a rule/,
    ],
    ['an unknown architecture', { ...refuseBut(), architectures: ['SCMP_ARCH_MIPS64'] }, /"SCMP_ARCH_MIPS64"/],
  ])('refuses %s', (_, config, message) => {
    expect(() => compileSeccomp(config, { nativeArch: 'x86_64' })).toThrow(message)
  })

  test('refuses an action that the kernel does not list', () => {
    const target = { nativeArch: 'x86_64', kernelActions: ['kill_thread', 'errno', 'allow'] } as const
    expect(compileSeccomp(refuseBut(rule('read', 'SCMP_ACT_ALLOW')), target).flags).toBe(4)
    expect(() => compileSeccomp(refuseBut(rule('read', 'SCMP_ACT_KILL_PROCESS')), target)).toThrow(
      'Cannot use seccomp action "SCMP_ACT_KILL_PROCESS": this kernel has kill_thread errno allow',
    )
  })
})

describe('compileSeccomp() flags', () => {
  const notify = { ...refuseBut(rule('chmod', 'SCMP_ACT_NOTIFY')), listenerPath: '/a' }
  test.each<[string, SeccompConfig, number, boolean]>([
    ['SPEC_ALLOW when there are none', refuseBut(), 4, false],
    ['nothing for an empty list', { ...refuseBut(), flags: [] }, 0, false],
    ['TSYNC and LOG', { ...refuseBut(), flags: ['SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_LOG'] }, 3, false],
    ['NEW_LISTENER with a notifying rule', { ...notify, flags: [] }, 8, true],
    ['TSYNC_ESRCH beside TSYNC and a listener', { ...notify, flags: ['SECCOMP_FILTER_FLAG_TSYNC'] }, 1 | 8 | 16, true],
    ['WAIT_KILLABLE_RECV', { ...notify, flags: ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'] }, 8 | 32, true],
    ['no listener for a path without such a rule', { ...refuseBut(), listenerPath: '/a', flags: [] }, 0, false],
  ])('are %s', (_, config, flags, needsListener) => {
    expect(compileSeccomp(config, { nativeArch: 'x86_64' })).toMatchObject({ flags, needsListener })
  })
})

describe('compileSeccomp() architectures', () => {
  const readOnly = rule('read', 'SCMP_ACT_ALLOW')
  const nativeOnly: SeccompConfig = { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [readOnly] }
  test.each<[string, SeccompConfig, Call, number]>([
    ['the native call', nativeOnly, ['x86_64', 'read'], ALLOW],
    ['an i386 call when X86 is not listed', nativeOnly, ['i386', 'read'], KILL_THREAD],
    ['an x32 call when X32 is not listed', nativeOnly, ['x32', 'read'], KILL_THREAD],
    ['an x32 number of no call when X32 is not listed', nativeOnly, ['x32', 0x7fffffff], KILL_THREAD],
    ['-1 when X32 is not listed: a tracer skips a call', nativeOnly, ['x86_64', 0xffffffff], EPERM],
    ['an x32 call when X32 is listed', refuseBut(readOnly), ['x32', 'read'], ALLOW],
    ['another x32 call', refuseBut(readOnly, rule('write', 'SCMP_ACT_ERRNO')), ['x32', 'write'], EPERM],
    ['an i386 call when X86 is listed', refuseBut(readOnly), ['i386', 'read'], ALLOW],
    ['the i386 call with the native number of read', refuseBut(readOnly), ['i386', 0], EPERM],
    ['an architecture of another machine', refuseBut(readOnly), ['aarch64', 'read'], KILL_THREAD],
  ])('%s', (_, config, call, expected) => {
    expect(run(config, call)).toBe(expected)
  })

  test('arm calls on an aarch64 machine are found by their own numbers', () => {
    const config: SeccompConfig = { ...nativeOnly, architectures: ['SCMP_ARCH_ARM'] }
    expect(run(config, ['arm', 'read'], 'aarch64')).toBe(ALLOW)
    expect(run(config, ['aarch64', 'read'], 'aarch64')).toBe(ALLOW)
    expect(run(config, ['aarch64', 3], 'aarch64')).toBe(EPERM)
  })

  test('names without a number are reported when no architecture has them', () => {
    const config = refuseBut({ names: ['no_such_call', 'read', 'send', 'socketcall'], action: 'SCMP_ACT_ALLOW' })
    expect(compileSeccomp(config, { nativeArch: 'x86_64' }).unknownSyscalls).toEqual(['no_such_call'])
    expect(compileSeccomp({ ...config, architectures: [] }, { nativeArch: 'x86_64' }).unknownSyscalls).toEqual([
      'no_such_call',
      'send',
      'socketcall',
    ])
  })
})

describe('compileSeccomp() calls newer than the profile', () => {
  const upToOpenat2 = rule('openat2', 'SCMP_ACT_ALLOW')
  test.each<[string, SeccompConfig, Call, number]>([
    ['get ENOSYS above the highest number named', refuseBut(upToOpenat2), ['x86_64', 438], ENOSYS],
    ['get the default action below it', refuseBut(upToOpenat2), ['x86_64', 436], EPERM],
    ['get ENOSYS per ABI', refuseBut(upToOpenat2), ['x32', 0x40000000 + 438], ENOSYS],
    [
      'count from rules that repeat the default, too',
      refuseBut(rule('openat2', 'SCMP_ACT_ERRNO')),
      ['x86_64', 437],
      EPERM,
    ],
    [
      'get ENOSYS when the default kills',
      { ...refuseBut(upToOpenat2), defaultAction: 'SCMP_ACT_KILL' },
      ['x86_64', 500],
      ENOSYS,
    ],
    ['pass when the default allows', { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [] }, ['x86_64', 500], ALLOW],
    ['get the default when the profile names no call', refuseBut(), ['x86_64', 500], EPERM],
  ])('%s', (_, config, call, expected) => {
    expect(run(config, call)).toBe(expected)
  })

  test('get ENOSYS on arm between its table and its private calls', () => {
    const config = {
      defaultAction: 'SCMP_ACT_ERRNO',
      architectures: ['SCMP_ARCH_ARM'],
      syscalls: [{ names: ['openat2', 'cacheflush'], action: 'SCMP_ACT_ALLOW' }],
    } as const
    expect(run(config, ['arm', 'openat2'], 'aarch64')).toBe(ALLOW)
    expect(run(config, ['arm', 438], 'aarch64')).toBe(ENOSYS)
    expect(run(config, ['arm', 'cacheflush'], 'aarch64')).toBe(ALLOW)
    expect(run(config, ['arm', 'set_tls'], 'aarch64')).toBe(ENOSYS)
  })
})

describe('compileSeccomp() comparisons at their bounds', () => {
  const constants = [0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 32n + 1n, 2n ** 63n, UINT64_MAX]
  const values = [...new Set(constants.flatMap(c => [c - 1n, c, c + 1n]))].filter(v => v >= 0n && v <= UINT64_MAX)
  const holds: Readonly<Record<Exclude<SeccompOperator, 'SCMP_CMP_MASKED_EQ'>, (a: bigint, c: bigint) => boolean>> = {
    SCMP_CMP_NE: (a, c) => a !== c,
    SCMP_CMP_LT: (a, c) => a < c,
    SCMP_CMP_LE: (a, c) => a <= c,
    SCMP_CMP_EQ: (a, c) => a === c,
    SCMP_CMP_GE: (a, c) => a >= c,
    SCMP_CMP_GT: (a, c) => a > c,
  }
  test.each(Object.entries(holds))('%s compares 64 bits of a long', (op, expected) => {
    for (const constant of constants) {
      const config = refuseBut(rule('munmap', 'SCMP_ACT_ALLOW', is(1, constant, op as SeccompOperator)))
      for (const value of values) {
        expect([constant, value, run(config, ['x86_64', 'munmap', 0, value])]).toEqual([
          constant,
          value,
          expected(value, constant) ? ALLOW : EPERM,
        ])
      }
    }
  })

  test('SCMP_CMP_MASKED_EQ compares the masked bits of both words, and no bits outside the mask', () => {
    const mask = 0x0000_0001_8000_00f0n
    const config = refuseBut(rule('munmap', 'SCMP_ACT_ALLOW', is(1, mask, 'SCMP_CMP_MASKED_EQ', 0x1_0000_0013n)))
    for (const value of [...values, 0x1_0000_0010n, 0x1_7fff_ff1fn, 0x3_0000_0010n, 0x1_8000_0010n, 0x10n]) {
      expect(run(config, ['x86_64', 'munmap', 0, value])).toBe((value & mask) === 0x1_0000_0010n ? ALLOW : EPERM)
    }
  })

  test('a mask of zero asks for nothing', () => {
    expect(
      run(refuseBut(rule('munmap', 'SCMP_ACT_ALLOW', is(1, 0n, 'SCMP_CMP_MASKED_EQ', 7n))), ['x86_64', 'munmap']),
    ).toBe(ALLOW)
  })
})

describe('compileSeccomp() compares only the bits that the kernel uses', () => {
  const noAlg = [
    rule('socket', 'SCMP_ACT_ALLOW', is(0, 38n, 'SCMP_CMP_LT')),
    rule('socket', 'SCMP_ACT_ALLOW', is(0, 40n, 'SCMP_CMP_GT')),
  ]
  const persona = rule('personality', 'SCMP_ACT_ALLOW', is(0, 0xffffffffn))
  const signed = rule('personality', 'SCMP_ACT_ALLOW', is(0, UINT64_MAX))
  const clone = rule('clone', 'SCMP_ACT_ALLOW', is(0, 0x7e020000n, 'SCMP_CMP_MASKED_EQ', 0n))
  const device = rule('mknod', 'SCMP_ACT_KILL', is(1, 0o020666n))
  const ptrace = rule('ptrace', 'SCMP_ACT_ALLOW', is(0, 0n))
  test.each<[string, SeccompConfig, Call, number]>([
    ['int: AF_INET', refuseBut(...noAlg), ['x86_64', 'socket', 2], ALLOW],
    ['int: AF_ALG', refuseBut(...noAlg), ['x86_64', 'socket', 38], EPERM],
    ['int: AF_ALG under high bits', refuseBut(...noAlg), ['x86_64', 'socket', 0x1_00000026n], EPERM],
    ['int: AF_VSOCK under high bits', refuseBut(...noAlg), ['x32', 'socket', 0xffffffff_00000028n], EPERM],
    [
      'int: AF_INET under high bits, which the kernel ignores',
      refuseBut(...noAlg),
      ['x86_64', 'socket', 0x1_00000002n],
      ALLOW,
    ],
    ['int: -1 given as 64 bits', refuseBut(persona), ['x86_64', 'personality', -1], ALLOW],
    ['int: a constant of -1 in 64 bits', refuseBut(signed), ['x86_64', 'personality', 0xffffffffn], ALLOW],
    [
      'int: a constant that no int can have',
      refuseBut(rule('personality', 'SCMP_ACT_ALLOW', is(0, 2n ** 32n))),
      ['x86_64', 'personality', 0],
      EPERM,
    ],
    ['clone: lower_32_bits of its flags', refuseBut(clone), ['x86_64', 'clone', 0x1_00000011n], ALLOW],
    ['clone: CLONE_NEWUSER', refuseBut(clone), ['x86_64', 'clone', 0x10000011n], EPERM],
    ['umode_t: 16 bits', refuseBut(device), ['x86_64', 'mknod', 0, 0x1_0000n | 0o020666n], KILL_THREAD],
    ['umode_t: the exact mode', refuseBut(device), ['x86_64', 'mknod', 0, 0o020666n], KILL_THREAD],
    ['long: ptrace compares all 64', refuseBut(ptrace), ['x86_64', 'ptrace', 0x1_00000000n], EPERM],
    ['i386: registers of a 64-bit process in int 0x80', refuseBut(ptrace), ['i386', 'ptrace', 0x1_00000000n], ALLOW],
    ['x32: compat entries have 32-bit longs', refuseBut(ptrace), ['x32', 'ptrace', 0x1_00000000n], ALLOW],
  ])('%s', (_, config, call, expected) => {
    expect(run(config, call)).toBe(expected)
  })
})

describe('compileSeccomp() rules for the same call', () => {
  const refuse = (errnoRet: number, ...args: NonNullable<SeccompSyscall['args']>): SeccompSyscall => ({
    names: ['munmap'],
    action: 'SCMP_ACT_ERRNO',
    errnoRet,
    args,
  })
  const allow = rule('munmap', 'SCMP_ACT_ALLOW')
  const at7 = is(0, 7n)
  const size2 = is(1, 2n)
  // Each expectation was observed with libseccomp 2.5.4, seccomp_rule_add_array in the same order.
  test.each<[string, readonly SeccompSyscall[], readonly number[], number]>([
    ['a rule without comparisons decides alone', [refuse(13, at7), allow], [7], ALLOW],
    ['… also when it comes first', [allow, refuse(13, at7)], [7], ALLOW],
    ['of two without comparisons the first decides', [refuse(13), allow], [0], EACCES],
    ['a rule that repeats the default action says nothing', [refuse(1), allow], [0], ALLOW],
    ['a rule that asks for less decides', [refuse(13, at7), refuse(2, at7, size2)], [7, 2], EACCES],
    ['… also when it comes last', [refuse(2, at7, size2), refuse(13, at7)], [7, 2], EACCES],
    ['all comparisons of a rule must hold', [refuse(13, at7, size2)], [7, 3], EPERM],
    ['one of several rules is enough', [refuse(13, at7), refuse(13, is(0, 9n))], [9], EACCES],
    ['EQ goes before GE', [refuse(2, is(0, 5n, 'SCMP_CMP_GE')), refuse(13, at7)], [7], EACCES],
    ['LE goes before GE', [refuse(2, is(0, 5n, 'SCMP_CMP_GE')), refuse(13, is(0, 9n, 'SCMP_CMP_LE'))], [7], EACCES],
    [
      'the tighter GE goes first',
      [refuse(2, is(0, 5n, 'SCMP_CMP_GE')), refuse(13, is(0, 9n, 'SCMP_CMP_GE'))],
      [10],
      EACCES,
    ],
    [
      'the tighter LE goes first',
      [refuse(2, is(0, 9n, 'SCMP_CMP_LE')), refuse(13, is(0, 5n, 'SCMP_CMP_LE'))],
      [4],
      EACCES,
    ],
    ['later arguments go first', [refuse(2, at7), refuse(13, size2)], [7, 2], EACCES],
    [
      'two comparisons of one argument are two rules',
      [rule('munmap', 'SCMP_ACT_ALLOW', is(0, 5n, 'SCMP_CMP_GE'), is(0, 3n, 'SCMP_CMP_LE'))],
      [9],
      ALLOW,
    ],
  ])('%s', (_, rules, args, expected) => {
    const config = refuseBut(...rules)
    expect(run(config, ['x86_64', 'munmap', ...args])).toBe(expected)
  })

  test('a rule that another one makes void is reported', () => {
    const shadowed = (...rules: SeccompSyscall[]) =>
      compileSeccomp(refuseBut(...rules), { nativeArch: 'x86_64' }).shadowedSyscalls
    expect(shadowed(refuse(13, at7), allow)).toEqual(['munmap'])
    expect(shadowed(refuse(1), allow)).toEqual(['munmap'])
    expect(shadowed(refuse(13, at7), refuse(13, at7, size2))).toEqual([])
    expect(shadowed(allow, allow)).toEqual([])
  })
})

describe('compileSeccomp() i386 multiplexers', () => {
  const families = rule('socket', 'SCMP_ACT_ALLOW', is(0, 38n, 'SCMP_CMP_LT'))
  const open: SeccompConfig = { defaultAction: 'SCMP_ACT_ALLOW', architectures: X86 }
  const noAlg = rule('socket', 'SCMP_ACT_ERRNO', is(0, 38n))
  test.each<[string, SeccompConfig, Call, number]>([
    ['bind is allowed through socketcall', refuseBut(rule('bind', 'SCMP_ACT_ALLOW')), ['i386', 'socketcall', 2], ALLOW],
    ['other calls are not', refuseBut(rule('bind', 'SCMP_ACT_ALLOW')), ['i386', 'socketcall', 3], EPERM],
    ['a permission with comparisons is not carried over', refuseBut(families), ['i386', 'socketcall', 1], EPERM],
    ['a restriction is, as a whole', { ...open, syscalls: [noAlg] }, ['i386', 'socketcall', 1], EPERM],
    ['… and with comparisons on the call itself', { ...open, syscalls: [noAlg] }, ['i386', 'socket', 2], ALLOW],
    ['shmat is allowed through ipc', refuseBut(rule('shmat', 'SCMP_ACT_ALLOW')), ['i386', 'ipc', 21], ALLOW],
    ['… in every version', refuseBut(rule('shmat', 'SCMP_ACT_ALLOW')), ['i386', 'ipc', 0x1_0015], ALLOW],
    [
      'the profile on socketcall itself decides',
      refuseBut(rule('bind', 'SCMP_ACT_ALLOW'), rule('socketcall', 'SCMP_ACT_KILL')),
      ['i386', 'socketcall', 2],
      KILL_THREAD,
    ],
    [
      'x86_64 has none: 102 is just a number above bind',
      refuseBut(rule('bind', 'SCMP_ACT_ALLOW')),
      ['x86_64', 102],
      ENOSYS,
    ],
  ])('%s', (_, config, call, expected) => {
    expect(run(config, call)).toBe(expected)
  })
})
