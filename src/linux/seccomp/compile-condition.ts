/**
 * Comparisons of system call arguments as BPF, whose accumulator has 32 bits.
 * Source: seccomp(2), struct seccomp_data: args[i] at offset 16 + 8 i, low word first on little-endian machines.
 */
import { BPF, type BpfAssembler, type Label } from './bpf-assembler.ts'
import type { SeccompOperator } from './config.ts'
import type { Condition } from './rules.ts'

const ARGS_OFFSET = 16
const WORD = 0xffffffff

interface Branches {
  readonly holds: Label
  readonly fails: Label
}

/** Writes code that goes to `holds` or `fails`; returns where it starts. `bits` is what the kernel uses of the argument. */
export function compileCondition(
  assembler: BpfAssembler,
  condition: Condition,
  bits: 16 | 32 | 64,
  { holds, fails }: Branches,
): Label {
  const negated: Branches = { holds: fails, fails: holds }
  switch (condition.op) {
    case 'SCMP_CMP_NE':
      return compileEqual(assembler, condition, bits, negated)
    case 'SCMP_CMP_EQ':
    case 'SCMP_CMP_MASKED_EQ':
      return compileEqual(assembler, condition, bits, { holds, fails })
    case 'SCMP_CMP_LT':
      return compileAbove(assembler, condition, bits, BPF.JGE_K, negated)
    case 'SCMP_CMP_LE':
      return compileAbove(assembler, condition, bits, BPF.JGT_K, negated)
    case 'SCMP_CMP_GE':
      return compileAbove(assembler, condition, bits, BPF.JGE_K, { holds, fails })
    case 'SCMP_CMP_GT':
      return compileAbove(assembler, condition, bits, BPF.JGT_K, { holds, fails })
  }
}

function compileEqual(assembler: BpfAssembler, condition: Condition, bits: 16 | 32 | 64, to: Branches): Label {
  const { index, low, high, maskLow, maskHigh, op } = condition
  if (bits === 64) {
    const lowWord = word(assembler, lowOffset(index), maskLow, BPF.JEQ_K, low, to)
    return word(assembler, lowOffset(index) + 4, maskHigh, BPF.JEQ_K, high, { holds: lowWord, fails: to.fails })
  }
  const usedMask = bits === 16 ? 0xffff : WORD
  if (!fits(condition, op, usedMask)) return to.fails
  const mask = (maskLow & usedMask) >>> 0
  return word(assembler, lowOffset(index), mask, BPF.JEQ_K, (low & mask) >>> 0, to)
}

/** Greater than (`JGT_K`), or greater or equal (`JGE_K`). */
function compileAbove(
  assembler: BpfAssembler,
  condition: Condition,
  bits: 16 | 32 | 64,
  jump: number,
  to: Branches,
): Label {
  const { index, low, high, op } = condition
  if (bits === 64) {
    const lowWord = word(assembler, lowOffset(index), WORD, jump, low, to)
    const equal = assembler.jump(BPF.JEQ_K, high, lowWord, to.fails)
    return word(assembler, lowOffset(index) + 4, WORD, BPF.JGT_K, high, { holds: to.holds, fails: equal })
  }
  const usedMask = bits === 16 ? 0xffff : WORD
  if (!fits(condition, op, usedMask)) return to.fails
  return word(assembler, lowOffset(index), usedMask, jump, (low & usedMask) >>> 0, to)
}

/**
 * Whether a constant can be reached by an argument of fewer bits, which the kernel reads as if the others were zero.
 * All ones above it are its sign: profiles write -1 as 2^64 - 1 where C would pass an int.
 */
function fits(condition: Condition, op: SeccompOperator, usedMask: number): boolean {
  const unusedMask = ~usedMask >>> 0
  const aboveLow = (condition.low & unusedMask) >>> 0
  if (condition.high === 0 && aboveLow === 0) return true
  const maskLow = op === 'SCMP_CMP_MASKED_EQ' ? (condition.maskLow & unusedMask) >>> 0 : unusedMask
  const maskHigh = op === 'SCMP_CMP_MASKED_EQ' ? condition.maskHigh : WORD
  return aboveLow === maskLow && condition.high === maskHigh && maskHigh === WORD
}

function word(assembler: BpfAssembler, offset: number, mask: number, jump: number, k: number, to: Branches): Label {
  if (mask === 0) return to.holds
  assembler.jump(jump, k, to.holds, to.fails)
  if (mask !== WORD) assembler.and(mask)
  return assembler.load(offset)
}

function lowOffset(index: number): number {
  return ARGS_OFFSET + 8 * index
}
