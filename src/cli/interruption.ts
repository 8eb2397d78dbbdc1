import { BerthError } from '../lib/error.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** What a command does until somebody ends it. */
export interface Interruption extends Disposable {
  /** Aborted by the first signal that ends us, with a BerthError of category cancelled. The second one ends us as usual. */
  readonly signal: AbortSignal
}

/** Makes the signals that end a process into an abort until disposed, so that a command can put away what it has begun. */
export function interruption(): Interruption {
  const controller = new AbortController()
  const stops = SIGNALS.map(name => {
    const stop = (): void => controller.abort(new BerthError('cancelled', `Cannot go on: ended by ${name}`))
    process.once(name, stop)
    return () => process.off(name, stop)
  })
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const stop of stops) stop()
    },
  }
}
