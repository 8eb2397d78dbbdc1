import { type CgroupDirectory, type CgroupLocation, directoryFor, isUnified } from '../host/cgroup/location.ts'
import { type CgroupProbe, joinableDirectory, probeCgroup } from '../host/cgroup/probe.ts'
import { EEXIST, ENOENT, EPERM } from '../lib/errno.ts'
import { BerthError } from '../lib/error.ts'
import { compilePolicy } from '../linux/cgroup/device-program.ts'
import { defaultDeviceRules, deviceLines, devicePolicy } from '../linux/cgroup/device-rules.ts'
import type { LinuxResources } from '../linux/cgroup/resources.ts'
import type { CgroupSetting } from '../linux/cgroup/setting.ts'
import { hybridSettings, v2Settings } from '../linux/cgroup/settings.ts'
import { AT_REMOVEDIR, O_DIRECTORY, O_PATH, O_WRONLY } from '../linux/open-flags.ts'
import type { Slot, SlotTable } from '../plan/slots.ts'
import { type Step, step } from '../plan/step.ts'

/** What a plan does about cgroups. */
export interface CgroupComposition {
  readonly location: CgroupLocation
  readonly host: readonly Step[]
  readonly parent: readonly Step[]
  readonly child: readonly Step[]
  readonly undo: readonly Step[]
  /** v2: the fd of the cgroup that clone3 puts the child into. */
  readonly cloneInto: Slot | null
  /** The child is put into its cgroup after clone, so its cgroup namespace must be made by unshare after that. */
  readonly unshareInChild: boolean
  /** systemd makes the scope while the launcher waits: `SystemdCgroup.adopt(pid, …)` between ASK and the answer. */
  readonly viaSystemd: boolean
}

/** What the making of a cgroup is composed from. */
export interface CgroupInput {
  readonly location: CgroupLocation
  readonly resources: LinuxResources
  readonly slots: SlotTable
  /** v2: out of memory kills the whole container. Default true. */
  readonly oomGroup?: boolean
  /** False when rootless: device filters need CAP_BPF, and without limits a container may do without a cgroup. */
  readonly privileged: boolean
  /** v2: the host uid that the container may manage its own cgroup as (a private cgroup namespace, mounted writable). */
  readonly ownerUid?: number | undefined
}

/** A default of ours, not of the configuration: no reason to fail where it can't be had. */
const OOM_GROUP = 'memory.oom.group'

const NOTHING: Omit<CgroupComposition, 'location'> = Object.freeze({
  host: [],
  parent: [],
  child: [],
  undo: [],
  cloneInto: null,
  unshareInChild: false,
  viaSystemd: false,
})

/**
 * Composes the making of a container's cgroup. Reads what exists; changes nothing.
 *
 * v2: directories, controllers, limits, the device filter, then clone3 puts the child in. v1: the same in each hierarchy, and
 * the child moves itself by writing "0" into each `tasks`: a single-threaded process moving itself needs no RCU
 * grace period, which a write of its pid into cgroup.procs waits for (some 10 ms). On a hybrid host both.
 * @throws {BerthError} conflict: the cgroup is in use; forbidden: no right to make it and it is needed; see `v1Settings`
 */
export function composeCgroup(input: CgroupInput): CgroupComposition {
  const settings = settingsFor(input.location, input.resources, input.oomGroup ?? true)
  const probes = probeCgroup(input.location)
  if (input.location.manager === 'systemd') {
    return { ...NOTHING, location: input.location, unshareInChild: true, viaSystemd: true }
  }
  if (probes.some(each => !each.writable)) {
    if (input.privileged || settings.some(each => each.file !== OOM_GROUP)) throw notWritable(probes)
    return { ...NOTHING, location: input.location }
  }
  const host: Step[] = []
  const child: Step[] = []
  let cloneInto: Slot | null = null
  for (const probe of probes) {
    const own = settings.filter(each => directoryFor(input.location, each.controller)?.dir === probe.dir)
    host.push(...makeDirectories(probe, own), ...own.flatMap(each => settingSteps(probe.dir, each)))
    if (probe.hierarchy.version === 2) {
      cloneInto = input.slots.allocate('cgroup')
      host.push(openDirectory(probe.dir, cloneInto), ...filterDevices(input, cloneInto), ...giveAway(input, probe.dir))
    } else {
      if (probe.hierarchy.controllers.includes('devices')) host.push(...listDevices(probe.dir, input.resources))
      const join = joinByTasks(probe, probe.dir, input.slots)
      host.push(join.open)
      child.push(join.write)
    }
  }
  const undo = probes.flatMap(({ missing }) => missing.toReversed().map(removeStep))
  return { ...NOTHING, location: input.location, host, child, undo, cloneInto, unshareInChild: child.length > 0 }
}

