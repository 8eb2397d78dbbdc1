/**
 * From the rules of a profile to what decides one system call.
 *
 * The semantics are libseccomp's as runc and crun use it (observed with libseccomp 2.5.4), because profiles are
 * written against them:
 * - a rule whose action is the default action says nothing and is left out;
 * - comparisons of one rule must all hold, unless two of them name the same argument: then each is a rule of its own;
 * - a rule that asks for less decides over one that asks for the same and more, whichever comes first; so a rule
 *   without comparisons decides alone, and of two that ask for the same the first does;
 * - other rules that can match the same call are tried in an order that does not depend on their order in the
 *   profile: see `compareRules`.
 * A rule that loses to one with another action is reported as shadowed: libseccomp drops it without a word.
 */
import { BerthError } from '../../lib/error.ts'
import { actionValue } from './actions.ts'
import {
  SECCOMP_OPERATORS,
  type SeccompArgument,
  type SeccompConfig,
  type SeccompOperator,
  type SeccompSyscall,
} from './config.ts'

/** A comparison with its 64-bit constants in two words each; `mask` is all ones but for MASKED_EQ. */
export interface Condition {
  readonly index: number
  readonly op: SeccompOperator
  readonly high: number
  readonly low: number
  readonly maskHigh: number
  readonly maskLow: number
}

/** All conditions hold → the filter returns `action`. Conditions are in the order of their arguments. */
export interface Rule {
  readonly action: number
  readonly conditions: readonly Condition[]
}

const WORD = 0xffffffff
const UINT64_MAX = 0xffff_ffff_ffff_ffffn
const ARGUMENTS_MAX = 6

/** The rules of a profile by system call name; names whose rules all repeat the default action keep an empty list. */
export function rulesByName(
  config: SeccompConfig,
  defaultValue: number,
): { readonly rules: ReadonlyMap<string, readonly Rule[]>; readonly shadowed: ReadonlySet<string> } {
  const collected = new Map<string, readonly Rule[]>()
  const repeated = new Set<string>()
  const saysDefault = new Set<string>()
  for (const entry of config.syscalls ?? []) {
    const label = entry.names[0] ?? ''
    if (entry.names.length === 0) throw ruleError(label, 'no names, expected at least one')
    const action = actionValue(entry.action, entry.errnoRet, label)
    const rules = action === defaultValue ? [] : toRules(entry, action, label)
    for (const name of entry.names) {
      if (name === '') throw ruleError(name, 'an empty name, expected the name of a system call')
      const earlier = collected.get(name)
      if (earlier !== undefined) repeated.add(name)
      collected.set(name, earlier === undefined ? rules : [...earlier, ...rules])
      if (action === defaultValue) saysDefault.add(name)
    }
  }
  const shadowed = new Set<string>()
  for (const name of saysDefault) if (collected.get(name)?.length) shadowed.add(name)
  for (const [name, rules] of collected) {
    if (rules.length > 1)
      collected.set(
        name,
        decidingRules(rules, () => shadowed.add(name)),
      )
  }
  return { rules: collected, shadowed }
}

/** Leaves the rules that decide, in the order in which they are tried. */
export function decidingRules(rules: readonly Rule[], onShadowed: () => void): Rule[] {
  const kept: Rule[] = []
  for (const rule of rules) {
    if (kept.some(other => asksForLess(other, rule, onShadowed))) continue
    for (let at = kept.length - 1; at >= 0; at--) {
      const other = kept[at]
      if (other !== undefined && asksForLess(rule, other, onShadowed)) kept.splice(at, 1)
    }
    kept.push(rule)
  }
  return kept.sort(compareRules)
}

/** Whether every comparison of `broad` is one of `narrow`: then `narrow` has no say. */
function asksForLess(broad: Rule, narrow: Rule, onShadowed: () => void): boolean {
  for (const condition of broad.conditions) {
    if (!hasCondition(narrow.conditions, condition)) return false
  }
  if (broad.action !== narrow.action) onShadowed()
  return true
}

