import { availableParallelism } from 'node:os'
import { BerthError, invariant } from '../lib/error.ts'
import { gzipMember } from './gzip-member.ts'

/** Cutting costs three parts in a thousand of the size, and some blocks are held for each thread. */
const BLOCK_BYTES = 256 * 1024
/** Each takes some 10 MiB; four of them compress as much as one packer can give them. */
const THREADS_LIMIT = 4
/** Of each thread: one that it works on and one that waits, so that it never does. */
const BLOCKS_PER_THREAD = 2

/** The compiled program has it as an entry point beside `cli/main.ts`: see tools/build. */
const WORKER = import.meta.dir.startsWith('/$bunfs')
  ? '/$bunfs/root/snapshot/gzip-worker.js'
  : new URL('./gzip-worker.ts', import.meta.url)

/** Where bytes go; resolves when there is room for more. */
export type ByteWriter = (bytes: Uint8Array) => Promise<void>

/**
 * Compresses with gzip on all processors: each block of 256 KiB becomes a member of its own (RFC 1952, section 2.2), as the seekable
 * layer formats have them. The result depends on nothing but the input and the version of libdeflate: not on the pieces, the
 * processors or the time. Disposing ends its threads.
 */
export class BlockGzip implements Disposable {
  readonly #write: ByteWriter
  readonly #threads: Thread[] = []
  readonly #pending: Promise<Uint8Array>[] = []
  readonly #limit = Math.min(availableParallelism(), THREADS_LIMIT)
  #block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
  #have = 0
  #blockCount = 0

  constructor(write: ByteWriter) {
    this.#write = write
  }

  /** Compresses more. The bytes are copied. @throws whatever writing throws */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      // Only now is it known that there is more than one block, and that threads are worth their start.
      if (this.#have === BLOCK_BYTES) await this.#handOver()
      const part = bytes.subarray(at, at + BLOCK_BYTES - this.#have)
      this.#block.set(part, this.#have)
      this.#have += part.length
      at += part.length
    }
  }

  /** Ends the stream; resolves when all of it is written. */
  async finish(): Promise<void> {
    if (this.#blockCount === 0) await this.#write(gzipMember(this.#block.subarray(0, this.#have)))
    else if (this.#have > 0) await this.#handOver()
    while (this.#pending.length > 0) await this.#next()
    this[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    for (const thread of this.#threads.splice(0)) thread.end()
  }

  async #handOver(): Promise<void> {
    const thread = this.#threads[this.#blockCount % this.#limit] ?? new Thread()
    if (this.#threads.length < this.#limit) this.#threads.push(thread)
    const member = thread.compress(this.#block.subarray(0, this.#have))
    // It is awaited later; a failure before that must not count as unhandled.
    member.catch(() => undefined)
    this.#pending.push(member)
    this.#blockCount++
    this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
    this.#have = 0
    if (this.#pending.length >= this.#limit * BLOCKS_PER_THREAD) await this.#next()
  }

  async #next(): Promise<void> {
    const next = await this.#pending.shift()
    if (next !== undefined) await this.#write(next)
  }
}

/**
 * A worker, which answers in the order in which it is asked. Not a process as for unpacking: nothing in a block can make compressing it
 * fail or grow.
 */
class Thread {
  readonly #worker = new Worker(WORKER)
  readonly #asked: PromiseWithResolvers<Uint8Array>[] = []

  constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<Uint8Array>) => {
      const asked = this.#asked.shift()
      invariant(asked !== undefined, 'an answer has a question')
      asked.resolve(data)
    }
    this.#worker.onerror = ({ message }) => this.#fail(new BerthError('internal', `Cannot compress: ${message}`))
  }

  /** Takes the block over. */
  compress(block: Buffer<ArrayBuffer>): Promise<Uint8Array> {
    const asked = Promise.withResolvers<Uint8Array>()
    this.#asked.push(asked)
    this.#worker.postMessage(block, [block.buffer])
    return asked.promise
  }

  end(): void {
    this.#worker.terminate()
    this.#fail(new BerthError('cancelled', 'Cannot compress: it was ended'))
  }

  #fail(error: BerthError): void {
    for (const asked of this.#asked.splice(0)) asked.reject(error)
  }
}
