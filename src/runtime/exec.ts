import { readlinkSync, writeFileSync } from 'node:fs'
import type { Launched } from '../host/launch-conversation.ts'
import type { LaunchStdio } from '../host/launcher.ts'
import { sameProcess } from '../host/process-identity.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { NAMESPACES } from '../linux/namespaces.ts'
import type { Process } from '../oci/runtime-spec.ts'
import { validateExecProcess } from '../oci/runtime-validate.ts'
import { planTail } from '../plan/plan-tail.ts'
import type { PlanTail } from '../plan/step-error.ts'
import { composeCgroupJoin } from './compose-cgroup.ts'
import { composeExec } from './compose-exec.ts'
import type { ExecEnding } from './compose-relay.ts'
import { expectStatus, type FoundContainer, findContainer } from './container-state.ts'
import { readHostFacts } from './host-facts.ts'
import { launchProgram } from './launch-program.ts'
import { PlanBuilder } from './plan-builder.ts'
import type { RuntimeOptions } from './runtime-options.ts'
import { seccompFilter } from './seccomp-filter.ts'
import { pipesAmong } from './stdio-pipes.ts'

/** How to run a further process in a container. */
export interface ExecOptions extends RuntimeOptions {
  readonly consoleSocket: string | null
  readonly pidFile: string | null
  readonly preservedFds: number
  readonly ignorePaused: boolean
  /** Sub-cgroups to run it in, see `composeCgroupJoin`. */
  readonly cgroups: readonly string[]
  readonly ending: ExecEnding
  /** Told as soon as the process exists, which is before it runs its program. */
  readonly onPid?: (pid: number) => void
  readonly stdio: readonly [LaunchStdio, LaunchStdio, LaunchStdio]
}

/** A further process, and what it has still to do when it waits for a knock. */
export interface ExecProcess extends Launched {
  readonly afterStart: PlanTail
}

/**
 * Runs a further process in a container's namespaces and cgroup.
 * @throws {BerthError} notFound; conflict: the container is stopped, or paused without `ignorePaused`; StepError
 */
export async function execInContainer(id: string, process_: Process, options: ExecOptions): Promise<ExecProcess> {
  const found = findContainer(options.root, id)
  expectStatus(found, 'exec in', 'running', 'created', ...(options.ignorePaused ? (['paused'] as const) : []))
  const { directory, record } = found
  const spec = directory.spec()
  for (const warning of validateExecProcess(process_, idMapsOf(found))) options.warn(warning)
  const builder = new PlanBuilder(options.preservedFds)
  const facts = readHostFacts({ ...spec, process: process_, mounts: [] }, record.bundle)
  const plan = composeExec(
    builder,
    {
      process: process_,
      spec,
      initPid: record.process.pid,
      namespaces: differentNamespaces(found),
      facts,
      cgroup: composeCgroupJoin({
        location: record.cgroup,
        slots: builder.slots,
        initPid: record.process.pid,
        subPaths: options.cgroups,
      }),
      stdio: {
        pipes: pipesAmong(options.stdio),
        consoleSocket: options.consoleSocket,
        preservedFds: options.preservedFds,
      },
      ending: options.ending,
    },
    seccompFilter({ id, spec, bundle: record.bundle }),
  )
  const { stdio, preservedFds, onPid } = options
  const launched = await launchProgram(plan, {
    stdio,
    preservedFds,
    staysAsShim: options.ending.kind === 'relay',
    ...(onPid !== undefined && { onPid }),
  })
  if (options.pidFile !== null) writePidFile(options.pidFile, launched.pid)
  return { ...launched, afterStart: await planTail(plan) }
}

/** Whoever asked for the file would lose sight of the process without it. */
function writePidFile(path: string, pid: number): void {
  try {
    writeFileSync(path, String(pid))
  } catch (error) {
    process.kill(pid, 'SIGKILL')
    throw new BerthError('unavailable', `Cannot write pid file "${path}": ${messageOf(error)}`, { cause: error })
  }
}

/** The kinds of namespace in which the container's process is elsewhere than we are. */
function differentNamespaces({ record, directory }: FoundContainer): ReadonlySet<string> {
  const kinds = NAMESPACES.filter(({ procName }) => link('self', procName) !== link(record.process.pid, procName))
  // The links were read by process id: if the process ended meanwhile they may be another's.
  if (!sameProcess(record.process))
    throw new BerthError('conflict', `Cannot exec in container "${directory.id}": it has stopped`)
  return new Set(kinds.map(({ type }) => type))
}

function link(pid: number | 'self', procName: string): string {
  return readlinkSync(`/proc/${pid}/ns/${procName}`)
}

function idMapsOf({ directory }: FoundContainer): Parameters<typeof validateExecProcess>[1] {
  const { uidMappings, gidMappings } = directory.spec().linux ?? {}
  return uidMappings === undefined || gidMappings === undefined ? null : { uidMappings, gidMappings }
}
