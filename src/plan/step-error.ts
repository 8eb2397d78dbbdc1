import { BerthError, type ErrorCategory } from '../lib/error.ts'
import type { OpName } from './ops.ts'
import type { Plan, Stage } from './step.ts'

/** Where and why a plan ended. */
export interface StepFailure {
  readonly stage: Stage | null
  readonly step: number
  readonly errno: number
  /** What the kernel or a hook said; may be empty. */
  readonly message: string
}

/** What is left of a plan for who was not there when it was made: the steps after `wait_start`, as they print. */
export interface PlanTail {
  /** The index of the first of them in the exec stage. */
  readonly first: number
  readonly steps: readonly StepDescription[]
  /** What the plan becomes in the end. */
  readonly program: string
}

/** A step, for whoever has not the plan. */
export interface StepDescription {
  readonly op: OpName
  readonly why: string
  readonly text: string
}

/** A plan step failed inside berth-init; the steps before it took effect and their undo has run. Made by `stepError`. */
export class StepError extends BerthError {
  override readonly name = 'StepError'
  readonly stage: Stage | null
  readonly step: number
  /** The operation; null when the plan itself was refused. */
  readonly op: string | null
  /** Kernel spelling: `EPERM`. */
  readonly errno: string

  constructor(category: ErrorCategory, message: string, where: Pick<StepError, 'stage' | 'step' | 'op' | 'errno'>) {
    super(category, message)
    this.stage = where.stage
    this.step = where.step
    this.op = where.op
    this.errno = where.errno
  }
}

/** The program that a plan ends in; empty when it ends in none. */
export function programOf(plan: Plan): string {
  const last = plan.exec.at(-1)
  return last?.op === 'execve' ? (last.args.argv[0] ?? '') : ''
}
