import { errnoDescription, errnoName } from '../lib/errno.ts'
import { BerthError, type ErrorCategory } from '../lib/error.ts'
import { hintFor } from './hints.ts'
import { printStep } from './print.ts'
import type { Plan, Stage } from './step.ts'

/** Where and why a plan ended. */
export interface StepFailure {
  readonly stage: Stage | null
  readonly step: number
  readonly errno: number
  /** What the kernel or a hook said; may be empty. */
  readonly message: string
}

/** A plan step failed inside berth-init; the steps before it took effect and their undo has run. */
export class StepError extends BerthError {
  override readonly name = 'StepError'
  readonly stage: Stage | null
  readonly step: number
  /** The operation; null when the plan itself was refused. */
  readonly op: string | null
  /** Kernel spelling: `EPERM`. */
  readonly errno: string

  constructor(plan: Plan, failure: StepFailure) {
    const step = failure.stage === null ? undefined : plan[failure.stage][failure.step]
    const errno = errnoName(failure.errno)
    super(categoryOf(errno), describe(plan, failure))
    this.stage = failure.stage
    this.step = failure.step
    this.op = step?.op ?? null
    this.errno = errno
  }
}

function describe(plan: Plan, failure: StepFailure): string {
  const errno = errnoName(failure.errno)
  const said = failure.message === '' ? '' : `: ${failure.message.trim()}`
  const reason = `${errno} (${errnoDescription(failure.errno)})${said}`
  const step = failure.stage === null ? undefined : plan[failure.stage][failure.step]
  if (step === undefined) return `Cannot run the plan: berth-init refused it: ${reason}`
  const hint = hintFor(step.op, errno)
  const where = `step ${failure.step} of stage ${failure.stage}`
  return `Cannot ${step.why}: ${where}: ${printStep(step)} = -1 ${reason}${hint === undefined ? '' : `; ${hint}`}`
}

function categoryOf(errno: string): ErrorCategory {
  switch (errno) {
    case 'ENOENT':
      return 'notFound'
    case 'EPERM':
    case 'EACCES':
      return 'forbidden'
    case 'ENOSPC':
    case 'ENOMEM':
    case 'EAGAIN':
      return 'unavailable'
    default:
      return 'internal'
  }
}
