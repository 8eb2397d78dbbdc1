import { ECANCELED } from '../lib/errno.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { encodePlan } from '../plan/encode.ts'
import type { Plan } from '../plan/step.ts'
import type { StepFailure } from '../plan/step-error.ts'
import type { Record } from './record.ts'

/** Whom a launcher tells and asks on its way. */
export interface LaunchListener {
  /** The first steps of the plan, where the launcher has been given them: see {@link LauncherConnection.begin}. */
  readonly begun?: Plan
  /** Told as soon as the container's process exists, while it is set up. What it throws is the answer to the plan's next `ask`. */
  readonly onPid?: (pid: number) => void
  /** Answers the plan's `ask` steps; the launcher goes on when it resolves and fails when it rejects. */
  readonly onAsk?: (tag: number, pid: number) => Promise<void>
}

/** A container (or exec) process that exists, with its environment complete. */
export interface Launched {
  /** Process id of the container's process as seen here. */
  readonly pid: number
  /** The launcher's own process id: the shim's, if the plan ends with `serve`. */
  readonly launcherPid: number
  readonly warnings: readonly StepFailure[]
  /** The wait status of the container's process, for plans that end with `wait_child` or `serve`; null when it broke. */
  readonly exited: () => Promise<number | null>
}

/** A berth-init that waits for its plan, or runs it. */
export interface LauncherConnection {
  readonly pid: number
  /**
   * Has it carry out the first host steps of a plan while the rest is composed, and its steps of undo should the rest never come. A
   * failure is told as one of the plan. Only a launcher that was there before us can.
   */
  readonly begin?: (plan: Plan) => Promise<void>
  /** Bytes for its fd 0. That nobody reads them any more is no failure: the end of its records says it better. */
  send(bytes: Uint8Array): Promise<void>
  /** Its next record; null at the end of them. */
  next(): Promise<Record | null>
  /** Waits until it has ended. How, in words. */
  ended(): Promise<string>
  /** Nothing more will be sent. */
  close(): void
}

/**
 * Has a launcher run its one plan. When it resolves, every step before `execve` or `wait_start` has taken effect; on throw nothing is
 * left, see `launch`.
 * @throws {StepError} a step failed
 * @throws {BerthError} cancelled: the launcher died; the rejection of `onAsk`
 */
export async function converse(launcher: LauncherConnection, plan: Plan, options: LaunchListener): Promise<Launched> {
  await launcher.send(encodePlan(options.begun === undefined ? plan : without(options.begun, plan)))
  let pid = 0
  let refusal: unknown = null
  const warnings: StepFailure[] = []
  for (;;) {
    const record = await launcher.next()
    switch (record?.kind) {
      case undefined:
        throw new BerthError(
          'cancelled',
          `Cannot start the container: berth-init ended early (${await launcher.ended()})`,
        )
      case 'pid':
        pid = record.pid
        try {
          options.onPid?.(pid)
        } catch (error) {
          // The plan may have failed meanwhile, and its undo may be why; if it has not, its next question is refused.
          refusal = error
        }
        break
      case 'warn':
        warnings.push(record)
        break
      case 'ask':
        await answer(launcher, record.tag, pid, refusal === null ? options : refusing(refusal), plan)
        break
      case 'fail':
        await launcher.ended()
        throw (await import('../plan/describe-failure.ts')).stepError(plan, record)
      case 'done':
        if (refusal !== null) throw refusal
        return { pid, launcherPid: launcher.pid, warnings, exited: () => exitOf(launcher) }
    }
  }
}

/** What of a plan is left to be done. */
function without(begun: Plan, plan: Plan): Plan {
  return { ...plan, host: plan.host.slice(begun.host.length), undo: plan.undo.slice(begun.undo.length) }
}

function refusing(refusal: unknown): LaunchListener {
  return { onAsk: () => Promise.reject(refusal) }
}

async function answer(
  launcher: LauncherConnection,
  tag: number,
  pid: number,
  options: LaunchListener,
  plan: Plan,
): Promise<void> {
  try {
    if (options.onAsk === undefined) throw new BerthError('internal', `Cannot answer question ${tag} of the plan`)
    await options.onAsk(tag, pid)
    await launcher.send(Uint8Array.of(0))
  } catch (error) {
    await launcher.send(Uint8Array.of(ECANCELED))
    // The launcher undoes what it did before its FAIL record arrives, so that the caller finds nothing left.
    while ((await launcher.next()) !== null);
    throw error instanceof BerthError ? error : new BerthError('internal', messageOf(error), { cause: [error, plan] })
  }
}

async function exitOf(launcher: LauncherConnection): Promise<number | null> {
  for (;;) {
    const record = await launcher.next()
    if (record === null || record.kind === 'exit') {
      launcher.close()
      return record?.waitStatus ?? null
    }
  }
}
