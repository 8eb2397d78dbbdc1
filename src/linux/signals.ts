/** Signals by name and number, as on x86-64 and arm64. Source: signal(7), include/uapi/asm-generic/signal.h. */

import { BerthError } from '../lib/error.ts'

/** Number of each name: `SIGNALS.SIGKILL` is 9. */
export const SIGNALS = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
} as const

/** A standard signal's name, such as `SIGTERM`. */
export type SignalName = keyof typeof SIGNALS

/** The first real-time signal of programs: libc keeps 32 and 33 of the kernel for its threads. */
export const SIGRTMIN = 34
export const SIGRTMAX = 64

const ALIASES: Readonly<Record<string, number>> = {
  SIGIOT: SIGNALS.SIGABRT,
  SIGCLD: SIGNALS.SIGCHLD,
  SIGPOLL: SIGNALS.SIGIO,
  SIGUNUSED: SIGNALS.SIGSYS,
}

/** The name of a signal number: `SIGKILL`, `SIGRTMIN+3`; `signal 32` for one without a name. */
export function signalName(number: number): string {
  if (number >= SIGRTMIN && number <= SIGRTMAX) {
    return number === SIGRTMIN ? 'SIGRTMIN' : `SIGRTMIN+${number - SIGRTMIN}`
  }
  return Object.keys(SIGNALS)[number - 1] ?? `signal ${number}`
}

/**
 * Reads a signal as `docker kill` and `runc kill` do: `KILL`, `SIGKILL`, `sigkill`, `9`, `RTMIN+3`, `RTMAX-1`.
 * Numbers 1 to 64 are accepted; 0 is not, it only asks whether a process is there.
 * @throws {BerthError} invalidArgument for anything else.
 */
export function parseSignal(text: string): number {
  const number = /^\d{1,2}$/.test(text) ? Number(text) : numberOfName(text.toUpperCase())
  if (number === undefined || number < 1 || number > SIGRTMAX) {
    throw new BerthError(
      'invalidArgument',
      `Cannot parse signal ${JSON.stringify(text)}: unknown, expected a name such as SIGTERM or a number from 1 to ${SIGRTMAX}`,
    )
  }
  return number
}

function numberOfName(upper: string): number | undefined {
  const name = upper.startsWith('SIG') ? upper : `SIG${upper}`
  if (Object.hasOwn(SIGNALS, name)) return SIGNALS[name as SignalName]
  if (Object.hasOwn(ALIASES, name)) return ALIASES[name]
  const realtime = /^SIGRT(?:MIN(?:\+(\d{1,2}))?|MAX(?:-(\d{1,2}))?)$/.exec(name)
  if (realtime === null) return undefined
  const number = name.startsWith('SIGRTMIN') ? SIGRTMIN + Number(realtime[1] ?? 0) : SIGRTMAX - Number(realtime[2] ?? 0)
  return number >= SIGRTMIN && number <= SIGRTMAX ? number : undefined
}
