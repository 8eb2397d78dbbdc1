import { SIGNALS, type SignalName } from '../linux/signals.ts'

/** Signals that a foreground command passes on, as docker's and runc's do: all that can be caught and are not about the terminal's window or our own children. */
const FORWARDED: readonly SignalName[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGCONT',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
  'SIGIO',
  'SIGPWR',
]

/** Hands signals sent to us to `deliver` until disposed. */
export function forwardSignals(deliver: (signal: number) => void): Disposable {
  const handlers = FORWARDED.map(name => {
    const handler = (): void => deliver(SIGNALS[name])
    process.on(name, handler)
    return () => process.off(name, handler)
  })
  return {
    [Symbol.dispose]() {
      for (const off of handlers) off()
    },
  }
}
