import { closeSync, openSync } from 'node:fs'
import { BerthError, messageOf } from '../lib/error.ts'
import type { Plan } from '../plan/step.ts'
import { initPath } from './init-path.ts'
import { converse, type Launched, type LauncherConnection, type LaunchListener } from './launch-conversation.ts'
import { type Record, RecordParser } from './record.ts'

/** How a launcher's process is connected. An fd number, 'ignore' (/dev/null), or 'inherit'. */
export type LaunchStdio = number | 'ignore'

/** How a launcher is connected to the one who starts it, and whom it tells and asks on its way. */
export interface LaunchOptions extends LaunchListener {
  /** What the container gets as its stdin, stdout and stderr. */
  readonly stdio: readonly [LaunchStdio, LaunchStdio, LaunchStdio]
  /** How many fds from 3 on to hand through (`--preserve-fds`). */
  readonly preservedFds?: number
  /** The launcher stays as a shim: it must not keep the caller's stderr open, or a pipe from the caller would never end. */
  readonly staysAsShim?: boolean
}

/**
 * A berth-init that makes itself ready (it executes itself a second time, see docs/plan-protocol.md) while its plan is still being
 * composed. Disposed before it has one, it is killed: it has done nothing yet.
 */
export class Launcher implements LauncherConnection, AsyncDisposable {
  readonly #process: Bun.Subprocess<'pipe', 'pipe', 'inherit' | 'ignore'>
  #reader: RecordReader | null = null

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

  /** See {@link LauncherConnection}. */
  async send(bytes: Uint8Array): Promise<void> {
    const { stdin } = this.#process
    try {
      stdin.write(bytes)
      const told = stdin.flush()
      // What berth-init does with the plan takes longer than all of ours that is left, so that comes first.
      this.#reader ??= new RecordReader(this.#process.stdout)
      await told
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
    }
  }

  async next(): Promise<Record | null> {
    this.#reader ??= new RecordReader(this.#process.stdout)
    return await this.#reader.next()
  }

  async ended(): Promise<string> {
    await this.#process.exited
    return `${this.#process.signalCode ?? `status ${this.#process.exitCode}`}`
  }

  close(): void {
    this.#process.stdin.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Once it has a plan it is on its own.
    if (this.#reader !== null) return
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
  return await converse(launcher, plan, options)
}

/** Bun leaves an ignored fd beyond stderr closed, and berth-init would take what it opens there for the container's. */
function openNull(): { readonly fd: number } & Disposable {
  const fd = openSync('/dev/null', 'r+')
  return { fd, [Symbol.dispose]: () => closeSync(fd) }
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
