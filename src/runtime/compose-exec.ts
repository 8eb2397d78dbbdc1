import { EINVAL } from '../lib/errno.ts'
import { cpuMask, parseCpuList } from '../linux/cpu-set.ts'
import { NAMESPACES } from '../linux/namespaces.ts'
import { O_RDONLY } from '../linux/open-flags.ts'
import type { Process, RuntimeSpec } from '../oci/runtime-spec.ts'
import { type Join, type Plan, step } from '../plan/step.ts'
import type { CgroupComposition } from './compose-cgroup.ts'
import { composeConsole, handOverMaster } from './compose-console.ts'
import type { SeccompFilter } from './compose-credentials.ts'
import { openHostProc } from './compose-isolation.ts'
import { composeForChild, composeProcess, hasLabels } from './compose-process.ts'
import { composeExecEnding, type ExecEnding, listenForRelay } from './compose-relay.ts'
import type { HostFacts, StdioInput } from './container-input.ts'
import type { PlanBuilder } from './plan-builder.ts'

/** What a further process in a running container depends on. */
export interface ExecInput {
  readonly process: Process
  readonly spec: RuntimeSpec
  /** The container's first process. */
  readonly initPid: number
  /** Kinds in which the container differs from the launcher: joining one's own user namespace is an error (setns(2)). */
  readonly namespaces: ReadonlySet<string>
  readonly facts: HostFacts
  readonly cgroup: CgroupComposition
  readonly stdio: StdioInput
  readonly ending: ExecEnding
}

/** The plan of `exec`: join the container's namespaces and cgroup, then the same last stage as its first process. */
export function composeExec(builder: PlanBuilder, input: ExecInput, seccomp: SeccompFilter | null): Plan {
  const { process } = input
  // Only for labels: a program with CAP_SYS_PTRACE finds what a newcomer in its container has open (CVE-2016-9962).
  const hostProc = hasLabels(process) ? openHostProc(builder) : null
  const relay = listenForRelay(builder, input.ending)
  builder.host.push(...input.cgroup.host)
  const affinity = process.execCPUAffinity
  if (affinity?.initial !== undefined && affinity.initial !== '')
    builder.host.push(
      step(
        'sched_setaffinity',
        { who: 0, mask: cpuMask(parseCpuList(affinity.initial)) },
        'run on these CPUs until the cgroup is joined (process.execCPUAffinity.initial)',
      ),
    )
  builder.clone(
    step(
      'clone',
      { flags: 0, cgroup: input.cgroup.cloneInto, joins: joins(builder, input), pidfd: null },
      "make the process in the container's namespaces",
    ),
  )
  composeForChild(builder, process, input.facts)
  if (builder.parent.length > 0) {
    const tag = builder.tag()
    builder.parent.push(step('post', { tag }, 'the child may go on'))
    builder.child.push(step('await', { tag }, 'wait for what the launcher does for it'))
  }
  if (input.namespaces.has('user'))
    builder.child.push(
      step('setresgid', { gid: 0 }, { why: 'become the root group of the user namespace', tolerate: [EINVAL] }),
      step('setresuid', { uid: 0 }, { why: 'become root of the user namespace', tolerate: [EINVAL] }),
    )
  builder.child.push(...input.cgroup.child)
  if (affinity?.final !== undefined && affinity.final !== '')
    builder.child.push(
      step(
        'sched_setaffinity',
        { who: 0, mask: cpuMask(parseCpuList(affinity.final)) },
        'run on these CPUs (process.execCPUAffinity.final)',
      ),
    )
  const console = process.terminal === true ? composeConsole(builder, process, null, null) : null
  if (console !== null) handOverMaster(builder, console, input.stdio.consoleSocket)
  composeProcess(builder, {
    process,
    spec: input.spec,
    facts: input.facts,
    stdio: input.stdio,
    console,
    pipes: null,
    hostProc,
    seccomp,
    keyring: null,
    listener: relay?.start ?? null,
    startHooks: [],
  })
  composeExecEnding(builder, input.ending, relay, console)
  return builder.finish()
}

function joins(builder: PlanBuilder, input: ExecInput): Join[] {
  return NAMESPACES.filter(kind => input.namespaces.has(kind.type)).map(kind => {
    const slot = builder.slots.allocate(`${kind.type} namespace`)
    const path = `/proc/${input.initPid}/ns/${kind.procName}`
    builder.host.push(
      step('open', { path, flags: O_RDONLY, mode: 0, out: slot }, `find the container's ${kind.type} namespace`),
    )
    return { slot, type: kind.cloneFlag }
  })
}
