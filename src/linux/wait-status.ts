/** The status word of wait(2): what ended a process. Source: wait(2), WIFEXITED and its siblings. */

const SIGNAL_MASK = 0x7f

/** The exit status as a shell shows it: the program's own, or 128 + the signal that killed it. */
export function exitCodeOf(waitStatus: number): number {
  const signal = waitStatus & SIGNAL_MASK
  return signal === 0 ? (waitStatus >> 8) & 0xff : 128 + signal
}
