import { closeSync, readSync, writeSync } from 'node:fs'
import { encodePlan } from '../plan/encode.ts'
import { hostPlan, type Plan } from '../plan/step.ts'
import type { LauncherConnection } from './launch-conversation.ts'
import { type Record, RecordParser } from './record.ts'

/** Long enough for all records of a plan that goes well. */
const CHUNK_BYTES = 4096

/**
 * The launcher that is our parent: `berth-runc run` is a berth-init that has started us for the plan (docs/plan-protocol.md, "Mode
 * run"). It holds the signals that come for us until the container runs, and then passes them on.
 *
 * Reads block: while it works there is nothing else for us to do.
 */
export class GivenLauncher implements LauncherConnection, AsyncDisposable {
  readonly #fd: number
  readonly #parser = new RecordParser()
  #queue: Record[] = []
  #isOpen = true
  #hasPlan = false
  #hasBeginning = false

  constructor(fd: number) {
    this.#fd = fd
  }

  get pid(): number {
    return process.ppid
  }

  /** See {@link LauncherConnection}. */
  async begin(plan: Plan): Promise<void> {
    this.#write(encodePlan(plan))
    this.#hasBeginning = true
  }

  /** See {@link LauncherConnection}. */
  async send(bytes: Uint8Array): Promise<void> {
    this.#hasPlan = true
    this.#write(bytes)
  }

  #write(bytes: Uint8Array): void {
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at)
    } catch (error) {
      // The beginning has failed meanwhile. The launcher itself can't be gone: we are killed with it.
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
    }
  }

  async next(): Promise<Record | null> {
    const buffer = new Uint8Array(CHUNK_BYTES)
    for (;;) {
      const record = this.#queue.shift()
      if (record !== undefined) return record
      const count = this.#read(buffer)
      if (count === 0) return null
      this.#queue = this.#parser.push(buffer.subarray(0, count))
    }
  }

  #read(buffer: Uint8Array): number {
    try {
      return readSync(this.#fd, buffer)
    } catch (error) {
      // After all that it had to say: it has ended the connection and not read what we sent last.
      if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') return 0
      throw error
    }
  }

  async ended(): Promise<string> {
    return 'it closed its connection'
  }

  close(): void {
    if (this.#isOpen) closeSync(this.#fd)
    this.#isOpen = false
  }

  /** Without a plan it only waits for our end, and passes signals on to us meanwhile; what it has begun it undoes before. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#hasPlan) return
    if (this.#hasBeginning) {
      this.#write(encodePlan(hostPlan([], 0)))
      while ((await this.next()) !== null);
    }
    this.close()
  }
}
