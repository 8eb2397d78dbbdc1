/** Changes to plans, pure: what a fault is, written as steps. */

import { O_RDONLY } from '../../src/linux/open-flags.ts'
import { type Slot, STDERR } from '../../src/plan/slots.ts'
import { type Plan, type Stage, type Step, step } from '../../src/plan/step.ts'

/** A place in a plan: before this step of this stage. */
export interface Place {
  readonly stage: Stage
  readonly index: number
}

/** No such file, on any machine. */
export const NOWHERE = '/berth-fault/no/such/file'

/** What a full pipe holds and one byte more (pipe(7)): writing it blocks until somebody reads, or the writer is killed. */
const MORE_THAN_A_PIPE_HOLDS = 64 * 1024 + 1

/** All places of a stage, in its order. */
export function placesOf(plan: Plan, stage: Stage): Place[] {
  return plan[stage].map((_, index) => ({ stage, index }))
}

/** Puts steps before the step at a place, so that they run whenever that one would: skips over it skip them too. */
export function insertAt(plan: Plan, { stage, index }: Place, steps: readonly Step[], newSlots = 0): Plan {
  const before = plan[stage].slice(0, index).map((each, at) => {
    const wider = (count: number | undefined) =>
      count !== undefined && at + 1 + count > index ? count + steps.length : count
    const { skipOnFailure, skipOnSuccess, ...rest } = each
    return {
      ...rest,
      ...(skipOnFailure !== undefined && { skipOnFailure: wider(skipOnFailure) }),
      ...(skipOnSuccess !== undefined && { skipOnSuccess: wider(skipOnSuccess) }),
    } as Step
  })
  return {
    ...plan,
    [stage]: [...before, ...steps, ...plan[stage].slice(index)],
    slotCount: plan.slotCount + newSlots,
  }
}

/** Whether an earlier step may skip the one at this place, so that what is inserted there need not run. */
export function mayBeSkipped(plan: Plan, { stage, index }: Place): boolean {
  return plan[stage].some(
    ({ skipOnFailure = 0, skipOnSuccess = 0 }, at) =>
      at < index && at + 1 + Math.max(skipOnFailure, skipOnSuccess) > index,
  )
}

/** A step that fails with ENOENT. */
export function failingStep(): Step {
  return step('open', { path: NOWHERE, flags: O_RDONLY, mode: 0, out: null }, 'fail, as the test asks')
}

/** The plan with a failure at a place. In stage undo, which runs only after a failure, the first step of the exec stage fails too. */
export function failAt(plan: Plan, place: Place): Plan {
  const failing = insertAt(plan, place, [failingStep()])
  if (place.stage !== 'undo') return failing
  return insertAt(failing, { stage: 'exec', index: 0 }, [failingStep()])
}

/** The launcher sends a signal at a place of its own stages: to itself (0), or to another process. */
export function signalAt(plan: Plan, place: Place, pid: number, signal: number): Plan {
  const target: Slot = { index: plan.slotCount, name: 'victim' }
  const steps = [
    step('pidfd_open', { who: pid, out: target }, 'find the victim'),
    step('pidfd_signal', { fd: target, signal }, 'end it, as the test asks'),
  ]
  return insertAt(plan, place, steps, 1)
}

/** The child stops at a place until it is killed, and says so: it fills the pipe that is its standard error. */
export function blockAt(plan: Plan, place: Place): Plan {
  const data = new Uint8Array(MORE_THAN_A_PIPE_HOLDS)
  return insertAt(plan, place, [step('write_fd', { fd: STDERR, data }, 'wait for the end, as the test asks')])
}

/** Where the launcher has nothing to do any more: after the child's last word to it. */
export function firstPlaceWithoutLauncher(plan: Plan): number {
  if (!plan.exec.some(({ op }) => op === 'wait_start')) return Number.POSITIVE_INFINITY
  return plan.exec.findLastIndex(({ op }) => op === 'post') + 1
}

/** Where the container waits for `start`; what comes after that belongs to `start`. */
export function firstPlaceAfterStart(plan: Plan): number {
  const at = plan.exec.findIndex(({ op }) => op === 'wait_start')
  return at === -1 ? Number.POSITIVE_INFINITY : at + 1
}
