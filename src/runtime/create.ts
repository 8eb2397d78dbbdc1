import { writeFileSync } from 'node:fs'
import { type CgroupLocation, type CgroupManagerKind, resolveCgroupPath } from '../host/cgroup/location.ts'
import type { Launched, LauncherConnection } from '../host/launch-conversation.ts'
import type { LaunchOptions, LaunchStdio } from '../host/launcher.ts'
import { processIdentity } from '../host/process-identity.ts'
import { userName } from '../host/user-name.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { parseContainerId } from '../oci/container-id.ts'
import type { RuntimeState } from '../oci/runtime-state.ts'
import { planTail } from '../plan/plan-tail.ts'
import type { Plan } from '../plan/step.ts'
import type { PlanTail } from '../plan/step-error.ts'
import { type Bundle, readBundle } from './bundle.ts'
import { type Beginning, composeBeginning } from './compose-beginning.ts'
import { composeCgroup } from './compose-cgroup.ts'
import { composeContainer } from './compose-container.ts'
import type { SeccompFilter } from './compose-credentials.ts'
import { ASK_ID_MAPS, ASK_RECORD, ASK_SCOPE } from './compose-namespaces.ts'
import { type ContainerInput, type Ending, makesNew, namespaceOf, type RootSource } from './container-input.ts'
import type { Front } from './front.ts'
import { type PendingSources, readHostFacts } from './host-facts.ts'
import { writeIdMaps } from './id-maps.ts'
import { launchProgram } from './launch-program.ts'
import type { NetDeviceMove } from './net-devices.ts'
import { PlanBuilder } from './plan-builder.ts'
import type { RuntimeOptions } from './runtime-options.ts'
import { type ContainerRecord, StateDirectory, type Traces } from './state-directory.ts'
import { pipesAmong } from './stdio-pipes.ts'

/** How to create a container. */
export interface CreateOptions extends RuntimeOptions {
  readonly bundle: string
  readonly consoleSocket: string | null
  readonly pidFile: string | null
  readonly preservedFds: number
  readonly pivot: boolean
  readonly newKeyring: boolean
  readonly start: 'on request' | 'now'
  readonly ending: Ending
  readonly stdio: readonly [LaunchStdio, LaunchStdio, LaunchStdio]
  /** In the place of the config's `root.path`: how `berth run` mounts an image. */
  readonly rootSource?: RootSource
  /** Bind sources that the caller makes before the plan runs: they need not exist while it is composed. */
  readonly pending?: PendingSources
  /** One that is there already. */
  readonly launcher?: LauncherConnection & AsyncDisposable
  /** Sees the plan before it runs and may change it: how tests inject faults. */
  readonly onPlan?: (plan: Plan) => Plan
}

/** `CreateOptions` for a container that is started at once. */
export interface RunOptions extends Omit<CreateOptions, 'start' | 'ending' | 'launcher'> {
  /** Who waits for a container in the foreground; without one we do so ourselves. */
  readonly front?: Front
  readonly detach: boolean
  /** Keep it when it has ended. */
  readonly keep: boolean
}

/** A container that was created. */
export interface CreatedContainer extends Launched {
  readonly directory: StateDirectory
  readonly record: ContainerRecord
}

/** A plan that has been begun: what is known of the machine, and the first steps. */
interface Ground extends Pick<ContainerInput, 'facts' | 'cgroup' | 'cgroupLocation' | 'netDevices'> {
  readonly builder: PlanBuilder
  readonly beginning: Beginning
}

/** A plan and what it takes to carry it out. */
export interface PreparedContainer {
  readonly plan: Plan
  readonly location: CgroupLocation
  readonly netDevices: readonly NetDeviceMove[]
  readonly afterStart: PlanTail
}

/**
 * The `create` of the runtime-spec: reads the bundle, composes the plan, has it executed, and keeps the record.
 * When it throws, nothing is left: no process, mount, cgroup, namespace or file. `known` is the bundle if it has been read already.
 * @throws {BerthError} conflict: the id is taken; invalidArgument: the config; StepError: a kernel call failed
 */