/**
 * All limits of a configuration as settings of the hierarchies that a location has, checked to have a controller.
 * @throws {BerthError} unavailable: nothing on the host has the controller
 */
function settingsFor(location: CgroupLocation, resources: LinuxResources, oomGroup: boolean): readonly CgroupSetting[] {
  const unified = location.directories.find(({ hierarchy }) => hierarchy.version === 2)?.hierarchy.controllers ?? []
  // Not asked for by name, so a host that has no memory controller to give does without.
  const group = oomGroup && unified.includes('memory')
  const settings = isUnified(location)
    ? v2Settings(resources, { oomGroup: group })
    : hybridSettings(resources, new Set(unified), { oomGroup: group })
  for (const { controller, file } of settings) {
    if (directoryFor(location, controller) === undefined) {
      throw new BerthError(
        'unavailable',
        `Cannot set "${file}": no cgroup hierarchy of the host has the controller ${controller}`,
      )
    }
  }
  return settings
}

function notWritable(probes: readonly CgroupProbe[]): BerthError {
  const dir = probes.find(each => !each.writable)?.dir
  return new BerthError(
    'forbidden',
    `Cannot make cgroup "${dir}": no right to write there, expected a cgroup delegated to this user`,
  )
}

function makeDirectories(probe: CgroupProbe, settings: readonly CgroupSetting[]): readonly Step[] {
  const steps: Step[] = []
  const enable = [...probe.enable]
  const fill = (dir: string) =>
    probe.cpuset
      .filter(each => each.dir === dir && !(dir === probe.dir && settings.some(({ file }) => file === each.file)))
      .map(({ file, value }) => write(dir, file, value, 'a cpuset without CPUs and memory takes no processes'))
  const enableIn = (dir: string) =>
    enable.filter(each => each.dir === dir).flatMap(each => enableSteps(dir, each.controllers, settings))
  const parents = [...new Set([...probe.enable, ...probe.cpuset].map(each => each.dir))]
  for (const dir of parents.filter(each => !probe.missing.includes(each))) steps.push(...fill(dir), ...enableIn(dir))
  for (const dir of probe.missing) {
    // Another container may be making the same parent; the container's own directory must be new.
    const tolerate = dir === probe.dir ? [] : [EEXIST]
    const why = `make the cgroup in ${name(probe)}`
    steps.push(step('mkdir', { dir: null, path: dir, mode: 0o755 }, { why, tolerate }), ...fill(dir), ...enableIn(dir))
  }
  return steps
}

function name({ hierarchy }: CgroupDirectory): string {
  return hierarchy.version === 2 ? 'cgroup v2' : hierarchy.controllers.join(',')
}

/** All at once; where one of them is refused, each alone, of which only those that limits need must succeed. */
function enableSteps(dir: string, controllers: readonly string[], settings: readonly CgroupSetting[]): readonly Step[] {
  const file = 'cgroup.subtree_control'
  const all = controllers.map(each => `+${each}`).join(' ')
  const alone = controllers.map(each => {
    const needed = settings.some(({ controller, file }) => controller === each && file !== OOM_GROUP)
    const why = needed ? `the limits need ${each}` : `offer ${each}`
    return write(dir, file, `+${each}`, why, needed ? {} : { tolerate: 'all' })
  })
  if (alone.length < 2) return alone
  const flow = { tolerate: 'all', skipOnSuccess: alone.length } as const
  return [write(dir, file, all, 'enable the controllers for the cgroups below', flow), ...alone]
}

function write(
  dir: string,
  file: string,
  data: string,
  why: string,
  flow: {
    readonly tolerate?: readonly number[] | 'all'
    readonly skipOnSuccess?: number
    readonly warn?: boolean
  } = {},
): Step {
  return step('write', { dir: null, path: `${dir}/${file}`, data: data === '' ? '\n' : data }, { why, ...flow })
}

function settingSteps(dir: string, { file, value, note, tolerate, orElse }: CgroupSetting): readonly Step[] {
  const why = note === '' ? `set ${file}` : `set ${file}: ${note}`
  if (orElse === undefined) return [write(dir, file, value, why, tolerate === undefined ? {} : { tolerate })]
  return [
    write(dir, file, value, why, { tolerate: [ENOENT], skipOnSuccess: 1 }),
    write(dir, orElse.file, orElse.value, why),
  ]
}

function openDirectory(dir: string, out: Slot): Step {
  return step('open', { path: dir, flags: O_PATH | O_DIRECTORY, mode: 0, out }, 'for clone3 to put the child into')
}

/** v1: the device rules, written before the child joins, so that it never has more than it shall have. */
function listDevices(dir: string, resources: LinuxResources): readonly Step[] {
  const policy = devicePolicy([...(resources.devices ?? []), ...defaultDeviceRules])
  return deviceLines(policy).map(({ file, line }) => write(dir, file, line, 'device rule'))
}

