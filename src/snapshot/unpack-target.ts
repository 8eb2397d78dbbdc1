import { EntryEncoder, type EntrySink } from './entry-encoder.ts'
import { UnpackProcess } from './unpack-process.ts'

/** What a layer becomes: a place for its entries. Disposing gives up what is not finished. */
export interface UnpackTarget extends AsyncDisposable {
  readonly sink: EntrySink
  /** Rejects as soon as something fails; never resolves. */
  readonly failure: Promise<never>
  /** A pause of the sink: what it was lent may change afterwards. */
  advance(): Promise<void>
  /** After the last entry; the bytes that the layer takes on the disk. */
  finish(): Promise<number>
}

/** Enough to keep berth-init busy, little enough to hold. */
const SEND_BYTES = 256 * 1024

/** An empty directory, by its absolute path, which a confined berth-init fills. Errors: see {@link UnpackProcess}. */
export class DirectoryTarget implements UnpackTarget {
  readonly sink: EntryEncoder = new EntryEncoder()
  readonly #process: UnpackProcess

  constructor(path: string) {
    this.#process = new UnpackProcess(path)
  }

  get failure(): Promise<never> {
    return this.#process.failure
  }

  async advance(): Promise<void> {
    if (this.sink.length >= SEND_BYTES) await this.#process.send(this.sink.take())
  }

  async finish(): Promise<number> {
    await this.#process.send(this.sink.take())
    return await this.#process.finish()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]()
  }
}