export async function createContainer(id: string, options: CreateOptions, known?: Bundle): Promise<CreatedContainer> {
  parseContainerId(id)
  const bundle = known ?? readBundle(options.bundle)
  for (const warning of bundle.warnings) options.warn(warning)
  const directory = new StateDirectory(options.root, id)
  if (directory.isLeftover()) await (await import('./leftover.ts')).removeLeftover(directory)
  directory.claim(bundle)
  await using undo = new AsyncDisposableStack()
  let traces: Traces | null = null
  undo.defer(async () => {
    const [{ removeLeftover }, { runPoststopHooks }] = await Promise.all([
      import('./leftover.ts'),
      import('./run-hooks.ts'),
    ])
    try {
      // A launcher that was there before us has undone what it did, and is nothing that we could leave.
      const ours = traces === null || options.launcher === undefined ? traces : { ...traces, launcher: null }
      await removeLeftover(directory, ours)
    } catch (error) {
      // Why the creation failed is the error; this is the second thing to say.
      options.warn(messageOf(error))
    }
    await runPoststopHooks(bundle.spec.hooks?.poststop, stateAfterFailure(id, bundle), options.warn)
  })
  await using launcher: LauncherConnection & AsyncDisposable =
    options.launcher ??
    new (await import('../host/launcher.ts')).Launcher({
      stdio: options.stdio,
      preservedFds: options.preservedFds,
      staysAsShim: options.ending.kind === 'serve',
    })
  const ground = await prepareGround(id, bundle, options)
  const note = (): void => {
    const { cgroupLocation, netDevices } = ground
    traces = { cgroup: cgroupLocation, netDevices, launcher: processIdentity(launcher.pid) }
    directory.note(traces)
  }
  // Who wants to see the plan before it runs sees all of it.
  const begun = launcher.begin === undefined || options.onPlan !== undefined ? null : ground.builder.sofar()
  if (begun !== null) {
    note()
    await launcher.begin?.(begun)
  }
  const prepared = await composeOn(ground, id, bundle, directory.path, options)
  if (begun === null) note()
  if (options.debug !== undefined) options.debug((await import('../plan/print.ts')).printPlan(prepared.plan))
  const created = await runPlan(id, bundle, directory, { ...prepared, begun }, options, launcher)
  undo.move()
  return created
}

/** The lifecycle ends with the poststop hooks, also where it ends in create. Source: runtime-spec › Lifecycle. */
function stateAfterFailure(id: string, { spec, path }: Bundle): RuntimeState {
  const { ociVersion, annotations } = spec
  return { ociVersion, id, pid: 0, status: 'stopped', bundle: path, ...(annotations !== undefined && { annotations }) }
}

/** Everything up to the plan: reads the machine, changes nothing. What `explain` prints. */
export async function prepareContainer(
  id: string,
  bundle: Bundle,
  stateDirectory: string,
  options: CreateOptions,
): Promise<PreparedContainer> {
  return await composeOn(await prepareGround(id, bundle, options), id, bundle, stateDirectory, options)
}

async function prepareGround(id: string, bundle: Bundle, options: CreateOptions): Promise<Ground> {
  const { spec } = bundle
  const facts = readHostFacts(spec, bundle.path, options.pending)
  const manager: CgroupManagerKind = options.systemdCgroup ? 'systemd' : 'cgroupfs'
  const place =
    manager === 'systemd'
      ? await (await import('../host/cgroup/open-cgroup.ts')).findSystemd(!facts.privileged)
      : undefined
  const cgroupLocation = resolveCgroupPath(facts.cgroups, spec.linux?.cgroupsPath, id, manager, place)
  const builder = new PlanBuilder(options.preservedFds)
  const cgroup = composeCgroup({
    location: cgroupLocation,
    resources: spec.linux?.resources ?? {},
    slots: builder.slots,
    privileged: options.rootless == null ? facts.privileged : !options.rootless,
    ownerUid: cgroupOwner(spec),
  })
  const netDevices = await findNetDevices(bundle)
  const beginning = composeBeginning(builder, { spec, cgroup })
  return { facts, cgroup, cgroupLocation, netDevices, builder, beginning }
}

async function composeOn(
  { builder, beginning, ...ground }: Ground,
  id: string,
  bundle: Bundle,
  stateDirectory: string,
  options: CreateOptions,
): Promise<PreparedContainer> {
  const plan = composeContainer(
    builder,
    {
      ...ground,
      id,
      spec: bundle.spec,
      bundle: bundle.path,
      stateDirectory,
      root: options.rootSource ?? { kind: 'directory', path: bundle.root },
      stdio: {
        pipes: pipesAmong(options.stdio),
        consoleSocket: options.consoleSocket,
        preservedFds: options.preservedFds,
      },
      start: options.start,
      ending: options.ending,
      pivot: options.pivot,
      newKeyring: options.newKeyring,
    },
    await filterOf(id, bundle, options.debug),
    beginning,
  )
  const seen = options.onPlan?.(plan) ?? plan
  return {
    plan: seen,
    location: ground.cgroupLocation,
    netDevices: ground.netDevices,
    afterStart: await planTail(seen),
  }
}

