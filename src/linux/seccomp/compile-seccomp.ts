/**
 * Compiles the seccomp section of an OCI config to a classic BPF program.
 *
 * ```
 *   ld  [4]   arch        jeq per audit number of the config's architectures, else KILL_THREAD
 *   ld  [0]   nr          binary search over ranges of numbers with the same verdict
 *   verdict:              ret ACTION, or comparisons of arguments, rule by rule, then ret DEFAULT
 * ```
 * Only loads of `arch` and `nr`, AND and jumps lead to an unconditional ALLOW, so the kernel proves those calls always
 * allowed when it takes the filter, and skips the program for them (seccomp_cache_prepare(), Linux 5.11).
 *
 * As in runc with libseccomp: an architecture that is not listed gets KILL_THREAD (libseccomp's SCMP_FLTATR_ACT_BADARCH
 * keeps its default there), and so do x32 numbers when only x86-64 is listed, except -1, which is how a tracer skips a
 * call. When the default action refuses, numbers above the highest one that the profile names get ENOSYS: the profile's
 * author could not know those calls, and programs try the older call after ENOSYS but not after EPERM.
 */
import { ENOSYS } from '../../lib/errno.ts'
import { BerthError } from '../../lib/error.ts'
import { actionValue, isPermissive, KERNEL_ACTION_NAMES } from './actions.ts'
import {
  type Abi,
  ARM_PRIVATE_BASE,
  AUDIT_ARCH,
  type NativeArch,
  selectAbis,
  syscallTable,
  X32_SYSCALL_BIT,
} from './architectures.ts'
import { BPF, BpfAssembler, type Label } from './bpf-assembler.ts'
import { compileCondition } from './compile-condition.ts'
import { compileSearch, VerdictRanges } from './compile-dispatch.ts'
import { SECCOMP_RET, type SeccompConfig } from './config.ts'
import { filterFlags, usesNotify } from './filter-flags.ts'
import { MULTIPLEXED_CALLS, multiplexedRules } from './multiplexed-calls.ts'
import { decidingRules, type Rule, rulesByName } from './rules.ts'
import { argumentBits } from './syscall-arguments.ts'

/** The machine a filter is for. */
export interface SeccompTarget {
  readonly nativeArch: NativeArch
  /** The words of /proc/sys/kernel/seccomp/actions_avail; absent: not checked. */
  readonly kernelActions?: readonly string[]
}

/** What seccomp(2) needs, and what the profile's author should hear of. */
export interface CompiledSeccomp {
  /** `struct sock_filter[]`, little-endian, at most 4,096 of them. */
  readonly program: Uint8Array
  /** `SECCOMP_FILTER_FLAG_*` bits for seccomp(2); NEW_LISTENER is set when a rule notifies. */
  readonly flags: number
  /** seccomp(2) returns a listener fd that goes to `listenerPath`. */
  readonly needsListener: boolean
  /** Names that none of the filter's architectures has; rules about them have no effect. */
  readonly unknownSyscalls: readonly string[]
  /** Names with a rule that another rule for the same call makes void although their actions differ. */
  readonly shadowedSyscalls: readonly string[]
}

/** The rules of one call under one ABI, tried in order; an action alone is a number. */
type Verdict =
  | number
  | { readonly abi: Abi; readonly number: number; readonly name: string; readonly rules: readonly Rule[] }

interface Profile {
  readonly rules: ReadonlyMap<string, readonly Rule[]>
  readonly defaultValue: number
  /** What numbers above the profile's knowledge get. */
  readonly newerValue: number
  /** Collects the names that some ABI of the filter has. */
  readonly known: Set<string>
}

const BAD_ARCH_VALUE = SECCOMP_RET.SCMP_ACT_KILL_THREAD
const NR_OFFSET = 0
const ARCH_OFFSET = 4
/** seccomp_data.nr of -1: a tracer has asked for the call to be skipped. */
const SKIPPED_NR = 0xffffffff

/**
 * Compiles `config` for a machine. The result depends on the arguments only; rules in another order give the same
 * program, unless two of them ask for the same with different actions, where the first decides.
 * @throws {BerthError} invalidArgument for a rule, flag or listener that makes no sense, or a program that is too long;
 *   notImplemented for an architecture without a table; unavailable for an action that the kernel lacks.
 * Source: runtime-spec › config-linux.md › Seccomp.
 */
export function compileSeccomp(config: SeccompConfig, target: SeccompTarget): CompiledSeccomp {
  checkKernelActions(config, target.kernelActions)
  const flags = filterFlags(config)
  const abis = selectAbis(config.architectures ?? [], target.nativeArch)
  const defaultValue = actionValue(config.defaultAction, config.defaultErrnoRet, '')
  const newerValue = isPermissive(defaultValue) ? defaultValue : SECCOMP_RET.SCMP_ACT_ERRNO | ENOSYS
  const { rules, shadowed } = rulesByName(config, defaultValue)
  const known = new Set<string>()
  const program = compileProgram(abis, { rules, defaultValue, newerValue, known })
  return {
    program,
    flags,
    needsListener: usesNotify(config),
    unknownSyscalls: [...rules.keys()].filter(name => !known.has(name)).sort(),
    shadowedSyscalls: [...shadowed].sort(),
  }
}

