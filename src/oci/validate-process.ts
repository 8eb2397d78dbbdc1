/** Whether the parts of `process` fit together. Source: runtime-spec › Process; sched_setattr(2), setrlimit(2). */

import { messageOf } from '../lib/error.ts'
import { isCapability } from '../linux/capabilities.ts'
import { parseCpuList } from '../linux/cpu-set.ts'
import { type IdMapping, idIsMapped } from '../linux/id-map.ts'
import { isRlimit } from '../linux/rlimits.ts'
import type { SchedAttr } from '../linux/scheduler.ts'
import type { Findings } from './findings.ts'
import type { Process } from './runtime-spec.ts'

/** Which ids exist in the container; `null` when its user namespace is the runtime's, or a joined one that must be read first. */
export interface IdMaps {
  readonly uidMappings: readonly IdMapping[]
  readonly gidMappings: readonly IdMapping[]
}

/** Checks a process, of a config or of `exec`. `path` is its place in the document, `process` or empty. */
export function validateProcess(process: Process, path: string, maps: IdMaps | null, findings: Findings): void {
  const at = (name: string) => (path === '' ? name : `${path}.${name}`)
  if (!process.cwd.startsWith('/')) {
    findings.problem(at('cwd'), `is ${JSON.stringify(process.cwd)}, expected an absolute path`)
  }
  if (process.args === undefined || process.args.length === 0) {
    findings.problem(at('args'), 'is empty, expected the command')
  } else if (process.args[0] === '') {
    findings.problem(at('args[0]'), 'is empty, expected the command')
  }
  for (const [index, entry] of (process.env ?? []).entries()) {
    if (entry.indexOf('=') < 1) {
      findings.problem(at(`env[${index}]`), `is ${JSON.stringify(entry.slice(0, 80))}, expected NAME=value`)
    }
  }
  const { terminal, consoleSize } = process
  if (terminal === true && consoleSize !== undefined && Math.max(consoleSize.height, consoleSize.width) > 0xffff) {
    findings.problem(at('consoleSize'), `is ${consoleSize.height}×${consoleSize.width}, expected at most 65535 each`)
  }
  if (process.commandLine !== undefined) findings.warning(at('commandLine'), 'is for Windows and ignored')
  validateUser(process, at('user'), maps, findings)
  validateCapabilities(process, at('capabilities'), findings)
  validateRlimits(process, at('rlimits'), findings)
  validatePriorities(process, at, findings)
}

function validateUser(process: Process, path: string, maps: IdMaps | null, findings: Findings): void {
  const { uid = 0, gid = 0, additionalGids = [], umask, username } = process.user ?? {}
  if (username !== undefined) findings.warning(`${path}.username`, 'is for Windows and ignored')
  if (umask !== undefined && umask > 0o777) {
    findings.problem(`${path}.umask`, `is 0${umask.toString(8)}, expected at most 0777`)
  }
  // The largest 32-bit number is -1 in setresuid(2): "leave it", which would leave root.
  for (const [name, id] of [['uid', uid] as const, ['gid', gid] as const]) {
    if (id === 0xffff_ffff) findings.problem(`${path}.${name}`, `is ${id}, expected a number below it`)
  }
  if (maps === null) return
  if (!idIsMapped(maps.uidMappings, uid)) {
    findings.problem(`${path}.uid`, `is ${uid}, expected an id that linux.uidMappings has`)
  }
  if (!idIsMapped(maps.gidMappings, gid)) {
    findings.problem(`${path}.gid`, `is ${gid}, expected an id that linux.gidMappings has`)
  }
  for (const [index, group] of additionalGids.entries()) {
    if (idIsMapped(maps.gidMappings, group)) continue
    findings.problem(`${path}.additionalGids[${index}]`, `is ${group}, expected an id that linux.gidMappings has`)
  }
}

/** The spec asks for a warning, not an error: a config may be newer than this program. */
function validateCapabilities(process: Process, path: string, findings: Findings): void {
  for (const [set, names] of Object.entries<readonly string[] | undefined>({ ...process.capabilities })) {
    for (const name of names ?? []) {
      if (!isCapability(name))
        findings.warning(`${path}.${set}`, `has ${JSON.stringify(name)}, which is unknown and ignored`)
    }
  }
}

function validateRlimits(process: Process, path: string, findings: Findings): void {
  const seen = new Set<string>()
  for (const [index, { type, soft, hard }] of (process.rlimits ?? []).entries()) {
    const at = `${path}[${index}]`
    if (!isRlimit(type)) findings.problem(at, `is ${type}, expected a limit that Linux knows`)
    if (seen.has(type)) findings.problem(at, `is a second ${type}, expected each type once`)
    if (soft > hard) findings.problem(at, `(${type}) has soft ${soft} above hard ${hard}`)
    seen.add(type)
  }
}

function validatePriorities(process: Process, at: (name: string) => string, findings: Findings): void {
  const { oomScoreAdj, ioPriority, scheduler, execCPUAffinity } = process
  if (oomScoreAdj !== undefined && (oomScoreAdj < -1000 || oomScoreAdj > 1000)) {
    findings.problem(at('oomScoreAdj'), `is ${oomScoreAdj}, expected -1000 to 1000`)
  }
  if (ioPriority?.priority !== undefined && (ioPriority.priority < 0 || ioPriority.priority > 7)) {
    findings.problem(at('ioPriority.priority'), `is ${ioPriority.priority}, expected 0 to 7`)
  }
  if (scheduler !== undefined) validateScheduler(scheduler, at('scheduler'), findings)
  for (const which of ['initial', 'final'] as const) {
    const list = execCPUAffinity?.[which]
    if (list === undefined || list === '') continue
    const problem = cpuListProblem(list)
    if (problem !== undefined) findings.problem(at(`execCPUAffinity.${which}`), problem)
  }
}

function cpuListProblem(list: string): string | undefined {
  try {
    return parseCpuList(list).length === 0 ? `is ${JSON.stringify(list)}, expected at least one CPU` : undefined
  } catch (error) {
    return `is no list: ${messageOf(error)}`
  }
}

function validateScheduler(scheduler: SchedAttr, path: string, findings: Findings): void {
  const { policy, nice = 0, priority = 0, runtime = 0n, deadline = 0n, period = 0n } = scheduler
  if (policy === 'SCHED_ISO') findings.problem(`${path}.policy`, 'is SCHED_ISO, which no Linux implements')
  if ((policy === 'SCHED_OTHER' || policy === 'SCHED_BATCH') && (nice < -20 || nice > 19)) {
    findings.problem(`${path}.nice`, `is ${nice}, expected -20 to 19`)
  }
  const realtime = policy === 'SCHED_FIFO' || policy === 'SCHED_RR'
  if (!realtime && priority !== 0) {
    findings.problem(`${path}.priority`, `is ${priority}, expected 0 unless the policy is SCHED_FIFO or SCHED_RR`)
  }
  if (realtime && (priority < 1 || priority > 99)) {
    findings.problem(`${path}.priority`, `is ${priority}, expected 1 to 99 for ${policy}`)
  }
  if (policy === 'SCHED_DEADLINE') {
    if (runtime === 0n || runtime > deadline || (period !== 0n && deadline > period)) {
      findings.problem(
        path,
        `has runtime ${runtime}, deadline ${deadline}, period ${period}, expected them ascending from 1`,
      )
    }
  } else if (runtime !== 0n || deadline !== 0n || period !== 0n) {
    findings.problem(path, `has runtime, deadline or period with ${policy}, expected them with SCHED_DEADLINE only`)
  }
}
