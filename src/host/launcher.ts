import { closeSync, openSync } from 'node:fs'
import { ECANCELED } from '../lib/errno.ts'
import { BerthError, messageOf } from '../lib/error.ts'
import { encodePlan } from '../plan/encode.ts'
import type { Plan } from '../plan/step.ts'
import type { StepFailure } from '../plan/step-error.ts'
import { initPath } from './init-path.ts'
import { type Record, RecordParser } from './record.ts'

/** How a launcher's process is connected. An fd number, 'ignore' (/dev/null), or 'inherit'. */
export type LaunchStdio = number | 'ignore'

/** How a launcher is connected to the one who starts it, and whom it tells and asks on its way. */
export interface LaunchOptions {
  /** What the container gets as its stdin, stdout and stderr. */
  readonly stdio: readonly [LaunchStdio, LaunchStdio, LaunchStdio]
  /** How many fds from 3 on to hand through (`--preserve-fds`). */
  readonly preservedFds?: number
  /** The launcher stays as a shim: it must not keep the caller's stderr open, or a pipe from the caller would never end. */
  readonly staysAsShim?: boolean
  /** Told as soon as the container's process exists, while it is set up. What it throws is the answer to the plan's next `ask`. */
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
 * A berth-init that makes itself ready (it executes itself a second time, see docs/plan-protocol.md) while its plan is still being
 * composed. Disposed before it has one, it is killed: it has done nothing yet.
 */
export class Launcher implements AsyncDisposable {
  readonly #process: Bun.Subprocess<'pipe', 'pipe', 'inherit' | 'ignore'>
  #hasPlan = false

  constructor({ stdio, preservedFds = 0, staysAsShim = false }: LaunchOptions) {
    using nothing = openNull()
    try {
      this.#process = Bun.spawn([initPath(), 'plan'], {
        stdio: [
          'pipe',
          'pipe',
          staysAsShim ? 'ignore' : 'inherit',
          // Bun 1.4.5 takes a plain 0 here for "whatever fd has this index in us": its own epoll fd would become the container's stdin.
          ...stdio.map(each => (each === 'ignore' ? nothing.fd : each === 0 ? Bun.file(0) : each)),
          ...Array.from({ length: preservedFds }, (_, index) => 3 + index),
        ],
        env: {},
      })
    } catch (error) {
      throw new BerthError('unavailable', `Cannot start berth-init: ${messageOf(error)}`, { cause: error })
    }
  }

  get pid(): number {
    return this.#process.pid
  }

  /** Runs the launcher's one plan. See {@link launch}. */
  async run(plan: Plan, options: Pick<LaunchOptions, 'onPid' | 'onAsk'>): Promise<Launched> {
    const { stdin } = this.#process
    const frame = encodePlan(plan)
    this.#hasPlan = true
    const told = tell(stdin, frame)
    // What berth-init does with the plan takes longer than all of ours that is left, so that comes first.
    const reader = new RecordReader(this.#process.stdout)
    await told
    let pid = 0
    let refusal: unknown = null
    const warnings: StepFailure[] = []
    for (;;) {
      const record = await reader.next()
      switch (record?.kind) {
        case undefined:
          throw new BerthError(
            'cancelled',
            `Cannot start the container: berth-init ended early (${await endOf(this.#process)})`,
          )
        case 'pid':
          pid = record.pid
          try {
            options.onPid?.(pid)
          } catch (error) {
            // The plan may have failed meanwhile, and its undo may be why; if it has not, its next question is refused.
            refusal = error
          }
          break
        case 'warn':
          warnings.push(record)
          break
        case 'ask':
          await answer(stdin, record.tag, pid, refusal === null ? options : refusing(refusal), plan, reader)
          break
        case 'fail':
          await this.#process.exited
          throw (await import('../plan/describe-failure.ts')).stepError(plan, record)
        case 'done':
          if (refusal !== null) throw refusal
          return { pid, launcherPid: this.#process.pid, warnings, exited: exitOf(reader, stdin) }
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#hasPlan) return
    this.#process.kill('SIGKILL')
    await this.#process.exited
  }
}

/**
 * Runs a plan with `clone` in a launcher of its own. When it resolves, every step before `execve` or `wait_start` has taken effect.
 * On throw nothing is left: the child is dead and the undo stage has run, unless the launcher itself was killed
 * (category cancelled), when the caller runs the undo stage.
 * @throws {StepError} a step failed
 * @throws {BerthError} cancelled: the launcher died; the rejection of `onAsk`
 */
export async function launch(plan: Plan, options: LaunchOptions): Promise<Launched> {
  await using launcher = new Launcher(options)
  return await launcher.run(plan, options)
}

/** Bun leaves an ignored fd beyond stderr closed, and berth-init would take what it opens there for the container's. */
function openNull(): { readonly fd: number } & Disposable {
  const fd = openSync('/dev/null', 'r+')
  return { fd, [Symbol.dispose]: () => closeSync(fd) }
}

function refusing(refusal: unknown): Pick<LaunchOptions, 'onAsk'> {
  return { onAsk: () => Promise.reject(refusal) }
}

interface ByteSink {
  write(bytes: Uint8Array): unknown
  flush(): unknown
  end(): unknown
}

/** EPIPE: the launcher is dead, which the end of its records says better. */
async function tell(stdin: ByteSink, bytes: Uint8Array): Promise<void> {
  try {
    stdin.write(bytes)
    await stdin.flush()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
  }
}

async function answer(
  stdin: ByteSink,
  tag: number,
  pid: number,
  options: Pick<LaunchOptions, 'onAsk'>,
  plan: Plan,
  reader: RecordReader,
): Promise<void> {
  try {
    if (options.onAsk === undefined) throw new BerthError('internal', `Cannot answer question ${tag} of the plan`)
    await options.onAsk(tag, pid)
    await tell(stdin, Uint8Array.of(0))
  } catch (error) {
    await tell(stdin, Uint8Array.of(ECANCELED))
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
