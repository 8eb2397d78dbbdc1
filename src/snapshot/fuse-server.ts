import { mkdir, open, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { initPath } from '../host/init-path.ts'
import { RecordReader } from '../host/launcher.ts'
import { type ProcessIdentity, processIdentity, sameProcess } from '../host/process-identity.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { integer, object, parseJson, required } from '../lib/json-shape.ts'
import { MOVE_MOUNT_F_EMPTY_PATH } from '../linux/mount-flags.ts'
import { parseMountInfo } from '../linux/mountinfo.ts'
import { O_RDWR } from '../linux/open-flags.ts'
import { encodePlan } from '../plan/encode.ts'
import { type Slot, SlotTable, STDERR, STDIN, STDOUT } from '../plan/slots.ts'
import { hostPlan, type Plan, type Step, step } from '../plan/step.ts'
import { dropPrivileges, leaveHost, takeTree } from './confined-plan.ts'
import type { RootIds } from './snapshot-driver.ts'

/** In a container's directory: where the server has its mounts, which nobody else sees. */
export const FUSE_MOUNTS = 'fuse'
/** A link to the server's mount namespace. */
export const FUSE_NAMESPACE = 'fuse.namespace'
/** The process of the server: pid and start time. */
const RECORD = 'fuse.json'
/** What the server says. */
const LOG = 'fuse.log'
const SHOWN_LOG_BYTES = 400

/** The number under which the server finds the connection to the kernel that berth-init has mounted. */
const FUSE_FD = 3
/** A server that was killed is gone when the kernel has aborted what it was doing. */
const END_DEADLINE_MS = 10_000
const END_POLL_MS = 5

const count = required(integer(0, Number.MAX_SAFE_INTEGER))
const identity = object<ProcessIdentity>({ pid: count, startTicks: count })

/** What a server serves: an overlay of layers with the container's own upper directory. */
export interface FuseOverlay {
  /** Absolute path of the container's directory, in which `upper` and `work` are. */
  readonly directory: string
  /** Absolute, topmost first. */
  readonly lowers: readonly string[]
  readonly ids: RootIds | null
}

/**
 * The plan of a process that becomes fuse-overlayfs: in a mount namespace of its own it attaches the layers, idmapped, and the filesystem
 * that it will serve, gives up what it does not need, and executes the program, which is the host's and never looked up in a container.
 */
export function fuseServerPlan(program: string, { directory, lowers, ids }: FuseOverlay): Plan {
  const slots = new SlotTable()
  const userns = ids === null ? null : slots.allocate('user namespace')
  const mounts = join(directory, FUSE_MOUNTS)
  const map = ids === null ? '' : `0 ${ids.start} ${ids.size}\n`
  const steps = [
    step('setsid', {}, 'outlive the terminal of the caller'),
    ...leaveHost('leave the network of the host, and make mounts that it does not see'),
    ...mountAt(slots, 'tmpfs', ['mode=0700'], mounts),
    ...(userns === null
      ? []
      : [step('userns', { uidMap: map, gidMap: map, out: userns }, "make the container's ids to map to")]),
    ...lowers.flatMap((path, index) => attachLayer(slots, path, join(mounts, String(index)), userns)),
    ...serve(slots, join(mounts, 'root')),
    step('chdir', { path: directory }, 'so that options need no long paths'),
    ...dropPrivileges('writing'),
    ...[STDIN, STDOUT, STDERR].map((slot, target) =>
      step('dup2', { fd: slot, target }, 'connect it to nothing but its log'),
    ),
    step('execve', { paths: [program], argv: arguments_(lowers), env: [] }, 'become the server'),
  ]
  return hostPlan(steps, slots.count)
}

function arguments_(lowers: readonly string[]): readonly string[] {
  const lowerdir = lowers.map((_, index) => `${FUSE_MOUNTS}/${index}`).join(':')
  return ['fuse-overlayfs', '-f', '-o', `lowerdir=${lowerdir},upperdir=upper,workdir=work`, `/dev/fd/${FUSE_FD}`]
}

function mountAt(slots: SlotTable, fstype: string, options: readonly string[], path: string): readonly Step[] {
  const out = slots.allocate(fstype)
  return [
    step('mount_fs', { fstype, source: 'fuse-overlayfs', options, attrs: 0, out }, `mount the ${fstype}`),
    step('move_mount', { from: out, to: null, path, flags: MOVE_MOUNT_F_EMPTY_PATH }, `attach the ${fstype}`),
  ]
}

function attachLayer(slots: SlotTable, path: string, target: string, userns: Slot | null): readonly Step[] {
  const layer = slots.allocate(`layer ${target}`)
  return [
    ...takeTree(path, layer, { readonly: true, userns }, 'a layer'),
    step('mkdir', { dir: null, path: target, mode: 0o700 }, "make the layer's place"),
    step('move_mount', { from: layer, to: null, path: target, flags: MOVE_MOUNT_F_EMPTY_PATH }, 'attach the layer'),
  ]
}

/** The kernel ends the connection, and with it the server, when the last mount of it is gone, however that comes about. */
function serve(slots: SlotTable, target: string): readonly Step[] {
  const device = slots.allocate('connection')
  const options = [
    `fd=${FUSE_FD}`,
    'rootmode=40000',
    'user_id=0',
    'group_id=0',
    // The kernel decides by owner and mode, and lets others than the server's user in.
    'default_permissions',
    'allow_other',
  ]
  return [
    step('open', { path: '/dev/fuse', flags: O_RDWR, mode: 0, out: device }, 'open a connection to the kernel'),
    step('dup2', { fd: device, target: FUSE_FD }, 'under the number that the server is told'),
    step('close', { fd: device }, 'once'),
    step('mkdir', { dir: null, path: target, mode: 0o700 }, 'make the place of what is served'),
    ...mountAt(slots, 'fuse', options, target),
  ]
}

/**
 * Starts the server of a container, unless it runs. When it resolves the filesystem is mounted, in a namespace of its own, and answers.
 * It is on record before it does anything, so that `endFuseServer` finds it whoever gets killed.
 * @throws {StepError} a system call failed; {BerthError} unavailable: fuse-overlayfs is not installed or does not serve
 */
export async function startFuseServer(overlay: FuseOverlay): Promise<void> {
  const { directory } = overlay
  const known = await readRecord(directory)
  if (known !== null && sameProcess(known)) {
    if (await isWaiting(directory, known.pid)) return
    // What it served was taken, and is about to end with the container that took it: it is nobody's to take again.
    await untilEnded(known)
  }
  await endFuseServer(directory)
  const plan = fuseServerPlan(fuseProgram(), overlay)
  await mkdir(join(directory, FUSE_MOUNTS), { mode: 0o700 })
  await using log = await open(join(directory, LOG), 'w', 0o600)
  const child = Bun.spawn([initPath(), 'plan'], {
    stdio: ['pipe', 'pipe', 'ignore', log.fd, log.fd, log.fd],
    env: {},
  })
  try {
    const self = processIdentity(child.pid)
    if (self === null) throw new BerthError('unavailable', 'Cannot start fuse-overlayfs: berth-init ended early')
    await writeFile(join(directory, RECORD), `${JSON.stringify(self)}\n`, { mode: 0o600 })
    await symlink(`/proc/${child.pid}/ns/mnt`, join(directory, FUSE_NAMESPACE))
    child.stdin.write(encodePlan(plan))
    await child.stdin.end()
    await untilExecuted(new RecordReader(child.stdout), plan)
    await untilServing(directory, child.pid)
    // Not before: Bun 1.4.5 would stop reading the pipe.
    child.unref()
  } catch (error) {
    child.kill('SIGKILL')
    await child.exited
    throw error
  }
}

/** @throws {BerthError} unavailable: not installed */
export function fuseProgram(): string {
  const path = Bun.which('fuse-overlayfs')
  if (path !== null) return path
  throw new BerthError('unavailable', 'Cannot start fuse-overlayfs: it is not installed, expected it in $PATH')
}

/** The end of the records without a failure is the execve itself: fd 1 is replaced before. */
async function untilExecuted(reader: RecordReader, plan: Plan): Promise<void> {
  for (;;) {
    const record = await reader.next()
    if (record === null) return
    if (record.kind === 'fail') throw (await import('../plan/describe-failure.ts')).stepError(plan, record)
  }
}

/** Asking for the root waits for the server's first answer, or for the end of its connection. */
async function untilServing(directory: string, pid: number): Promise<void> {
  try {
    await stat(join(`/proc/${pid}/root`, directory, FUSE_MOUNTS, 'root'))
  } catch (cause) {
    const lines = (await readFile(join(directory, LOG), 'utf8')).split('\n')
    // Version 1.10 says this of an option that it sets itself.
    const said = lines.filter(line => !line.startsWith('unknown argument ignored:')).join('\n')
    throw new BerthError(
      'unavailable',
      `Cannot use fuse-overlayfs: ${said.slice(-SHOWN_LOG_BYTES).trim() || `it ended early (${messageOf(cause)})`}`,
      {
        cause,
      },
    )
  }
}

/** Ends the server of a container, if it runs, and removes its traces. Idempotent. @throws {BerthError} unavailable: it does not end */
export async function endFuseServer(directory: string): Promise<void> {
  const server = await readRecord(directory)
  if (server !== null && sameProcess(server)) {
    process.kill(server.pid, 'SIGKILL')
    await untilEnded(server)
  }
  for (const name of [FUSE_NAMESPACE, LOG, RECORD]) await rm(join(directory, name), { force: true })
  await rm(join(directory, FUSE_MOUNTS), { recursive: true, force: true })
}

/** Whether what it serves is still mounted where it mounted it. */
async function isWaiting(directory: string, pid: number): Promise<boolean> {
  return parseMountInfo(await mountsOf(pid)).some(
    ({ mountPoint }) => mountPoint === join(directory, FUSE_MOUNTS, 'root'),
  )
}

/** None of a process that is ending. */
async function mountsOf(pid: number): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/mountinfo`, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EINVAL' || code === 'ENOENT' || code === 'ESRCH') return ''
    throw error
  }
}

async function untilEnded(server: ProcessIdentity): Promise<void> {
  const deadline = performance.now() + END_DEADLINE_MS
  while (sameProcess(server)) {
    if (performance.now() > deadline)
      throw new BerthError('unavailable', `Cannot end fuse-overlayfs: process ${server.pid} does not end`)
    await Bun.sleep(END_POLL_MS)
  }
}

async function readRecord(directory: string): Promise<ProcessIdentity | null> {
  const path = join(directory, RECORD)
  try {
    const text = await readFile(path, 'utf8')
    // Cut short by a crash: the server had no plan yet, and ended with who would have sent it.
    return text.endsWith('\n') ? parseJson(text, path, identity).value : null
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}
