import { BerthError, messageOf } from '../lib/error.ts'
import { encodePlan } from '../plan/encode.ts'
import type { Plan } from '../plan/step.ts'
import { StepError, type StepFailure } from '../plan/step-error.ts'
import { initPath } from './init-path.ts'
import { type Record, RecordParser } from './record.ts'

/** How a launcher's process is connected. An fd number, 'ignore' (/dev/null), or 'inherit'. */
export type LaunchStdio = number | 'ignore'

export interface LaunchOptions {
  /** What the container gets as its stdin, stdout and stderr. */
  readonly stdio: readonly [LaunchStdio, LaunchStdio, LaunchStdio]
  /** How many fds from 3 on to hand through (`--preserve-fds`). */
  readonly preservedFds?: number
  /** Told as soon as the container's process exists, while it is still being set up. */
  readonly onPid?: (pid: number) => void
  /** Answers the plan's `ask` steps; the launcher goes on when it resolves and fails when it rejects. */
  readonly onAsk?: (tag: number, pid: number) => Promise<void>
}

/** A container (or exec) process that exists, with its environment complete. */
export interface Launched {
  /** Process id of the container's process as seen here. */
  readonly pid: number
  /** The launcher's own process id: the shim's, if the plan ends with `serve`. */
  readonly launcherPid: number
  readonly warnings: readonly StepFailure[]
  /** The wait status of the container's process, for plans that end with `wait_child` or `serve`; null when it broke. */
  readonly exited: Promise<number | null>
}

/**
 * Runs a plan with `clone` in a launcher of its own. When it resolves, every step before `execve` or `wait_start` has taken effect.
 * On throw nothing is left: the child is dead and the undo stage has run, unless the launcher itself was killed
 * (category cancelled), when the caller runs the undo stage.
 * @throws {StepError} a step failed
 * @throws {BerthError} cancelled: the launcher died; the rejection of `onAsk`
 */
export async function launch(plan: Plan, options: LaunchOptions): Promise<Launched> {
  const preserved = Array.from({ length: options.preservedFds ?? 0 }, (_, index) => 3 + index)
  const process_ = Bun.spawn([initPath(), 'plan'], {
    stdio: ['pipe', 'pipe', 'inherit', ...options.stdio, ...preserved],
    env: {},
  })
  const reader = new RecordReader(process_.stdout)
  process_.stdin.write(encodePlan(plan))
  await process_.stdin.flush()
  let pid = 0
  const warnings: StepFailure[] = []
  for (;;) {
    const record = await reader.next()
    switch (record?.kind) {
      case undefined:
        throw new BerthError(
          'cancelled',
          `Cannot start the container: berth-init ended early (${await endOf(process_)})`,
        )
      case 'pid':
        pid = record.pid
        options.onPid?.(pid)
        break
      case 'warn':
        warnings.push(record)
        break
      case 'ask':
        await answer(process_.stdin, record.tag, pid, options, plan, reader)
        break
      case 'fail':
        await process_.exited
        throw new StepError(plan, record)
      case 'done':
        return { pid, launcherPid: process_.pid, warnings, exited: exitOf(reader, process_.stdin) }
    }
  }
}

interface ByteSink {
  write(bytes: Uint8Array): unknown
  flush(): unknown
  end(): unknown
}

const ECANCELED = 125

async function answer(
  stdin: ByteSink,
  tag: number,
  pid: number,
  options: LaunchOptions,
  plan: Plan,
  reader: RecordReader,
): Promise<void> {
  try {
    if (options.onAsk === undefined) throw new BerthError('internal', `Cannot answer question ${tag} of the plan`)
    await options.onAsk(tag, pid)
    stdin.write(Uint8Array.of(0))
    await stdin.flush()
  } catch (error) {
    stdin.write(Uint8Array.of(ECANCELED))
    await stdin.flush()
    // The launcher undoes what it did before its FAIL record arrives, so that the caller finds nothing left.
    while ((await reader.next()) !== null);
    throw error instanceof BerthError ? error : new BerthError('internal', messageOf(error), { cause: [error, plan] })
  }
}

async function exitOf(reader: RecordReader, stdin: ByteSink): Promise<number | null> {
  for (;;) {
    const record = await reader.next()
    if (record === null || record.kind === 'exit') {
      stdin.end()
      return record?.waitStatus ?? null
    }
  }
}

async function endOf(process_: Bun.Subprocess): Promise<string> {
  await process_.exited
  return `${process_.signalCode ?? `status ${process_.exitCode}`}`
}

/** Records of a byte stream, one at a time. */
export class RecordReader {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #parser = new RecordParser()
  #queue: Record[] = []

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#chunks = stream[Symbol.asyncIterator]()
  }

  /** The next record; null at end of file. */
  async next(): Promise<Record | null> {
    for (;;) {
      const record = this.#queue.shift()
      if (record !== undefined) return record
      const chunk = await this.#chunks.next()
      if (chunk.done === true) return null
      this.#queue = this.#parser.push(chunk.value)
    }
  }
}
