import { type ArgKind, OPS, type OpName } from '../../src/plan/ops.ts'
import { printStep } from '../../src/plan/print.ts'
import type { Step, StepOptions } from '../../src/plan/step.ts'

/** All operations of the table. */
export const OP_NAMES: readonly OpName[] = (Object.keys(OPS) as OpName[]).sort((a, b) => OPS[a].code - OPS[b].code)

/** The arguments of an operation by name, in wire order. */
export function kindsOf(op: OpName): Readonly<Record<string, ArgKind>> {
  return OPS[op].args
}

/** A step of any operation from values by name: what the types cannot follow when a program goes through the table. */
export function stepOf(op: OpName, args: Readonly<Record<string, unknown>>, options: StepOptions): Step {
  return { op, args, ...options } as unknown as Step
}

/** The steps of some operations as they print, in their order; of all operations when none is named. */
export function printed(steps: readonly Step[], ...ops: readonly OpName[]): string[] {
  return steps.filter(({ op }) => ops.length === 0 || ops.includes(op)).map(printStep)
}