function checkKernelActions(config: SeccompConfig, kernelActions: readonly string[] | undefined): void {
  if (kernelActions === undefined) return
  for (const action of [config.defaultAction, ...(config.syscalls ?? []).map(entry => entry.action)]) {
    if (kernelActions.includes(KERNEL_ACTION_NAMES[action])) continue
    const state = `this kernel has ${kernelActions.join(' ')}`
    throw new BerthError('unavailable', `Cannot use seccomp action "${action}": ${state}`)
  }
}

function compileProgram(abis: readonly Abi[], profile: Profile): Uint8Array {
  const assembler = new BpfAssembler()
  const sections: { auditArch: number; start: Label }[] = []
  // Last architecture first, since code is written from its end: the machine's own comes to stand next to the check.
  for (const abi of abis.toReversed()) {
    if (abi === 'x32') continue
    const { ranges } = verdictRanges(abi, abis.includes('x32'), profile)
    const search = compileSearch(assembler, ranges, verdict => compileVerdict(assembler, verdict, profile))
    sections.push({ auditArch: AUDIT_ARCH[abi], start: assembler.startWith(NR_OFFSET, search) })
  }
  let check = assembler.ret(BAD_ARCH_VALUE)
  for (const { auditArch, start } of sections) check = assembler.jump(BPF.JEQ_K, auditArch, start, check)
  assembler.startWith(ARCH_OFFSET, check)
  return assembler.finish()
}

function verdictRanges(abi: Abi, withX32: boolean, profile: Profile): VerdictRanges<Verdict> {
  const ranges = new VerdictRanges<Verdict>()
  fillRanges(ranges, 0, abi, profile)
  if (abi !== 'x86_64') return ranges
  if (withX32) {
    fillRanges(ranges, X32_SYSCALL_BIT, 'x32', profile)
  } else {
    ranges.from(X32_SYSCALL_BIT, BAD_ARCH_VALUE)
    ranges.from(SKIPPED_NR, profile.defaultValue)
  }
  return ranges
}

function fillRanges(ranges: VerdictRanges<Verdict>, start: number, abi: Abi, profile: Profile): void {
  const { rules, known, defaultValue, newerValue } = profile
  const { names, numbers } = syscallTable(abi)
  const through = abi === 'i386' ? multiplexerRules(rules, known) : undefined
  let next = start
  for (let at = 0; at < names.length; at++) {
    const name = names[at] ?? ''
    const ruled = through?.get(name) ?? rules.get(name)
    if (ruled === undefined) continue
    known.add(name)
    const number = numbers[at] ?? 0
    // arm's private calls are no measure of how new the profile is: what lies before them is newer than it.
    const gap = abi === 'arm' && number >= ARM_PRIVATE_BASE ? newerValue : defaultValue
    if (number > next) ranges.from(next, gap)
    const only = ruled[0]
    if (only === undefined) ranges.from(number, defaultValue)
    else ranges.from(number, only.conditions.length === 0 ? only.action : { abi, number, name, rules: ruled })
    next = number + 1
  }
  // A profile that names no call of this ABI says nothing about what is new (runc leaves such an ABI alone as well).
  ranges.from(next, next === start ? defaultValue : newerValue)
}

/** What decides i386's socketcall and ipc: the profile's own rules about them, and those of the calls made through them. */
function multiplexerRules(rules: Profile['rules'], known: Set<string>): ReadonlyMap<string, readonly Rule[]> {
  const collected = new Map<string, Rule[]>()
  const add = (name: string, more: readonly Rule[]): void => {
    collected.set(name, [...(collected.get(name) ?? []), ...more])
  }
  for (const name of ['socketcall', 'ipc']) {
    const own = rules.get(name)
    if (own !== undefined) add(name, own)
  }
  for (const { name, through, call } of MULTIPLEXED_CALLS) {
    const ruled = rules.get(name)
    if (ruled === undefined) continue
    known.add(name)
    add(through, multiplexedRules(ruled, call))
  }
  for (const [name, all] of collected) {
    // A rule that follows from another call's is no contradiction of the profile's own: nothing to report.
    collected.set(
      name,
      decidingRules(all, () => {}),
    )
  }
  return collected
}

function compileVerdict(assembler: BpfAssembler, verdict: Verdict, profile: Profile): Label {
  if (typeof verdict === 'number') return assembler.ret(verdict)
  const { abi, number, name, rules } = verdict
  let next = assembler.ret(profile.defaultValue)
  for (const rule of rules.toReversed()) {
    let holds = assembler.ret(rule.action)
    for (const condition of rule.conditions.toReversed()) {
      const bits = argumentBits(abi, number, name, condition.index)
      holds = compileCondition(assembler, condition, bits, { holds, fails: next })
    }
    next = holds
  }
  return next
}
