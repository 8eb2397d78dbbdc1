import { EACCES, EBADF, ENOENT, ENOSYS } from '../lib/errno.ts'
import { BerthError } from '../lib/error.ts'
import { PROC_SUPER_MAGIC } from '../linux/fs-magic.ts'
import { ioPriorityValue } from '../linux/io-priority.ts'
import { memoryPolicyArguments } from '../linux/memory-policy.ts'
import { O_DIRECTORY, O_PATH, S_IFDIR } from '../linux/open-flags.ts'
import { PERSONALITY_DOMAIN } from '../linux/personality.ts'
import { isRlimit, rlimitNumber } from '../linux/rlimits.ts'
import { packSchedAttr } from '../linux/scheduler.ts'
import type { Process, RuntimeSpec } from '../oci/runtime-spec.ts'
import { type Slot, STDERR, STDIN, STDOUT } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'
import type { Console } from './compose-console.ts'
import { composeCredentials, type SeccompFilter } from './compose-credentials.ts'
import type { HostFacts, StdioInput } from './container-input.ts'
import { executableCandidates } from './executable.ts'
import type { PlanBuilder } from './plan-builder.ts'

const DEFAULT_UMASK = 0o022

/** Everything the last stage of a process depends on, for a container's first process and for exec alike. */
export interface ProcessInput {
  readonly process: Process
  readonly spec: RuntimeSpec
  readonly facts: HostFacts
  readonly stdio: StdioInput
  readonly console: Console | null
  /** Pipes of a shim in the place of the launcher's stdio. */
  readonly pipes: readonly [Slot, Slot, Slot] | null
  /** Needed for labels only, see {@link hasLabels}. */
  readonly hostProc: Slot | null
  readonly seccomp: SeccompFilter | null
  /** Name of a new session keyring; null to keep the launcher's. */
  readonly keyring: string | null
  /** Where to wait for `start`; null to go on at once. */
  readonly listener: Slot | null
  readonly startHooks: readonly Step[]
}

/** What the launcher does for the child because it needs the host's privileges, before the child goes on. */
export function composeForChild(builder: PlanBuilder, process: Process, facts: HostFacts): void {
  for (const { type, hard } of process.rlimits ?? []) {
    const limit = facts.hardLimits[type]
    if (limit === undefined || hard <= limit || !isRlimit(type)) continue
    builder.parent.push(
      step(
        'prlimit',
        { who: -1, resource: rlimitNumber(type), soft: limit, hard },
        `raise ${type} above the host's limit (process.rlimits)`,
      ),
    )
  }
  if (process.oomScoreAdj !== undefined)
    builder.parent.push(
      step(
        'write_child',
        { name: 'oom_score_adj', data: String(process.oomScoreAdj) },
        'set how readily it is killed when memory runs out (process.oomScoreAdj)',
      ),
    )
  if (process.scheduler !== undefined)
    builder.parent.push(
      step(
        'sched_setattr',
        { who: -1, attr: packSchedAttr(process.scheduler) },
        'set its scheduling (process.scheduler)',
      ),
    )
  if (process.ioPriority !== undefined)
    builder.parent.push(
      step(
        'ioprio_set',
        { who: -1, value: ioPriorityValue(process.ioPriority.class, process.ioPriority.priority ?? 0) },
        'set its I/O priority (process.ioPriority)',
      ),
    )
}

/**
 * The exec stage. The order is the point: labels before privileges go, the working directory as root and then as the user,
 * ids before the last capabilities, limits and seccomp last, so that few calls must get past them.
 */
export function composeProcess(builder: PlanBuilder, input: ProcessInput): void {
  const { process, spec } = input
  const { exec } = builder
  exec.push(step('sigreset', {}, 'leave no signal blocked or ignored'))
  if (input.keyring !== null)
    exec.push(
      step('keyring', { name: input.keyring }, { why: 'have a session keyring of its own', tolerate: [ENOSYS] }),
    )
  exec.push(step('setsid', {}, 'lead a session of its own'))
  composeStdio(builder, input)
  composeKind(builder, spec)
  composeLabels(builder, input)
  exec.push(
    step('umask', { mask: process.user?.umask ?? DEFAULT_UMASK }, 'set the file mode mask (process.user.umask)'),
  )
  exec.push(step('home', { root: null, path: '/etc/passwd', uid: process.user?.uid ?? 0 }, 'look up HOME for the user'))
  const workdir = enterWorkdir(builder, process.cwd)
  composeCredentials(builder, process, input.seccomp, {
    asUser: () => {
      exec.push(...workdir)
      exec.push(step('check_cwd', {}, 'make sure that the working directory is inside the container (CVE-2024-21626)'))
      exec.push(step('access_exec', { paths: executableCandidates(process) }, 'find the program'))
    },
    beforeFilter: () => {
      waitForStart(builder, input)
      composeRlimits(builder, process)
    },
  })
  exec.push(
    step(
      'execve',
      { paths: executableCandidates(process), argv: process.args ?? [], env: process.env ?? [] },
      'become the program',
    ),
  )
}

