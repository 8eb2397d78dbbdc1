import { forwardSignals } from '../host/signals.ts'
import { BerthError } from '../lib/error.ts'
import { exitCodeOf } from '../linux/wait-status.ts'
import { type Bundle, readBundle } from './bundle.ts'
import type { FoundContainer } from './container-state.ts'
import { createContainer, type RunOptions } from './create.ts'
import { destroyContainer } from './delete.ts'
import { signalContainer } from './kill.ts'
import { completeStart } from './start.ts'

/**
 * Creates and starts a container in one go. In the foreground it forwards signals, waits, removes the container and returns the
 * exit status as a shell would see it (128 + signal); detached it returns 0 once the program runs.
 * @throws {BerthError} as `createContainer` does
 */
export async function runContainer(id: string, options: RunOptions): Promise<number> {
  const bundle = readBundle(options.bundle)
  if (options.detach || options.consoleSocket !== null || bundle.spec.process?.terminal !== true)
    return await runOnOurStdio(id, bundle, options)
  const { runOnOurTerminal } = await import('./run-terminal.ts')
  return await runOnOurTerminal(id, bundle, options)
}

/** The program has our stdio itself, or a terminal whose master went to the console socket. */
async function runOnOurStdio(id: string, bundle: Bundle, options: RunOptions): Promise<number> {
  let found: FoundContainer | null = null
  const early: number[] = []
  // Before the program runs: whoever has seen its first output may signal us at once.
  using _ = options.detach
    ? null
    : forwardSignals(signal => {
        if (found === null) early.push(signal)
        else void signalContainer(found, signal)
      })
  const created = await createContainer(
    id,
    { ...options, start: 'now', ending: { kind: options.detach ? 'exit' : 'wait' } },
    bundle,
  )
  found = { ...created, status: 'running' } satisfies FoundContainer
  for (const signal of early) await signalContainer(found, signal)
  await completeStart(found, options)
  if (options.detach) return 0
  const waitStatus = await created.exited
  if (!options.keep) await destroyContainer(found, options)
  if (waitStatus === null)
    throw new BerthError('internal', `Cannot tell how container "${id}" ended: its launcher was killed`)
  return exitCodeOf(waitStatus)
}
