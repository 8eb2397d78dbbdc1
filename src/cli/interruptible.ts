import { constants } from 'node:os'
import { BerthError } from '../lib/error.ts'

/** What ends a command that waits for a network. */
const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']
/** Exit statuses above it tell of a signal. */
const SIGNALLED = 128

/**
 * Does work that a signal ends in order: its `AbortSignal` is aborted, and the command's status is that of the signal when the work says
 * that it was cancelled. A second signal ends the process at once, as without this.
 */
export async function interruptible(work: (signal: AbortSignal) => Promise<unknown>): Promise<number> {
  const controller = new AbortController()
  let received: NodeJS.Signals | null = null
  const interrupt = (signal: NodeJS.Signals): void => {
    received ??= signal
    for (const each of SIGNALS) process.off(each, interrupt)
    controller.abort(new BerthError('cancelled', `interrupted by ${signal}`))
  }
  for (const each of SIGNALS) process.on(each, interrupt)
  try {
    await work(controller.signal)
    return 0
  } catch (error) {
    if (received === null || !(error instanceof BerthError) || error.category !== 'cancelled') throw error
    return SIGNALLED + constants.signals[received]
  } finally {
    for (const each of SIGNALS) process.off(each, interrupt)
  }
}
