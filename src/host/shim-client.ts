import { BerthError, messageOf } from '../lib/error.ts'
import {
  CLIENT_FRAME,
  encodeAttach,
  encodeResize,
  encodeShimFrame,
  encodeSignal,
  encodeStdin,
  SHIM_FRAME,
  type ShimFrame,
  ShimFrameParser,
} from './shim-frame.ts'
import { shortPath } from './unix-socket.ts'

/** Where a container's output goes. While a returned promise is pending nothing more is read, so that the container waits. */
export interface ShimHandlers {
  readonly onStdout?: (bytes: Uint8Array) => void | Promise<void>
  readonly onStderr?: (bytes: Uint8Array) => void | Promise<void>
}

/** How a container's process ended; `code` is 128 + signal when `signal` is not 0. */
export interface ShimExit {
  readonly code: number
  readonly signal: number
}

type UnixSocket = Bun.Socket<undefined>

interface Outgoing {
  bytes: Uint8Array
  readonly sent: () => void
  readonly failed: (error: BerthError) => void
}

/**
 * Connects to a container's shim. The protocol is docs/shim-protocol.md.
 * @throws {BerthError} unavailable: nobody listens at `socketPath`, which after a container's end is the usual case
 */
export async function connectShim(socketPath: string, handlers: ShimHandlers = {}): Promise<ShimConnection> {
  const connection = new ShimConnection(socketPath, handlers)
  try {
    using short = shortPath(socketPath)
    await Bun.connect({
      unix: short.path,
      socket: {
        open: socket => connection.opened(socket),
        data: (_, chunk) => connection.received(chunk),
        drain: () => connection.drained(),
        end: () => connection.closed(),
        close: () => connection.closed(),
        error: (_, error) => connection.closed(error),
      },
    })
    return connection
  } catch (error) {
    throw new BerthError('unavailable', `Cannot connect to shim "${socketPath}": ${messageOf(error)}`, { cause: error })
  }
}

/** One client of a shim. Frames are delivered in order, one handler at a time. */
export class ShimConnection implements Disposable {
  /**
   * Resolves when the container has ended, after all output this client was sent has been handled.
   * Rejects with BerthError unavailable when the connection breaks before, and with what a handler threw.
   */
  readonly exited: Promise<ShimExit>
  readonly #exit = Promise.withResolvers<ShimExit>()
  readonly #socketPath: string
  readonly #handlers: ShimHandlers
  readonly #parser = new ShimFrameParser()
  #socket: UnixSocket | null = null
  #incoming: ShimFrame[] = []
  #delivering = false
  #outgoing: Outgoing[] = []
  #attaching: PromiseWithResolvers<void>[] = []
  #end: BerthError | 'exited' | null = null
  /** The connection is closed, but frames that came before may not be delivered yet. */
  #broken: BerthError | null = null

  /** Use {@link connectShim}. */
  constructor(socketPath: string, handlers: ShimHandlers) {
    this.#socketPath = socketPath
    this.#handlers = handlers
    this.exited = this.#exit.promise
    // Whoever only sends a signal need not look at it.
    this.exited.catch(() => {})
  }

  /**
   * Asks for output; resolves when all output from here on is sent to this client. May be repeated with other streams.
   * @throws {BerthError} conflict: the container ended first; unavailable: the connection broke first
   */
  attach(streams: { readonly stdout: boolean; readonly stderr: boolean }): Promise<void> {
    const attaching = Promise.withResolvers<void>()
    this.#attaching.push(attaching)
    this.#send(encodeAttach(streams)).catch(attaching.reject)
    return attaching.promise
  }

