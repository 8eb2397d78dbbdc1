import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { runBpf } from '../../../test/support/bpf-interpreter.ts'
import { type Abi, AUDIT_ARCH, syscallNumber, X32_SYSCALL_BIT } from './architectures.ts'
import { compileSeccomp } from './compile-seccomp.ts'
import { SECCOMP_OPERATORS, type SeccompArgument, type SeccompConfig, type SeccompSyscall } from './config.ts'

const KILL_THREAD = 0
const ENOSYS = 0x50026
const DEFAULT = 0x50001
const UINT64_MAX = 2n ** 64n - 1n

// Calls that every ABI here has, none of them multiplexed on i386, with the width of each argument in bits as the man
// pages declare them: int and unsigned int 32, the rest 64 (or the width of the ABI's registers).
const CALLS: Readonly<Record<string, readonly number[]>> = {
  read: [64, 64, 64, 64, 64, 64],
  munmap: [64, 64, 64, 64, 64, 64],
  personality: [32, 64, 64, 64, 64, 64],
  setns: [32, 32, 64, 64, 64, 64],
  openat2: [64, 64, 64, 64, 64, 64],
  prctl: [32, 64, 64, 64, 64, 64],
}
const WORDS: Readonly<Record<string, Abi>> = { SCMP_ARCH_X86_64: 'x86_64', SCMP_ARCH_X86: 'i386', SCMP_ARCH_X32: 'x32' }

const edge = fc.constantFrom(
  0n,
  1n,
  7n,
  38n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 32n + 7n,
  2n ** 63n,
  UINT64_MAX,
)
const word64 = fc.oneof(edge, fc.bigInt(0n, UINT64_MAX), fc.bigInt(0n, 63n))
const argument: fc.Arbitrary<SeccompArgument> = fc.record({
  index: fc.nat(5),
  value: word64,
  valueTwo: word64,
  op: fc.constantFrom(...SECCOMP_OPERATORS),
})
const syscall: fc.Arbitrary<SeccompSyscall> = fc.record({
  names: fc.subarray(Object.keys(CALLS), { minLength: 1 }),
  action: fc.constant('SCMP_ACT_ERRNO' as const),
  errnoRet: fc.integer({ min: 2, max: 9 }),
  args: fc.array(argument, { maxLength: 3 }),
})
const config: fc.Arbitrary<SeccompConfig> = fc.record({
  defaultAction: fc.constant('SCMP_ACT_ERRNO' as const),
  architectures: fc.subarray(Object.keys(WORDS)),
  syscalls: fc.array(syscall, { maxLength: 8 }),
})
const call = fc.record({
  abi: fc.constantFrom<Abi>('x86_64', 'i386', 'x32', 'aarch64'),
  call: fc.oneof(fc.constantFrom(...Object.keys(CALLS)), fc.nat(600)),
  args: fc.array(word64, { minLength: 6, maxLength: 6 }),
})

/** Whether a comparison holds, by its definition on unbounded integers. */
function holds({ value, valueTwo = 0n, op }: SeccompArgument, argument: bigint, bits: number): boolean {
  const seen = BigInt.asUintN(bits, argument)
  // Constants with all upper bits set are negative ints.
  const negative = bits === 32 && value >> 32n === 0xffffffffn
  const constant = negative ? value & 0xffffffffn : value
  if (op === 'SCMP_CMP_MASKED_EQ') {
    const wanted = value & valueTwo
    const signed = bits === 32 && value >> 32n === 0xffffffffn && wanted >> 32n === 0xffffffffn
    return (seen & value) === (signed ? wanted & 0xffffffffn : wanted)
  }
  const table = { NE: seen !== constant, LT: seen < constant, LE: seen <= constant, EQ: seen === constant }
  return { ...table, GE: seen >= constant, GT: seen > constant }[op.slice(9) as 'NE'] ?? false
}

/** The errnos that rules matching the call ask for; comparisons of one argument twice count one by one. */
function matching(rules: readonly SeccompSyscall[], name: string, abi: Abi, args: readonly bigint[]): number[] {
  return rules.flatMap(rule => {
    if (!rule.names.includes(name)) return []
    const asked = rule.args ?? []
    const checks = asked.map(one => {
      const bits = abi === 'i386' ? 32 : (CALLS[name]?.[one.index] ?? 64)
      return holds(one, args[one.index] ?? 0n, bits)
    })
    const twice = new Set(asked.map(one => one.index)).size < asked.length
    // A mask of nothing always holds, but does not make a rule of its own.
    const own = checks.filter((_, at) => asked[at]?.op !== 'SCMP_CMP_MASKED_EQ' || asked[at]?.value !== 0n)
    const matches = twice && own.length > 0 && hasTwice(asked) ? own.some(Boolean) : own.every(Boolean)
    return matches ? [0x50000 | (rule.errnoRet ?? 1)] : []
  })
}

function hasTwice(asked: readonly SeccompArgument[]): boolean {
  const real = asked.filter(one => one.op !== 'SCMP_CMP_MASKED_EQ' || one.value !== 0n)
  return new Set(real.map(one => one.index)).size < real.length
}

/** All results that the config permits for the call; one, unless rules of different actions match. */
function expected(tested: SeccompConfig, abi: Abi, nr: number, args: readonly bigint[]): readonly number[] {
  const abis = ['x86_64', ...(tested.architectures ?? []).map(name => WORDS[name])]
  const unlistedX32 = nr >= X32_SYSCALL_BIT && !abis.includes('x32')
  if (!abis.includes(abi) || unlistedX32) return [KILL_THREAD]
  const rules = tested.syscalls ?? []
  const named = rules.flatMap(rule => rule.names)
  const newest = Math.max(-1, ...named.map(name => syscallNumber(abi, name) ?? -1))
  if (newest >= 0 && nr > newest) return [ENOSYS]
  const name = named.find(candidate => syscallNumber(abi, candidate) === nr)
  const results = name === undefined ? [] : matching(rules, name, abi, args)
  return results.length === 0 ? [DEFAULT] : results
}

function numberOf(abi: Abi, wanted: string | number): number {
  if (typeof wanted === 'string') return syscallNumber(abi, wanted) ?? 0
  return abi === 'x32' ? X32_SYSCALL_BIT + wanted : wanted
}

describe('compileSeccomp() against the definition of the rules', () => {
  test('a filter returns the action of a matching rule, and the default only when none matches', () => {
    fc.assert(
      fc.property(config, fc.array(call, { minLength: 1, maxLength: 20 }), (tested, calls) => {
        const { program } = compileSeccomp(tested, { nativeArch: 'x86_64' })
        for (const { abi, call: wanted, args } of calls) {
          const nr = numberOf(abi, wanted)
          expect(expected(tested, abi, nr, args)).toContain(runBpf(program, { nr, arch: AUDIT_ARCH[abi], args }))
        }
      }),
      { numRuns: 1000 },
    )
  })

  test('rules in another order give the same program when their actions are the same', () => {
    const sameAction = config.map(tested => ({
      ...tested,
      syscalls: (tested.syscalls ?? []).map(rule => ({ ...rule, errnoRet: 5 })),
    }))
    fc.assert(
      fc.property(sameAction, tested => {
        const reversed = { ...tested, syscalls: tested.syscalls.toReversed() }
        const { program } = compileSeccomp(tested, { nativeArch: 'x86_64' })
        expect(compileSeccomp(reversed, { nativeArch: 'x86_64' }).program).toEqual(program)
      }),
      { numRuns: 300 },
    )
  })
})
