import { BerthError } from '../lib/error.ts'
import { encodePlan } from '../plan/encode.ts'
import { hostPlan, type Plan, type Step } from '../plan/step.ts'
import { initPath } from './init-path.ts'
import { RecordReader } from './launcher.ts'

/** What a batch of steps gave back. */
export interface HelperResult {
  /** The bytes of the steps that return some (`read`, netlink dumps), in order. */
  readonly data: readonly Uint8Array[]
}

/**
 * A berth-init that executes single steps for TypeScript: the door to what Bun can't do itself.
 * Slots stay open from batch to batch. Batches run one after another.
 */
export class Helper implements AsyncDisposable {
  readonly #process: Bun.Subprocess<'pipe', 'pipe', 'inherit'>
  readonly #reader: RecordReader
  #tail: Promise<unknown> = Promise.resolve()

  constructor() {
    this.#process = Bun.spawn([initPath(), 'helper'], { stdio: ['pipe', 'pipe', 'inherit'], env: {} })
    this.#reader = new RecordReader(this.#process.stdout)
  }

  /** Its process, as seen here. */
  get pid(): number {
    return this.#process.pid
  }

  /**
   * Runs host steps in order; the steps before a failing one have taken effect.
   * @throws {StepError} a step failed
   * @throws {BerthError} unavailable: the helper died
   */
  run(steps: readonly Step[], slotCount = 256): Promise<HelperResult> {
    const result = this.#tail.then(() => this.#exchange(hostPlan(steps, slotCount)))
    this.#tail = result.catch(() => undefined)
    return result
  }

  async #exchange(plan: Plan): Promise<HelperResult> {
    this.#process.stdin.write(encodePlan(plan))
    await this.#process.stdin.flush()
    const data: Uint8Array[] = []
    for (;;) {
      const record = await this.#reader.next()
      if (record === null) throw new BerthError('unavailable', 'Cannot run steps: the helper process ended')
      if (record.kind === 'done') return { data }
      if (record.kind === 'fail') throw (await import('../plan/describe-failure.ts')).stepError(plan, record)
      if (record.kind === 'data') data.push(record.bytes)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stdin.end()
    await this.#process.exited
  }
}

/** Runs host steps in a helper made for them. See {@link Helper.run}. */
export async function runSteps(steps: readonly Step[], slotCount = 256): Promise<HelperResult> {
  await using helper = new Helper()
  return await helper.run(steps, slotCount)
}