  /**
   * Writes to the container's stdin; resolves when the kernel has taken the bytes, which waits for a container that does not read.
   * @throws {BerthError} conflict: the container has ended; unavailable: the connection broke
   */
  async write(bytes: Uint8Array): Promise<void> {
    await Promise.all(encodeStdin(bytes).map(frame => this.#send(frame)))
  }

  /** Ends the container's stdin for all clients, after what was written before. With a terminal nothing happens. */
  closeStdin(): Promise<void> {
    return this.#send(encodeShimFrame(CLIENT_FRAME.closeStdin))
  }

  /** Sets the terminal's size. @throws {BerthError} invalidArgument, conflict and unavailable as {@link write} */
  async resize(rows: number, columns: number): Promise<void> {
    await this.#send(encodeResize(rows, columns))
  }

  /** Sends a signal to the container's process. @throws {BerthError} invalidArgument, conflict and unavailable as {@link write} */
  async signal(signal: number): Promise<void> {
    await this.#send(encodeSignal(signal))
  }

  /** Closes the connection; the container goes on. */
  close(): void {
    this.#finish(this.#unavailable('closed by this side'))
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Called by {@link connectShim}'s socket. */
  opened(socket: UnixSocket): void {
    this.#socket = socket
  }

  /** Called by {@link connectShim}'s socket. */
  received(chunk: Uint8Array): void {
    if (this.#end !== null) return
    try {
      this.#incoming.push(...this.#parser.push(chunk))
    } catch (error) {
      this.#finish(this.#unavailable(messageOf(error)))
      return
    }
    this.#deliver().catch(error => {
      this.#exit.reject(error)
      this.#finish(this.#unavailable(messageOf(error)))
    })
  }

  /** Called by {@link connectShim}'s socket: it takes bytes again. */
  drained(): void {
    const socket = this.#socket
    while (socket !== null && this.#end === null) {
      const first = this.#outgoing[0]
      if (first === undefined) return
      const written = Math.max(0, socket.write(first.bytes))
      if (written < first.bytes.length) {
        first.bytes = first.bytes.subarray(written)
        return
      }
      this.#outgoing.shift()
      first.sent()
    }
  }

  /** Called by {@link connectShim}'s socket. */
  closed(error?: Error): void {
    this.#broken ??= this.#unavailable(error === undefined ? 'the connection was closed' : error.message)
    if (!this.#delivering) this.#finish(this.#broken)
  }

  #send(bytes: Uint8Array): Promise<void> {
    const error = this.#endError() ?? this.#broken
    if (error !== null) return Promise.reject(error)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#outgoing.push({ bytes, sent: resolve, failed: reject })
    if (this.#outgoing.length === 1) this.drained()
    return promise
  }

  async #deliver(): Promise<void> {
    if (this.#delivering) return
    this.#delivering = true
    for (let frame = this.#incoming.shift(); frame !== undefined; frame = this.#incoming.shift()) {
      const handled = this.#handle(frame)
      if (handled === undefined) continue
      this.#socket?.pause()
      await handled
      if (this.#incoming.length === 0 && this.#end === null) this.#socket?.resume()
    }
    this.#delivering = false
    if (this.#broken !== null) this.#finish(this.#broken)
  }

  #handle(frame: ShimFrame): void | Promise<void> {
    switch (frame.type) {
      case SHIM_FRAME.stdout:
        return this.#handlers.onStdout?.(frame.payload)
      case SHIM_FRAME.stderr:
        return this.#handlers.onStderr?.(frame.payload)
      case SHIM_FRAME.attached:
        this.#attaching.shift()?.resolve()
        return
      case SHIM_FRAME.exit: {
        if (frame.payload.length !== 8) throw new RangeError(`EXIT of ${frame.payload.length} bytes`)
        const view = new DataView(frame.payload.buffer, frame.payload.byteOffset, frame.payload.byteLength)
        this.#exit.resolve({ code: view.getUint32(0, true), signal: view.getUint32(4, true) })
        this.#finish('exited')
        return
      }
      default:
        throw new RangeError(`frame of type ${frame.type}`)
    }
  }

  #finish(end: BerthError | 'exited'): void {
    if (this.#end !== null) return
    this.#end = end
    this.#socket?.end()
    const error = this.#endError() ?? this.#unavailable('it has ended')
    if (end !== 'exited') this.#exit.reject(end)
    for (const outgoing of this.#outgoing.splice(0)) outgoing.failed(error)
    for (const attaching of this.#attaching.splice(0)) attaching.reject(error)
    this.#incoming = []
  }

  #endError(): BerthError | null {
    if (this.#end !== 'exited') return this.#end
    return new BerthError('conflict', `Cannot talk to container of shim "${this.#socketPath}": it has ended`)
  }

  #unavailable(reason: string): BerthError {
    return new BerthError('unavailable', `Cannot talk to shim "${this.#socketPath}": ${reason}`)
  }
}
