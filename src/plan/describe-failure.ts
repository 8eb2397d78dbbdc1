import { errnoDescription, errnoName } from '../lib/errno-name.ts'
import type { ErrorCategory } from '../lib/error.ts'
import { hintFor } from './hints.ts'
import { printStep } from './print.ts'
import type { Plan, Step } from './step.ts'
import { type PlanTail, programOf, type StepDescription, StepError, type StepFailure } from './step-error.ts'

/** The error of a failed step, in words. In a file of its own with what prints steps, because only failures need to load that. */
export function stepError(plan: Plan | PlanTail, failure: StepFailure): StepError {
  const step = stepAt(plan, failure)
  const errno = errnoName(failure.errno)
  return new StepError(categoryOf(errno), describe(step, failure), {
    stage: failure.stage,
    step: failure.step,
    op: step?.op ?? null,
    errno,
  })
}

/** The steps of the exec stage from an index on, as they print. */
export function describeTail(plan: Plan, first: number): PlanTail {
  return { first, steps: plan.exec.slice(first).map(describeStep), program: programOf(plan) }
}

function describeStep(step: Step): StepDescription {
  return { op: step.op, why: step.why, text: printStep(step) }
}

function stepAt(plan: Plan | PlanTail, { stage, step }: StepFailure): StepDescription | undefined {
  if (stage === null) return undefined
  if ('first' in plan) return stage === 'exec' ? plan.steps[step - plan.first] : undefined
  const found = plan[stage][step]
  return found === undefined ? undefined : describeStep(found)
}

function describe(step: StepDescription | undefined, failure: StepFailure): string {
  const errno = errnoName(failure.errno)
  const said = failure.message === '' ? '' : `: ${failure.message.trim()}`
  const reason = `${errno} (${errnoDescription(failure.errno)})${said}`
  if (step === undefined) return `Cannot run the plan: berth-init refused it: ${reason}`
  const hint = hintFor(step.op, errno)
  const where = `step ${failure.step} of stage ${failure.stage}`
  return `Cannot ${step.why}: ${where}: ${step.text} = -1 ${reason}${hint === undefined ? '' : `; ${hint}`}`
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
