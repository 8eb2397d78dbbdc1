/** /proc/PID/stat and /proc/PID/status. Source: proc_pid_stat(5), proc_pid_status(5). */

import { BerthError } from '../lib/error.ts'

/** The fields of the stat file that tell a process from others and how much it has run. */
export interface ProcStat {
  readonly pid: number
  /** The program's name, at most 15 bytes; may hold spaces and parentheses. */
  readonly comm: string
  /** `R` running, `S` sleeping, `D` disk sleep, `Z` zombie, `T` stopped, `X` dead, … */
  readonly state: string
  readonly ppid: number
  readonly pgrp: number
  readonly session: number
  /** CPU time in clock ticks, 1/100 s. */
  readonly utimeTicks: number
  readonly stimeTicks: number
  /** Clock ticks after boot. Together with the pid it names a process for good, as pids come again. */
  readonly startTimeTicks: number
}

/** Fields after the name, by their position there (proc(5) counts from 1, and the state is its field 3). */
const FIELD = { state: 0, ppid: 1, pgrp: 2, session: 3, utime: 11, stime: 12, starttime: 19 } as const

/**
 * Parses /proc/PID/stat.
 * @throws {BerthError} internal for text of another form, which no kernel writes.
 */
export function parseProcStat(text: string): ProcStat {
  // The name is whatever the program called itself, `) R 1` too: the last parenthesis ends it.
  const open = text.indexOf(' (')
  const close = text.lastIndexOf(') ')
  const fields = text
    .slice(close + 2)
    .trimEnd()
    .split(' ')
  const state = fields[FIELD.state]
  if (open < 1 || close < open || state === undefined || fields.length <= FIELD.starttime) {
    throw new BerthError(
      'internal',
      `Cannot parse process status ${JSON.stringify(text)}: expected the form of proc(5)`,
    )
  }
  const number = (index: number) => Number(fields[index])
  return {
    pid: Number(text.slice(0, open)),
    comm: text.slice(open + 2, close),
    state,
    ppid: number(FIELD.ppid),
    pgrp: number(FIELD.pgrp),
    session: number(FIELD.session),
    utimeTicks: number(FIELD.utime),
    stimeTicks: number(FIELD.stime),
    startTimeTicks: number(FIELD.starttime),
  }
}

/** Parses /proc/PID/status into its lines: `Uid` → `0\t0\t0\t0`, `CapEff` → `00000000a80425fb`. */
export function parseProcStatus(text: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim())
  }
  return fields
}