async function runPlan(
  id: string,
  bundle: Bundle,
  directory: StateDirectory,
  prepared: PreparedContainer & { readonly begun: Plan | null },
  options: CreateOptions,
  launcher: LauncherConnection,
): Promise<CreatedContainer> {
  let record: ContainerRecord | null = null
  const talk: LaunchOptions = {
    ...(prepared.begun !== null && { begun: prepared.begun }),
    stdio: options.stdio,
    preservedFds: options.preservedFds,
    onPid: pid => {
      // Before the container is complete: whoever finds this directory after a crash must find the process too.
      record = recordOf(id, bundle, pid, prepared)
      directory.save(record)
    },
    onAsk: (tag, pid) => answer(id, tag, pid, bundle, prepared),
  }
  const launched = await launchProgram(prepared.plan, talk, launcher)
  for (const { message, errno } of launched.warnings) options.warn(`${message} (errno ${errno})`)
  if (record === null) throw new BerthError('internal', `Cannot create container "${id}": berth-init named no process`)
  if (options.pidFile !== null) writeFileSync(options.pidFile, String(launched.pid))
  directory.complete()
  return { ...launched, directory, record }
}

/** Of no process: what a short program leaves that has ended, and was reaped, before we could look at it. */
const ENDED_START_TICKS = -1

function recordOf(id: string, bundle: Bundle, pid: number, prepared: PreparedContainer): ContainerRecord {
  return {
    id,
    bundle: bundle.path,
    process: processIdentity(pid) ?? { pid, startTicks: ENDED_START_TICKS },
    created: new Date().toISOString(),
    root: bundle.root,
    owner: process.getuid?.() ?? 0,
    ownerName: userName(process.getuid?.() ?? 0),
    cgroup: prepared.location,
    netDevices: prepared.netDevices,
    afterStart: prepared.afterStart,
  }
}

async function answer(
  id: string,
  tag: number,
  pid: number,
  bundle: Bundle,
  prepared: PreparedContainer,
): Promise<void> {
  // The record was saved when the process was made, which was before this question.
  if (tag === ASK_RECORD) return
  if (tag === ASK_ID_MAPS) return await writeIdMaps(pid, bundle.spec)
  if (tag !== ASK_SCOPE) throw new BerthError('internal', `Cannot answer question ${tag} of the plan`)
  const { linux, annotations } = bundle.spec
  const [{ openSystemdCgroup }, { CGROUP_OPTIONS }] = await Promise.all([
    import('../host/cgroup/open-cgroup.ts'),
    import('./container-cgroup.ts'),
  ])
  await openSystemdCgroup(prepared.location, CGROUP_OPTIONS).adopt(pid, linux?.resources ?? {}, {
    id,
    annotations: annotations ?? {},
  })
}

/** The compiler with its tables of system calls is loaded only for a config that has something to compile. */
async function filterOf(
  id: string,
  { spec, path }: Bundle,
  debug: CreateOptions['debug'],
): Promise<SeccompFilter | null> {
  if (spec.linux?.seccomp === undefined) return null
  const { seccompFilter } = await import('./seccomp-filter.ts')
  return seccompFilter({ id, spec, bundle: path }, debug)
}

/** Interfaces to move in, as they are on the host now. */
async function findNetDevices({ spec }: Bundle): Promise<readonly NetDeviceMove[]> {
  const devices = spec.linux?.netDevices
  if (devices === undefined || Object.keys(devices).length === 0) return []
  const [{ readNetworkState }, { resolveNetDevices }] = await Promise.all([
    import('../host/net-devices.ts'),
    import('./net-devices.ts'),
  ])
  const target = namespaceOf(spec, 'network')?.path ?? null
  return resolveNetDevices(
    devices,
    await readNetworkState(null),
    target === null ? null : await readNetworkState(target),
  )
}

/** The host id of the container's root, to whom a writable cgroup of its own is given. */
function cgroupOwner(spec: Bundle['spec']): number | undefined {
  if (!makesNew(spec, 'cgroup') || !makesNew(spec, 'user')) return undefined
  const mount = spec.mounts?.find(({ type }) => type === 'cgroup' || type === 'cgroup2')
  if (mount === undefined || (mount.options ?? []).includes('ro')) return undefined
  return spec.linux?.uidMappings?.find(({ containerID }) => containerID === 0)?.hostID
}
