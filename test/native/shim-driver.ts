/** Compiles and runs test/native/shim-driver.c: a shim with a child of its own, in a temporary directory. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectShim, type ShimConnection } from '../../src/host/shim-client.ts'

const ROOT = join(import.meta.dir, '../..')
const FLAGS = ['-Wall', '-Wextra', '-Werror', '-Wswitch-enum', '-Wshadow', '-Wvla', '-std=gnu11']
const SOURCES = ['native/shim.c', 'native/shim-client.c', 'native/shim-log.c', 'test/native/shim-driver.c']

/** How a driver is built. */
export const BUILDS = {
  static: ['-Os', '-static'],
  sanitized: ['-g', '-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-static-libasan'],
} as const

/** Compiles the driver to `path`; throws with the compiler's words. */
export function compileDriver(path: string, build: keyof typeof BUILDS): void {
  const { exitCode, stderr } = Bun.spawnSync(['cc', ...FLAGS, ...BUILDS[build], '-o', path, ...SOURCES], { cwd: ROOT })
  if (exitCode !== 0) throw new Error(stderr.toString())
}

/** What a driver is asked for; the log is off unless `maxBytes` is given. */
export interface DriverOptions {
  readonly stdio?: 'pipe' | 'pty' | 'null' | 'late'
  readonly maxBytes?: number
  readonly maxFiles?: number
  /** A shell command that runs first, in a mount namespace of the driver's own; `$LOG` is the log's directory. */
  readonly prepare?: string
}

/** A running shim. Disposing kills it and its child. */
export class Driver implements AsyncDisposable {
  readonly directory: string
  readonly process: Bun.Subprocess<'pipe', 'pipe', 'pipe'>
  readonly #stderr: Promise<string>

  private constructor(directory: string, argv: readonly string[]) {
    this.directory = directory
    this.process = Bun.spawn([...argv], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, LOG: directory } })
    this.#stderr = new Response(this.process.stderr).text()
  }

  /** Starts `argv` under the shim program `binary`; resolves when its socket listens. */
  static async start(binary: string, options: DriverOptions, argv: readonly string[]): Promise<Driver> {
    const directory = mkdtempSync(join(tmpdir(), 'berth-shim-'))
    const log = options.maxBytes === undefined ? '-' : directory
    const numbers = [String(options.maxBytes ?? 0), String(options.maxFiles ?? 1)]
    // The socket and the exit record stay visible when `prepare` mounts over the log's directory: they are beside it.
    mkdirSync(`${directory}.exit`)
    const shim = [binary, options.stdio ?? 'pipe', `${directory}.sock`, log, ...numbers, `${directory}.exit`, ...argv]
    const wrapped = options.prepare && ['unshare', '-m', 'sh', '-ec', `${options.prepare}; exec "$@"`, 'sh', ...shim]
    const driver = new Driver(directory, wrapped || shim)
    const reader = driver.process.stdout.getReader()
    const { value } = await reader.read()
    if (value === undefined) throw new Error(`the driver did not start: ${await driver.#stderr}`)
    return driver
  }

  get socketPath(): string {
    return `${this.directory}.sock`
  }

  connect(handlers = {}): Promise<ShimConnection> {
    return connectShim(this.socketPath, handlers)
  }

  /** The text of the log, or of a rotated one, as the driver's own mount namespace shows it while it runs; '' when there is none. */
  log(suffix = ''): string {
    const root = this.process.exitCode === null ? `/proc/${this.process.pid}/root` : ''
    return read(`${root}${this.directory}/log${suffix}`)
  }

  exitRecord(): string {
    return readFileSync(`${this.directory}.exit/exit`, 'utf8')
  }

  /** The shim's children. */
  children(): number[] {
    return this.process.exitCode === null && this.process.signalCode === null ? childrenOf(this.process.pid) : []
  }

  /** Waits for the shim itself and returns its exit code and what a sanitizer said. */
  async ended(): Promise<{ code: number; stderr: string }> {
    return { code: await this.process.exited, stderr: await this.#stderr }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of this.children()) kill(pid)
    this.process.kill('SIGKILL')
    await this.process.exited
    for (const suffix of ['', '.sock', '.exit']) rmSync(this.directory + suffix, { recursive: true, force: true })
  }
}

function childrenOf(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).trim()
  return children === '' ? [] : children.split(' ').map(Number)
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // A process that has just ended has no children and waits for nothing; a log may not be there yet.
    return ''
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // ESRCH: already ended, which is what was wanted.
  }
}

/** Whether the container is held back: its process, or a child of it, waits for room in a pipe. */
export function waitsInWrite(driver: Driver): boolean {
  const direct = driver.children()
  return [...direct, ...direct.flatMap(childrenOf)].some(pid => /pipe_write/.test(read(`/proc/${pid}/wchan`)))
}

/** A connection without the client of src/host, to send it what that client would not. */
export async function rawClient(socketPath: string): Promise<Socket> {
  const socket = connect(socketPath)
  // A reset is one of the ways in which the shim may end it; what counts is that it is closed.
  socket.on('error', () => {})
  await new Promise(resolve => socket.once('connect', resolve))
  return socket
}

/** Polls until `condition` holds; throws after ten seconds, saying what was waited for. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`timed out waiting for ${what}`)
    await Bun.sleep(2)
  }
}

/** Collects a stream as text. */
export class Collected {
  #bytes: Uint8Array[] = []

  readonly add = (bytes: Uint8Array): void => {
    this.#bytes.push(bytes)
  }

  get text(): string {
    return Buffer.concat(this.#bytes).toString()
  }
}
