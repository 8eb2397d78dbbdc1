import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { BerthError } from '../lib/error.ts'
import {
  frameHeader,
  type LayerFacts,
  type LayerJob,
  type LayerReport,
  parseLayerReport,
  UnpackError,
} from './layer-job.ts'
import { LAYER_WORKER_ARGUMENT } from './layer-worker-argument.ts'

/**
 * Each unpacks with about two cores (decompressing, and parsing with hashing; berth-init writes meanwhile), and one more than
 * the cores are keeps them busy while another waits for the disk; above four it is the disk that is waited for.
 */
export const UNPACK_CONCURRENCY: number = Math.min(4, Math.max(2, availableParallelism()))

/** Long enough for the next layer of the same image to come, short enough to give the memory back. */
const IDLE_MS = 100
/** The longest line: an error that names a path. */
const LINE_LIMIT_BYTES = 64 * 1024

/**
 * Unpacks a layer in another process. Waits while {@link UNPACK_CONCURRENCY} layers are being unpacked; `open` is called after that.
 * When it throws, the process and what it started are dead.
 * @throws {BerthError} what the process found wrong; unavailable: it could not be started; cancelled: it died
 * @throws whatever reading the blob throws; the reason of `signal`
 */
export async function unpackElsewhere(
  job: LayerJob,
  open: () => AsyncIterable<Uint8Array>,
  options: { readonly warn: (message: string) => void; readonly signal: AbortSignal | undefined },
): Promise<LayerFacts> {
  const { signal } = options
  const free = await takeTurn(signal)
  try {
    signal?.throwIfAborted()
    const worker = idle.pop() ?? new LayerWorker()
    let isReusable = false
    try {
      const facts = await worker.unpack(job, open(), options)
      isReusable = true
      return facts
    } finally {
      if (isReusable) keep(worker)
      else await worker.kill()
    }
  } finally {
    free()
  }
}

/** JavaScriptCore's last compiler takes longer than the code it makes saves on a layer: a fifth of the time of 50,000 small files. */
const WORKER_ENVIRONMENT = { BUN_JSC_useFTLJIT: '0' }

/** Of all stores of this process: what they share are the machine's cores. */
const idle: LayerWorker[] = []
const waiting: (() => void)[] = []
let busyCount = 0

async function takeTurn(signal: AbortSignal | undefined): Promise<() => void> {
  if (busyCount >= UNPACK_CONCURRENCY) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const abort = (): void => {
      const index = waiting.indexOf(resolve)
      // Its turn has come already; who is aborted then gives it on.
      if (index < 0) return
      waiting.splice(index, 1)
      reject(signal?.reason)
    }
    signal?.throwIfAborted()
    signal?.addEventListener('abort', abort, { once: true })
    waiting.push(resolve)
    await promise
    signal?.removeEventListener('abort', abort)
  } else busyCount++
  return () => {
    const next = waiting.shift()
    if (next === undefined) busyCount--
    else next()
  }
}

function keep(worker: LayerWorker): void {
  idle.push(worker)
  const end = setTimeout(() => {
    const index = idle.indexOf(worker)
    // It is unpacking; when it has, the next timer comes.
    if (index < 0) return
    idle.splice(index, 1)
    worker.end()
  }, IDLE_MS)
  end.unref()
}

/** The compiled program is one of its commands; from source, Bun runs the module. */
function workerCommand(): string[] {
  if (import.meta.dir.startsWith('/$bunfs')) return [process.execPath, LAYER_WORKER_ARGUMENT]
  const module = JSON.stringify(join(import.meta.dir, 'layer-worker.ts'))
  return [process.execPath, '-e', `process.exit(await (await import(${module})).runLayerWorker())`]
}

/** A process that unpacks one layer at a time: see layer-job.ts. */
class LayerWorker {
  readonly #process: Bun.Subprocess<'pipe', 'pipe', 'inherit'>
  readonly #lines: AsyncGenerator<string>

  constructor() {
    try {
      // From `/`, as Bun would load a bunfig.toml of the working directory; in a session of its own, so that a terminal's
      // Ctrl-C goes to who wants the layer and decides what that means.
      const options = { env: WORKER_ENVIRONMENT, cwd: '/', detached: true }
      this.#process = Bun.spawn(workerCommand(), { stdio: ['pipe', 'pipe', 'inherit'], ...options })
    } catch (cause) {
      throw new BerthError('unavailable', 'Cannot unpack the layer: no process can be started for it', { cause })
    }
    // Who has its layers may end; an end of its stdin ends this one too.
    this.#process.unref()
    this.#lines = linesOf(this.#process.stdout)
  }