function filterDevices({ location, resources, privileged }: CgroupInput, cgroup: Slot): readonly Step[] {
  if (!isUnified(location)) return []
  const policy = devicePolicy([...(resources.devices ?? []), ...defaultDeviceRules])
  if (policy.allowByDefault && policy.exceptions.length === 0) return []
  // A user without CAP_BPF can't filter; neither can he make or open device nodes that his own rights do not open to him.
  const flow = privileged ? {} : { tolerate: [EPERM], warn: (resources.devices ?? []).length > 0 }
  const why = 'filter access to devices'
  return [step('bpf_device', { program: compilePolicy(policy), cgroup, replace: 0 }, { why, ...flow })]
}

/** Files that a delegatee may write, see /sys/kernel/cgroup/delegate; those that a kernel lacks are passed over. */
const DELEGATED = ['cgroup.procs', 'cgroup.subtree_control', 'cgroup.threads', 'memory.oom.group']

function giveAway({ ownerUid, location }: CgroupInput, dir: string): readonly Step[] {
  if (ownerUid === undefined || !isUnified(location)) return []
  const why = 'the container manages the cgroups below its own'
  const chown = (path: string, tolerate: readonly number[]) =>
    step('chown', { fd: null, path, uid: ownerUid, gid: -1 }, { why, tolerate })
  return [chown(dir, []), ...DELEGATED.map(file => chown(`${dir}/${file}`, [ENOENT]))]
}

function joinByTasks(directory: CgroupDirectory, dir: string, slots: SlotTable): { open: Step; write: Step } {
  const fd = slots.allocate(`tasks of ${name(directory)}`)
  return {
    open: step('open', { path: `${dir}/tasks`, flags: O_WRONLY, mode: 0, out: fd }, 'for the child to join by'),
    write: step('write_fd', { fd, data: '0' }, `join the cgroup in ${name(directory)}`),
  }
}

function removeStep(dir: string): Step {
  return step('unlink', { dir: null, path: dir, flags: AT_REMOVEDIR }, 'remove the cgroup')
}

/** What the joining of a cgroup is composed from. */
export interface CgroupJoinInput {
  readonly location: CgroupLocation
  readonly slots: SlotTable
  /** The container's first process as our PID namespace numbers it, to find it when it has moved down. */
  readonly initPid?: number
  /**
   * `exec --cgroup`: a cgroup below the container's, which must exist; or one per controller (v1 only).
   */
  readonly subPaths?: readonly string[]
}

/**
 * Composes the joining of a running container's cgroup by a further process.
 * @throws {BerthError} invalidArgument for a sub-path with `..`; StepError ENOENT at run time when it does not exist
 */
export function composeCgroupJoin(input: CgroupJoinInput): CgroupComposition {
  const host: Step[] = []
  const child: Step[] = []
  let cloneInto: Slot | null = null
  const subPath = parseSubPaths(input.subPaths ?? [], input.location)
  for (const directory of input.location.directories) {
    const below = subPath(directory)
    if (directory.hierarchy.version === 2) {
      cloneInto = input.slots.allocate('cgroup')
      const dir = below === '' ? joinableDirectory(directory, input.initPid) : `${directory.dir}/${below}`
      host.push(openDirectory(dir, cloneInto))
    } else {
      const join = joinByTasks(directory, below === '' ? directory.dir : `${directory.dir}/${below}`, input.slots)
      host.push(join.open)
      child.push(join.write)
    }
  }
  return { ...NOTHING, location: input.location, host, child, cloneInto }
}

/** `PATH` or `CONTROLLER[,CONTROLLER…]:PATH`, as runc's `exec --cgroup` takes it. */
function parseSubPaths(texts: readonly string[], location: CgroupLocation): (directory: CgroupDirectory) => string {
  const byController = new Map<string, string>()
  for (const text of texts) {
    const colon = text.indexOf(':')
    const path = text.slice(colon + 1).replace(/^\/+|\/+$/g, '')
    if (path.split('/').some(each => each === '..' || each === '.')) {
      throw new BerthError('invalidArgument', `Cannot join cgroup "${text}": it holds "..", expected a path without`)
    }
    if (colon >= 0 && isUnified(location)) {
      throw new BerthError(
        'invalidArgument',
        `Cannot join cgroup "${text}": cgroup v2 has one path for all controllers`,
      )
    }
    for (const controller of colon < 0 ? ['*'] : text.slice(0, colon).split(',')) byController.set(controller, path)
  }
  return ({ hierarchy }) => {
    const named = hierarchy.controllers.find(each => byController.has(each))
    return byController.get(named ?? '*') ?? ''
  }
}