function composeStdio(builder: PlanBuilder, input: ProcessInput): void {
  const { exec, slots } = builder
  const { console, stdio } = input
  if (console !== null) exec.push(step('set_ctty', { fd: console.slave }, 'make the terminal the controlling one'))
  const standard = input.pipes ?? [STDIN, STDOUT, STDERR]
  const owned = input.pipes === null ? stdio.pipes : [true, true, true]
  standard.forEach((slot, target) => {
    const fd = console?.slave ?? slot
    if (console === null && owned[target] === true)
      // So that a user other than root can open /dev/stdout again. Devices and files keep their owner (CVE-2026-88265).
      exec.push(
        step(
          'chown',
          { fd, path: '', uid: input.process.user?.uid ?? 0, gid: -1 },
          { why: 'give the pipe to the user', tolerate: 'all' },
        ),
      )
    exec.push(step('dup2', { fd, target }, `make it fd ${target}`))
  })
  for (let n = 0; n < stdio.preservedFds; n++)
    exec.push(
      step('dup2', { fd: slots.preserved(n), target: 3 + n }, { why: 'keep a preserved fd', tolerate: [EBADF] }),
    )
  exec.push(step('cloexec_from', { first: 3 + stdio.preservedFds }, 'let no other fd reach the program'))
}

/** Personality and memory policy: what the process is to the kernel. */
function composeKind(builder: PlanBuilder, { linux }: RuntimeSpec): void {
  if (linux?.personality?.domain !== undefined)
    builder.exec.push(
      step(
        'personality',
        { persona: PERSONALITY_DOMAIN[linux.personality.domain] },
        'set the execution domain (linux.personality)',
      ),
    )
  const policy = linux?.memoryPolicy
  if (policy?.mode !== undefined)
    builder.exec.push(
      step(
        'set_mempolicy',
        { ...memoryPolicyArguments(policy.mode, policy.flags ?? [], policy.nodes ?? '') },
        'set the NUMA policy (linux.memoryPolicy)',
      ),
    )
}

/** Whether the program is to run under a security label. */
export function hasLabels({ apparmorProfile = '', selinuxLabel = '' }: Process): boolean {
  return apparmorProfile !== '' || selinuxLabel !== ''
}

/** Security labels take effect at execve. They are written through the host's procfs, checked to be procfs at each write. */
function composeLabels(builder: PlanBuilder, { process, facts, hostProc }: ProcessInput): void {
  const write = (path: string, data: string, why: string): Step =>
    step('write_checked', { dir: hostProc, path, magic: PROC_SUPER_MAGIC, data }, why)
  const profile = process.apparmorProfile ?? ''
  if (profile !== '') {
    if (!facts.appArmor)
      throw new BerthError(
        'unavailable',
        `Cannot apply AppArmor profile "${profile}": AppArmor is not enabled on this host`,
      )
    const why = `confine the program by AppArmor profile "${profile}", which must be loaded (process.apparmorProfile)`
    builder.exec.push(
      { ...write('self/attr/apparmor/exec', `exec ${profile}`, why), tolerate: [ENOENT], skipOnSuccess: 1 },
      write('self/attr/exec', `exec ${profile}`, why),
    )
  }
  const label = process.selinuxLabel ?? ''
  if (label === '') return
  if (!facts.seLinux)
    throw new BerthError('unavailable', `Cannot apply SELinux label "${label}": SELinux is not enabled on this host`)
  builder.exec.push(write('self/attr/exec', label, 'label the program (process.selinuxLabel)'))
}

/**
 * Enters the working directory as root; where root may not (an NFS export), the steps returned try again as the user.
 */
function enterWorkdir(builder: PlanBuilder, cwd: string): Step[] {
  const entered = builder.slots.allocate('working directory')
  builder.exec.push(
    step(
      'chdir',
      { path: cwd },
      { why: 'enter the working directory (process.cwd)', tolerate: [EACCES], skipOnFailure: 1 },
    ),
    step('open', { path: '.', flags: O_PATH | O_DIRECTORY, mode: 0, out: entered }, 'remember that it was entered'),
  )
  return [
    step(
      'check_type',
      { fd: entered, type: S_IFDIR, major: -1, minor: -1 },
      { why: 'see whether it was entered', tolerate: [EBADF], skipOnSuccess: 1 },
    ),
    step('chdir', { path: cwd }, 'enter the working directory as the user'),
  ]
}

function waitForStart(builder: PlanBuilder, input: ProcessInput): void {
  if (input.listener !== null) {
    const tag = builder.tag()
    builder.exec.push(step('post', { tag }, 'tell the launcher that the container is complete'))
    builder.exec.push(step('wait_start', { listener: input.listener }, 'wait for start'))
    builder.parent.push(step('await', { tag }, 'wait until the container is complete'))
  }
  builder.exec.push(...input.startHooks)
}

function composeRlimits(builder: PlanBuilder, process: Process): void {
  for (const { type, soft, hard } of process.rlimits ?? []) {
    if (!isRlimit(type))
      throw new BerthError('invalidArgument', `Cannot set limit "${type}": the kernel has none of that name`)
    builder.exec.push(
      step('prlimit', { who: 0, resource: rlimitNumber(type), soft, hard }, `set ${type} (process.rlimits)`),
    )
  }
}
