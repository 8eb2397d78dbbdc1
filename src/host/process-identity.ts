import { readFileSync } from 'node:fs'
import { invariant } from '../lib/error.ts'
import { type ProcStat, parseProcStat } from '../linux/proc-stat.ts'

/** A process that a later one with the same id can't be mistaken for. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks after boot, field 22 of /proc/PID/stat. */
  readonly startTicks: number
}

/** The identity of a process that exists; null when it does not (or is reaped). */
export function processIdentity(pid: number): ProcessIdentity | null {
  const stat = readProcStat(pid)
  return stat === null ? null : { pid, startTicks: Number(stat.startTimeTicks) }
}

/** The identity of this process. */
export function ownIdentity(): ProcessIdentity {
  const identity = processIdentity(process.pid)
  invariant(identity !== null, 'this process exists')
  return identity
}

/** Whether the process is still there and not a zombie. */
export function sameProcess(identity: ProcessIdentity): boolean {
  const stat = readProcStat(identity.pid)
  return (
    stat !== null && Number(stat.startTimeTicks) === identity.startTicks && stat.state !== 'Z' && stat.state !== 'X'
  )
}

function readProcStat(pid: number): ProcStat | null {
  try {
    return parseProcStat(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH') return null
    throw error
  }
}
