/**
 * `bun tools/train.ts BERTH DIRECTORY ORDER`: runs the program BERTH as berth-runc does for `run`, in an empty DIRECTORY, and plays the
 * launcher that is its parent, so that no container is made and no privilege needed. Bun writes into the file ORDER what of the
 * program was used; a second `bun build --bytecode-order` lays that out together, so that a start reads less.
 */
import { mkdirSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** Of docs/plan-protocol.md. */
const RECORD = { pid: 1, done: 2, ask: 5 }
const FRAME_BYTES_AT = 4
const ASK_RECORD = 3
/** Far more than it takes; then something is wrong that a test should find, not the build. */
const TIMEOUT_MS = 10_000

function record(kind: number, payload: number | null): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(payload === null ? 12 : 16))
  bytes.setUint32(0, payload === null ? 0 : 4, true)
  bytes.setUint16(4, kind, true)
  if (payload !== null) bytes.setUint32(12, payload, true)
  return new Uint8Array(bytes.buffer)
}

/** What comes from the program, piece by piece; our end of the connection does not block. */
class Incoming {
  readonly #fd: number
  #pending = Buffer.alloc(0)

  constructor(fd: number) {
    this.#fd = fd
  }

  /** The next bytes; fewer only where there are no more to come. */
  async take(byteCount: number): Promise<Buffer> {
    const deadline = performance.now() + TIMEOUT_MS
    const chunk = Buffer.alloc(64 * 1024)
    while (this.#pending.length < byteCount) {
      try {
        const count = readSync(this.#fd, chunk)
        if (count === 0) break
        this.#pending = Buffer.concat([this.#pending, chunk.subarray(0, count)])
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
        if (performance.now() > deadline) throw new Error('Cannot train berth: it does not answer', { cause: error })
        await Bun.sleep(1)
      }
    }
    const taken = this.#pending.subarray(0, byteCount)
    this.#pending = this.#pending.subarray(byteCount)
    return taken
  }

  async takeFrame(): Promise<void> {
    const start = await this.take(FRAME_BYTES_AT + 4)
    await this.take(start.readUInt32LE(FRAME_BYTES_AT) - start.length)
  }
}

async function train(berth: string, directory: string, order: string): Promise<void> {
  mkdirSync(join(directory, 'rootfs'), { recursive: true })
  const program = resolve(berth)
  const config = join(directory, 'config.json')
  Bun.spawnSync([program, 'runtime', 'spec', '--bundle', directory])
  writeFileSync(config, readFileSync(config, 'utf8').replace('"terminal": true', '"terminal": false'))
  const run = ['--launcher', '3', '--root', join(directory, 'state'), 'run', '--bundle', directory, 'trained']
  const child = Bun.spawn([program, ...run], {
    argv0: 'berth-runc',
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
    env: { ...process.env, BUN_JSC_useJIT: '0', BUN_BYTECODE_ORDER_OUT: resolve(order) },
  })
  const [fd] = child.stdio.slice(3)
  if (typeof fd !== 'number') throw new Error('Cannot train berth: no connection to it')
  const incoming = new Incoming(fd)
  // The beginning of the plan, and the rest of it.
  await incoming.takeFrame()
  await incoming.takeFrame()
  writeSync(fd, record(RECORD.pid, process.pid))
  writeSync(fd, record(RECORD.ask, ASK_RECORD))
  await incoming.take(1)
  writeSync(fd, record(RECORD.done, null))
  await incoming.takeFrame()
  if ((await child.exited) !== 0) throw new Error('Cannot train berth: it failed')
}

const [berth = '', directory = '', order = ''] = process.argv.slice(2)
await train(berth, directory, order)
