import { forwardSignals } from '../host/signals.ts'
import { BerthError } from '../lib/error.ts'
import { exitCodeOf } from '../linux/wait-status.ts'
import type { Bundle } from './bundle.ts'
import { completeStart } from './complete-start.ts'
import type { FoundContainer } from './container-state.ts'
import { createContainer, type RunOptions } from './create.ts'
import { destroyContainer } from './delete.ts'
import { signalContainer } from './kill.ts'

/** The program has our stdio itself, or a terminal whose master went to the console socket. */
export async function runOnOurStdio(id: string, bundle: Bundle, options: RunOptions): Promise<number> {
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
  const waitStatus = await created.exited()
  if (!options.keep) await destroyContainer(found, options)
  if (waitStatus === null)
    throw new BerthError('internal', `Cannot tell how container "${id}" ended: its launcher was killed`)
  return exitCodeOf(waitStatus)
}