// Loops, not every() and some(): all pairs of i386's multiplexed calls come through here at each start of a container.
function hasCondition(conditions: readonly Condition[], wanted: Condition): boolean {
  for (const condition of conditions) {
    if (
      condition.low === wanted.low &&
      condition.index === wanted.index &&
      condition.op === wanted.op &&
      condition.high === wanted.high &&
      condition.maskHigh === wanted.maskHigh &&
      condition.maskLow === wanted.maskLow
    ) {
      return true
    }
  }
  return false
}

/** EQ, NE and masks before upper bounds before lower bounds. Source: libseccomp src/db.c, __db_chain_op_priority. */
function precedence(op: SeccompOperator): number {
  if (op === 'SCMP_CMP_GE' || op === 'SCMP_CMP_GT') return 1
  if (op === 'SCMP_CMP_LE' || op === 'SCMP_CMP_LT') return 2
  return 3
}

/**
 * libseccomp's order: later arguments first; then by operator; then the tighter bound, which is the smaller constant
 * of LT and LE and the greater one of all others. The rest makes the order total, so that it is always the same.
 * Source: libseccomp src/db.c, _db_chain_lt.
 */
function compareRules(a: Rule, b: Rule): number {
  const depth = Math.min(a.conditions.length, b.conditions.length)
  for (let level = 0; level < depth; level++) {
    const left = a.conditions[level]
    const right = b.conditions[level]
    if (left === undefined || right === undefined) break
    const order = compareConditions(left, right)
    if (order !== 0) return order
  }
  return b.conditions.length - a.conditions.length
}

function compareConditions(a: Condition, b: Condition): number {
  return (
    b.index - a.index ||
    precedence(b.op) - precedence(a.op) ||
    (precedence(a.op) === 2 ? 1 : -1) * (a.high - b.high || a.low - b.low) ||
    SECCOMP_OPERATORS.indexOf(a.op) - SECCOMP_OPERATORS.indexOf(b.op) ||
    b.maskHigh - a.maskHigh ||
    b.maskLow - a.maskLow
  )
}

function toRules(entry: SeccompSyscall, action: number, label: string): Rule[] {
  const conditions = (entry.args ?? [])
    .map(argument => toCondition(argument, label))
    .filter(condition => condition.maskHigh !== 0 || condition.maskLow !== 0) // A mask of nothing asks for nothing.
  const indexes = new Set(conditions.map(condition => condition.index))
  // runc and crun since 2016: libseccomp takes one comparison per argument and rule, so they add a rule for each.
  if (indexes.size < conditions.length) {
    const single = conditions.map(condition => ({ action, conditions: [condition] }))
    return decidingRules(single, () => {})
  }
  return [{ action, conditions: conditions.sort((a, b) => a.index - b.index) }]
}

function toCondition(argument: SeccompArgument, label: string): Condition {
  const { index, op, value, valueTwo = 0n } = argument
  if (!Number.isInteger(index) || index < 0 || index >= ARGUMENTS_MAX) {
    throw ruleError(label, `argument index ${index}, expected 0 to ${ARGUMENTS_MAX - 1}`)
  }
  for (const constant of [value, valueTwo]) {
    if (constant < 0n || constant > UINT64_MAX) throw ruleError(label, `value ${constant}, expected 64 bits`)
  }
  if (op !== 'SCMP_CMP_MASKED_EQ') {
    return { index, op, high: highWord(value), low: lowWord(value), maskHigh: WORD, maskLow: WORD }
  }
  // Bits outside the mask can't be asked for; libseccomp drops them too (src/db.c, _db_node_mask_fixup).
  const wanted = value & valueTwo
  return {
    index,
    op,
    high: highWord(wanted),
    low: lowWord(wanted),
    maskHigh: highWord(value),
    maskLow: lowWord(value),
  }
}

function highWord(value: bigint): number {
  return Number(value >> 32n)
}

function lowWord(value: bigint): number {
  return Number(value & 0xffffffffn)
}

function ruleError(label: string, state: string): BerthError {
  return new BerthError('invalidArgument', `Cannot compile seccomp rule "${label}": ${state}`)
}
