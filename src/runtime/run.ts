import { forwardSignals } from '../host/signals.ts'
import { encodePlan } from '../plan/encode.ts'
import { hostPlan } from '../plan/step.ts'
import { type Bundle, readBundle } from './bundle.ts'
import { completeStart } from './complete-start.ts'
import { composeFinish } from './compose-finish.ts'
import { createContainer, type RunOptions } from './create.ts'
import type { Front } from './front.ts'

/**
 * Creates and starts a container in one go. In the foreground it forwards signals, waits, removes the container and returns the
 * exit status as a shell would see it (128 + signal); detached it returns 0 once the program runs.
 * @throws {BerthError} as `createContainer` does
 */
export async function runContainer(id: string, options: RunOptions): Promise<number> {
  const bundle = readBundle(options.bundle)
  const { front } = options
  const isForFront = !options.detach && (options.consoleSocket !== null || bundle.spec.process?.terminal !== true)
  if (front !== undefined && isForFront) return await runInFront(id, bundle, options, front)
  front?.launcher.close()
  if (options.detach || options.consoleSocket !== null || bundle.spec.process?.terminal !== true)
    return await (await import('./run-on-stdio.ts')).runOnOurStdio(id, bundle, options)
  const { runOnOurTerminal } = await import('./run-terminal.ts')
  return await runOnOurTerminal(id, bundle, options)
}

/**
 * The launcher is our parent, and what we leave to it is the rest: it waits for the program, does what `composeFinish` says, and exits
 * with the program's status.
 */
async function runInFront(id: string, bundle: Bundle, options: RunOptions, front: Front): Promise<number> {
  // It passes them on when the program runs. What the terminal sends to both of us must not end us before.
  using _ = forwardSignals(() => {})
  const { launcher } = front
  const created = await createContainer(id, { ...options, launcher, start: 'now', ending: { kind: 'wait' } }, bundle)
  await completeStart({ ...created, status: 'running' }, options)
  const finish = options.keep ? hostPlan([], 0) : composeFinish(options.root, created, front.command)
  await launcher.send(encodePlan(finish))
  return 0
}
