import { initPath } from '../host/init-path.ts'
import { RecordReader } from '../host/launcher.ts'
import { BerthError } from '../lib/error.ts'
import { CAPABILITIES } from '../linux/capabilities.ts'
import {
  MNT_DETACH,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_PRIVATE,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from '../linux/mount-flags.ts'
import { CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS } from '../linux/namespaces.ts'
import { AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, S_IFDIR } from '../linux/open-flags.ts'
import { PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG } from '../linux/prctl.ts'
import { SIGNALS } from '../linux/signals.ts'
import { stepError } from '../plan/describe-failure.ts'
import { encodePlan } from '../plan/encode.ts'
import { SlotTable } from '../plan/slots.ts'
import { hostPlan, type Plan, step } from '../plan/step.ts'
import type { StepError } from '../plan/step-error.ts'

/** What making files of any owner, mode, kind and attribute takes; CAP_SYS_ADMIN is for `trusted.overlay.opaque`. */
const CAPABILITIES_KEPT = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_MKNOD',
  'CAP_SETFCAP',
  'CAP_SYS_ADMIN',
] as const

/**
 * The plan of a process that can reach nothing but `target`, an absolute path of an empty directory:
 * no other file, no network, no way to get more privileges. The entries come over its fd 0.
 */
export function unpackPlan(target: string): Plan {
  const slots = new SlotTable()
  const root = slots.allocate('layer')
  const kept = CAPABILITIES_KEPT.reduce((mask, name) => mask | (1n << BigInt(CAPABILITIES.indexOf(name))), 0n)
  const cloneFlags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW
  const attrs = { set: MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, clear: 0, propagation: MS_PRIVATE }
  const steps = [
    step(
      'prctl',
      { option: PR_SET_PDEATHSIG, arg2: SIGNALS.SIGKILL, arg3: 0, arg4: 0, arg5: 0 },
      'stop unpacking when nobody waits for it any more',
    ),
    step(
      'unshare',
      { flags: CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS },
      'leave the network and the mounts of the host',
    ),
    step(
      'mount_setattr',
      { fd: null, path: '/', flags: AT_RECURSIVE, set: 0, clear: 0, propagation: MS_PRIVATE, userns: null },
      'keep changes of mounts from the host',
    ),
    step('open_tree', { dir: null, path: target, flags: cloneFlags, out: root }, "take the layer's directory"),
    step(
      'check_type',
      { fd: root, type: S_IFDIR, major: -1, minor: -1 },
      "make sure that the layer's directory is one",
    ),
    step(
      'mount_setattr',
      { fd: root, path: '', flags: AT_EMPTY_PATH, ...attrs, userns: null },
      'let nothing of the layer be executed or opened as a device',
    ),
    step(
      'move_mount',
      { from: root, to: null, path: '/', flags: MOVE_MOUNT_F_EMPTY_PATH },
      "attach the layer's directory",
    ),
    step('fchdir', { fd: root }, "stand in the layer's directory"),
    step('pivot_root', { newRoot: '.', putOld: '.' }, 'make it the root'),
    step('umount', { path: '.', flags: MNT_DETACH }, "drop the host's filesystems"),
    step('chdir', { path: '/' }, 'leave no way back'),
    step('cap_bound', { keep: kept }, 'give up what unpacking does not need'),
    step('capset', { effective: kept, permitted: kept, inheritable: 0n }, 'give up what unpacking does not need'),
    step(
      'prctl',
      { option: PR_SET_NO_NEW_PRIVS, arg2: 1, arg3: 0, arg4: 0, arg5: 0 },
      'make sure that it is never had again',
    ),
    step('unpack', { root }, 'unpack the layer'),
  ]
  return hostPlan(steps, slots.count)
}

/** A confined berth-init that unpacks what it is sent. Disposing kills it. */
export class UnpackProcess implements AsyncDisposable {
  readonly #plan: Plan
  readonly #process: Bun.Subprocess<'pipe', 'pipe', 'inherit'>
  /** What the layer takes on the disk, or what went wrong. */
  readonly #outcome: Promise<number | StepError | BerthError>

  /** Starts it for an empty directory; its failures come from the methods. */
  constructor(target: string) {
    this.#plan = unpackPlan(target)
    this.#process = Bun.spawn([initPath(), 'plan'], { stdio: ['pipe', 'pipe', 'inherit'], env: {} })
    this.#outcome = this.#listen()
    this.#process.stdin.write(encodePlan(this.#plan))
  }

  /** Rejects as soon as it fails, as {@link finish} does; never resolves. */
  get failure(): Promise<never> {
    return this.#outcome.then(outcome =>
      typeof outcome === 'number' ? new Promise(() => undefined) : throwIt(outcome),
    )
  }

  /** Hands over encoded entries; resolves when they are in the socket. @throws {BerthError} the process failed: see {@link finish} */
  async send(entries: readonly Uint8Array[]): Promise<void> {
    try {
      // What waits for room in the socket is a promise, whatever the types say; it is rejected when the process dies.
      for (const part of entries) await this.#process.stdin.write(part)
      await this.#process.stdin.flush()
    } catch (error) {
      // EPIPE: it has ended, and its last record says why.
      const outcome = await this.#outcome
      throw typeof outcome === 'number' ? error : outcome
    }
  }

  /**
   * Waits until the last entry, which must have been sent, is unpacked; the bytes that the layer takes on the disk.
   * @throws {StepError} an entry could not be made; the message names it
   * @throws {BerthError} cancelled: the process was killed
   */
  async finish(): Promise<number> {
    const outcome = await this.#outcome
    if (typeof outcome !== 'number') throw outcome
    return outcome
  }

  async #listen(): Promise<number | StepError | BerthError> {
    const reader = new RecordReader(this.#process.stdout)
    let diskBytes = 0
    for (;;) {
      const record = await reader.next()
      if (record?.kind === 'data') diskBytes = diskBytesOf(record.bytes)
      if (record?.kind === 'done') return diskBytes
      if (record?.kind === 'fail') return stepError(this.#plan, record)
      if (record === null) {
        await this.#process.exited
        const how = this.#process.signalCode ?? `status ${this.#process.exitCode}`
        return new BerthError('cancelled', `Cannot unpack the layer: berth-init ended early (${how})`)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#process.exited
    await this.#outcome
  }
}

function throwIt(error: Error): never {
  throw error
}

/** stat(2) counts blocks of this size, whatever the filesystem's own are. */
const STAT_BLOCK_BYTES = 512

function diskBytesOf(record: Uint8Array): number {
  return Number(new DataView(record.buffer, record.byteOffset).getBigUint64(0, true)) * STAT_BLOCK_BYTES
}
