import { initPath } from '../host/init-path.ts'
import { RecordParser } from '../host/record.ts'
import { BerthError } from '../lib/error.ts'
import { stepError } from '../plan/describe-failure.ts'
import { encodePlan } from '../plan/encode.ts'
import type { Plan } from '../plan/step.ts'
import { printName } from './entry-path.ts'
import { namesPlan, packPlan, type TreeSource } from './pack-plan.ts'
import { type TreeHandler, TreeReader } from './tree-reader.ts'

const RECORD_HEADER_BYTES = 12
const DATA_KIND = 7
/** One run of berth-init lists this many directories: a plan has at most 4,096 steps. */
const NAMES_PER_PLAN = 2000

/** A handler that may become full, and how to empty it. */
export interface TreeSink extends TreeHandler {
  /** Takes what the handler holds; when it resolves, the handler is not full. */
  drain(): Promise<void>
}

/**
 * Reads a tree with a confined berth-init, and tells the sink what is in it. Memory is bounded by the names in one directory and in those
 * above it, which berth-init sorts. A tree that changes meanwhile is read as it is at each moment; nothing outside of it is ever read.
 * @throws {StepError} something could not be read; the message names it
 * @throws {BerthError} cancelled: the process was killed; unavailable: a file is larger than can be said; whatever the sink throws
 */
export async function readTree(source: TreeSource, sink: TreeSink, signal?: AbortSignal): Promise<void> {
  const reader = new TreeReader(sink)
  await runPlan(
    packPlan(source),
    async bytes => {
      for (let at = 0; at < bytes.length; ) {
        try {
          at += reader.push(bytes.subarray(at))
        } catch (error) {
          if (!(error instanceof RangeError)) throw error
          const where = printName(reader.path)
          throw new BerthError('unavailable', `Cannot read the tree behind ${where}: ${error.message}`, {
            cause: error,
          })
        }
        if (sink.isFull) await sink.drain()
      }
    },
    signal,
  )
  if (!reader.isDone) throw new BerthError('cancelled', 'Cannot read the tree: it ended early')
}

/**
 * The names in directories of one tree, made of layers (absolute paths, topmost first), as byte strings in no order.
 * @throws {StepError} one of them can't be read
 */
export async function readNames(
  layers: readonly string[],
  paths: readonly string[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const names = new Map<string, readonly string[]>()
  for (let at = 0; at < paths.length; at += NAMES_PER_PLAN) {
    const part = paths.slice(at, at + NAMES_PER_PLAN)
    const { plan, firstStep } = namesPlan(layers, part)
    const texts = part.map(() => '')
    await runPlan(
      plan,
      async (bytes, stepIndex) => {
        texts[stepIndex - firstStep] += bytes.toString('latin1')
      },
      signal,
    )
    for (const [index, path] of part.entries()) names.set(path, texts[index]?.split('\0').slice(0, -1) ?? [])
  }
  return names
}

/** Runs a plan whose steps send DATA, which is handed over as it comes, with the index of the step that sent it. */
async function runPlan(
  plan: Plan,
  onData: (bytes: Buffer, stepIndex: number) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted()
  const child = Bun.spawn([initPath(), 'plan'], { stdio: ['pipe', 'pipe', 'inherit'], env: {} })
  const cancel = (): void => child.kill('SIGKILL')
  signal?.addEventListener('abort', cancel, { once: true })
  await using _ = {
    [Symbol.asyncDispose]: async () => {
      signal?.removeEventListener('abort', cancel)
      cancel()
      await child.exited
    },
  }
  child.stdin.write(encodePlan(plan))
  await child.stdin.flush()
  const records = new RecordSplitter(onData)
  for await (const chunk of child.stdout) {
    signal?.throwIfAborted()
    await records.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    for (const record of records.others.splice(0)) {
      if (record.kind === 'done') return
      if (record.kind === 'fail') throw stepError(plan, record)
    }
  }
  await child.exited
  signal?.throwIfAborted()
  const how = child.signalCode ?? `status ${child.exitCode}`
  throw new BerthError('cancelled', `Cannot read the tree: berth-init ended early (${how})`)
}

/** Cuts what berth-init says into records; the content of DATA passes through without being collected. */
class RecordSplitter {
  readonly others: ReturnType<RecordParser['push']> = []
  readonly #onData: (bytes: Buffer, stepIndex: number) => Promise<void>
  readonly #parser = new RecordParser()
  #header = Buffer.alloc(RECORD_HEADER_BYTES)
  #have = 0
  #left = 0

  constructor(onData: (bytes: Buffer, stepIndex: number) => Promise<void>) {
    this.#onData = onData
  }

  async push(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const part = chunk.subarray(at, at + this.#left)
        at += part.length
        this.#left -= part.length
        if (this.#header.readUInt16LE(4) === DATA_KIND) await this.#onData(part, this.#header.readUInt32LE(8))
        else this.others.push(...this.#parser.push(part))
        continue
      }
      const part = chunk.subarray(at, at + RECORD_HEADER_BYTES - this.#have)
      part.copy(this.#header, this.#have)
      at += part.length
      this.#have += part.length
      if (this.#have < RECORD_HEADER_BYTES) continue
      this.#have = 0
      this.#left = this.#header.readUInt32LE(0)
      if (this.#header.readUInt16LE(4) !== DATA_KIND) this.others.push(...this.#parser.push(this.#header))
    }
  }
}