  async unpack(
    job: LayerJob,
    blob: AsyncIterable<Uint8Array>,
    { warn, signal }: { readonly warn: (message: string) => void; readonly signal: AbortSignal | undefined },
  ): Promise<LayerFacts> {
    const interruption = new Interruption()
    const abort = (): void => interruption.fail(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    this.#process.ref()
    const outcome = this.#outcome(warn)
    outcome.catch(error => interruption.fail(error))
    try {
      await interruption.race(this.#send(Buffer.from(JSON.stringify(job))))
      await feed(blob, interruption, piece => this.#send(piece))
      await interruption.race(this.#send(new Uint8Array(0)))
      return await interruption.race(outcome)
    } catch (error) {
      // EPIPE: it has ended, and what it said last says why.
      throw (error as NodeJS.ErrnoException).code === 'EPIPE' ? await reasonOf(outcome, error) : error
    } finally {
      signal?.removeEventListener('abort', abort)
      this.#process.unref()
    }
  }

  /** Hands over one frame; resolves when it is in the socket. */
  async #send(bytes: Uint8Array): Promise<void> {
    // What waits for room in the socket is a promise, whatever the types say; it is rejected when the process dies.
    await this.#process.stdin.write(frameHeader(bytes.length))
    if (bytes.length > 0) await this.#process.stdin.write(bytes)
    await this.#process.stdin.flush()
  }

  async #outcome(warn: (message: string) => void): Promise<LayerFacts> {
    for (;;) {
      const { done, value } = await this.#lines.next()
      if (done === true) {
        await this.#process.exited
        const how = this.#process.signalCode ?? `status ${this.#process.exitCode}`
        throw new BerthError('cancelled', `Cannot unpack the layer: the process that unpacked it ended early (${how})`)
      }
      const report: LayerReport = parseLayerReport(value)
      if (report.kind === 'warn') warn(report.message)
      else if (report.kind === 'done') return report.facts
      else throw new UnpackError(report.category, report.message, report.errno ?? null)
    }
  }

  /** Lets it end: it has nothing to do. */
  end(): void {
    void this.#process.stdin.end()
  }

  /** Ends it, and berth-init, which dies with it. */
  async kill(): Promise<void> {
    // Waited for like any other: with nothing else left to do this process would end, as if all were well.
    this.#process.ref()
    this.#process.kill('SIGKILL')
    await this.#process.exited
  }
}

async function reasonOf(outcome: Promise<unknown>, otherwise: unknown): Promise<unknown> {
  return await outcome.then(
    () => otherwise,
    (error: unknown) => error,
  )
}

/** Lets one failure end whatever is waited for at that moment. A race with one long-lived promise would leave something behind each time. */
class Interruption {
  #reason: { readonly error: unknown } | null = null
  #reject: ((error: unknown) => void) | null = null

  fail(error: unknown): void {
    this.#reason ??= { error }
    this.#reject?.(error)
  }

  race<T>(awaited: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#reject = reject
      if (this.#reason !== null) reject(this.#reason.error)
      awaited.then(resolve, reject)
    })
  }
}

/** Gives the pieces of a blob to `send`, until they end or there is an interruption, be it while the next one is waited for. */
async function feed(
  blob: AsyncIterable<Uint8Array>,
  interruption: Interruption,
  send: (piece: Uint8Array) => Promise<void>,
): Promise<void> {
  const pieces = blob[Symbol.asyncIterator]()
  let isWaiting = false
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    isWaiting = true
    const result = await pieces.next()
    isWaiting = false
    return result
  }
  try {
    for (;;) {
      const { done, value } = await interruption.race(next())
      if (done === true) return
      // A piece of 0 bytes would be the end.
      if (value.length > 0) await interruption.race(send(value))
    }
  } catch (error) {
    const returned = pieces.return?.()
    // What still waits, for a network perhaps, has its own signal; its failure is not news.
    if (isWaiting) returned?.catch(() => undefined)
    else await returned
    throw error
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > LINE_LIMIT_BYTES)
      throw new BerthError('internal', 'Cannot read the report about a layer: too long')
    yield* lines
  }
}
