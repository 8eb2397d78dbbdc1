import type { Plan } from './step.ts'
import type { PlanTail } from './step-error.ts'

/** The tail of a plan; empty when it waits for no start. */
export async function planTail(plan: Plan): Promise<PlanTail> {
  const first = plan.exec.findIndex(({ op }) => op === 'wait_start') + 1
  if (first === 0) return { first, steps: [], program: '' }
  const { describeTail } = await import('./describe-failure.ts')
  return describeTail(plan, first)
}
