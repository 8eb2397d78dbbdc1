import { initPath } from '../host/init-path.ts'
import { RecordReader } from '../host/launcher.ts'
import { BerthError } from '../lib/error.ts'
import { stepError } from '../plan/describe-failure.ts'
import { encodePlan } from '../plan/encode.ts'
import { SlotTable } from '../plan/slots.ts'
import { hostPlan, type Plan, step } from '../plan/step.ts'
import type { StepError } from '../plan/step-error.ts'
import { dieWithParent, dropPrivileges, enterTree, leaveHost, takeTree } from './confined-plan.ts'

/**
 * The plan of a process that can reach nothing but `target`, an absolute path of an empty directory:
 * no other file, no network, no way to get more privileges. The entries come over its fd 0.
 */
export function unpackPlan(target: string): Plan {
  const slots = new SlotTable()
  const root = slots.allocate('layer')
  const steps = [
    dieWithParent('stop unpacking when nobody waits for it any more'),
    ...leaveHost('leave the network and the mounts of the host'),
    ...takeTree(target, root, { readonly: false }, "the layer's directory"),
    ...enterTree(root),
    ...dropPrivileges('writing'),
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
