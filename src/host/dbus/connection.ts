import { connect, type Socket } from 'node:net'
import { BerthError } from '../../lib/error.ts'
import {
  type DbusMessage,
  decodeMessage,
  ERROR,
  encodeMessage,
  METHOD_CALL,
  METHOD_RETURN,
  messageLength,
  SIGNAL,
} from './message.ts'

/** A method call. */
export interface DbusCall {
  readonly destination: string
  readonly path: string
  readonly interface: string
  readonly member: string
  readonly signature?: string
  readonly body?: readonly unknown[]
}

/** The other side answered with an error. */
export class DbusError extends BerthError {
  override readonly name = 'DbusError'
  /** Such as `org.freedesktop.systemd1.UnitExists`. */
  readonly errorName: string

  constructor(call: DbusCall, errorName: string, text: string) {
    super('unavailable', `Cannot call ${call.interface}.${call.member}: ${text || errorName}`)
    this.errorName = errorName
  }
}

/** How long a call may take. */
const CALL_TIMEOUT_MS = 30_000

/** Where the system bus listens, and where the bus of a user does. Source: D-Bus specification › Well-known Message Bus Instances. */
export function busPath(bus: 'system' | 'user', environment: Readonly<Record<string, string | undefined>>): string {
  const runtime = environment['XDG_RUNTIME_DIR']
  const address =
    bus === 'system'
      ? (environment['DBUS_SYSTEM_BUS_ADDRESS'] ?? 'unix:path=/run/dbus/system_bus_socket')
      : (environment['DBUS_SESSION_BUS_ADDRESS'] ?? (runtime === undefined ? '' : `unix:path=${runtime}/bus`))
  const path = /(?:^|;)unix:(?:[^;]*,)?path=([^;,]+)/.exec(address)?.[1]
  if (path === undefined || !path.startsWith('/')) {
    throw new BerthError(
      'unavailable',
      `Cannot reach the ${bus} bus at "${address}": no usable address, expected unix:path=…`,
    )
  }
  return decodeURIComponent(path)
}

interface Waiting {
  readonly call: DbusCall
  readonly resolve: (body: readonly unknown[]) => void
  readonly reject: (error: Error) => void
  readonly timer: Timer
}

/**
 * A client of a message bus: calls, and signals after {@link DbusConnection.subscribe}. No fd passing, no exported objects.
 */
export class DbusConnection implements Disposable {
  readonly #socket: Socket
  readonly #waiting = new Map<number, Waiting>()
  readonly #listeners = new Set<(signal: DbusMessage) => void>()
  #serial = 0
  #pending: Buffer = Buffer.alloc(0)

  private constructor(socket: Socket, rest: Buffer) {
    this.#socket = socket
    socket.on('data', chunk => this.#receive(Buffer.from(chunk)))
    socket.on('error', error => this.#end(error))
    socket.on('close', () => this.#end(new Error('the bus closed the connection')))
    this.#receive(rest)
  }

  /** Connects and authenticates as our uid (SASL EXTERNAL). @throws {BerthError} unavailable, forbidden */
  static async open(path: string): Promise<DbusConnection> {
    const { socket, rest } = await authenticate(path)
    const connection = new DbusConnection(socket, rest)
    await connection.call(busCall('Hello'))
    return connection
  }

  /** Calls a method and gives the values it returned. @throws {DbusError} */
  call(call: DbusCall): Promise<readonly unknown[]> {
    const serial = ++this.#serial
    const { promise, resolve, reject } = Promise.withResolvers<readonly unknown[]>()
    const late = () => {
      this.#waiting.delete(serial)
      reject(
        new BerthError(
          'unavailable',
          `Cannot call ${call.interface}.${call.member}: no answer in ${CALL_TIMEOUT_MS} ms`,
        ),
      )
    }
    this.#waiting.set(serial, { call, resolve, reject, timer: setTimeout(late, CALL_TIMEOUT_MS) })
    this.#socket.write(encodeMessage({ type: METHOD_CALL, serial, ...call, body: call.body ?? [] }))
    return promise
  }

  /** Listens to the signals that a match rule selects; the result stops it. */
  async subscribe(rule: string, listener: (signal: DbusMessage) => void): Promise<Disposable> {
    this.#listeners.add(listener)
    await this.call({ ...busCall('AddMatch'), signature: 's', body: [rule] })
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  #receive(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    try {
      for (let length = messageLength(this.#pending); length !== null && this.#pending.length >= length; ) {
        this.#dispatch(decodeMessage(this.#pending.subarray(0, length)))
        this.#pending = this.#pending.subarray(length)
        length = messageLength(this.#pending)
      }
    } catch (error) {
      this.#end(error instanceof Error ? error : new Error(String(error)))
      this.#socket.destroy()
    }
  }

  #dispatch(message: DbusMessage): void {
    if (message.type === SIGNAL) for (const listener of this.#listeners) listener(message)
    const serial = message.replySerial ?? 0
    const waiting = this.#waiting.get(serial)
    if (waiting === undefined) return
    this.#waiting.delete(serial)
    clearTimeout(waiting.timer)
    if (message.type === METHOD_RETURN) waiting.resolve(message.body)
    if (message.type === ERROR) {
      waiting.reject(new DbusError(waiting.call, message.errorName ?? '', String(message.body[0] ?? '')))
    }
  }

  #end(cause: Error): void {
    for (const { call, reject, timer } of this.#waiting.values()) {
      clearTimeout(timer)
      reject(new BerthError('unavailable', `Cannot call ${call.interface}.${call.member}: ${cause.message}`, { cause }))
    }
    this.#waiting.clear()
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }
}

function busCall(member: string): DbusCall {
  const name = 'org.freedesktop.DBus'
  return { destination: name, path: '/org/freedesktop/DBus', interface: name, member }
}

/** The dialogue before the first message: `\0AUTH EXTERNAL <uid in hex>` → `OK` → `BEGIN`. */
async function authenticate(path: string): Promise<{ socket: Socket; rest: Buffer }> {
  const socket = connect(path)
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  let received: Buffer = Buffer.alloc(0)
  const fail = (state: string, cause?: unknown) =>
    reject(new BerthError('unavailable', `Cannot reach the bus at "${path}": ${state}`, { cause }))
  const onData = (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
    const end = received.indexOf('\r\n')
    if (end < 0) return
    const line = received.toString('latin1', 0, end)
    if (line.startsWith('OK ')) resolve(received.subarray(end + 2))
    else fail(`it answered ${line}`)
  }
  const onError = (error: Error) => fail(error.message, error)
  const onClose = () => fail('it closed the connection')
  socket.on('data', onData).on('error', onError).on('close', onClose)
  socket.once('connect', () => {
    const uid = Buffer.from(String(process.geteuid?.() ?? 0)).toString('hex')
    socket.write(`\0AUTH EXTERNAL ${uid}\r\n`)
  })
  try {
    const rest = await promise
    socket.off('data', onData).off('error', onError).off('close', onClose)
    socket.write('BEGIN\r\n')
    return { socket, rest }
  } catch (error) {
    socket.destroy()
    throw error
  }
}
