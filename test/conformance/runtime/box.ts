/** A container's bundle and the commands on it, for one test of one runtime. */

import {
  chownSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { formatJson } from '../../../src/lib/json-shape.ts'
import { defaultSpec } from '../../../src/oci/default-spec.ts'
import type { Hooks, Mount, Process, Root, RuntimeSpec } from '../../../src/oci/runtime-spec.ts'
import type { Linux } from '../../../src/oci/runtime-spec-linux.ts'
import type { Runtime } from './harness.ts'
import { leftoversOf } from './leftovers.ts'
import { makeRootfs } from './rootfs.ts'

/** How a command ended and what it said. */
export interface Outcome {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** What a test's config has other than the box's own: properties replace, mounts are added. */
export interface Change {
  readonly ociVersion?: string
  readonly process?: Partial<Process>
  readonly root?: Partial<Root>
  readonly hostname?: string
  readonly domainname?: string
  readonly mounts?: readonly Mount[]
  readonly hooks?: Hooks
  readonly annotations?: Readonly<Record<string, string>>
  readonly linux?: Partial<Linux>
}

/** The state document. */
export interface State {
  readonly ociVersion: string
  readonly id: string
  readonly status: string
  readonly pid?: number
  readonly bundle: string
  readonly annotations?: Readonly<Record<string, string>>
}

const DEADLINE_MS = 10_000
const POLL_MS = 5
/** In the environment of each container, so that its processes can be found wherever they are. */
const MARK = 'CONFORMANCE_ID'

let count = 0

/** See harness.ts. */
export class Box {
  readonly runtime: Runtime
  /** The container's id, and what every further one begins with. */
  readonly id: string
  /** The bundle; anything may be put there, it goes with the test. */
  readonly bundle: string
  readonly rootfs: string
  readonly #stateRoot: string
  #enclosure: readonly string[] = []
  readonly #made = new Set<string>()
  readonly #probes: Bun.Subprocess[] = []

  constructor(runtime: Runtime, base: string) {
    this.runtime = runtime
    count += 1
    this.id = `cf${process.pid}x${count}`
    this.bundle = join(base, this.id)
    this.rootfs = join(this.bundle, 'rootfs')
    this.#stateRoot = join(this.bundle, 'state')
    mkdirSync(this.bundle)
    makeRootfs(this.rootfs, base)
  }

  /** A path in the bundle. */
  path(name: string): string {
    return join(this.bundle, name)
  }

  /** The config of a container that runs `args`, or a shell script. */
  spec(program: string | readonly string[], change: Change = {}): RuntimeSpec {
    const spec = defaultSpec()
    const args = typeof program === 'string' ? ['sh', '-c', program] : program
    const env = ['PATH=/bin', `${MARK}=${this.id}`]
    const linux = { ...spec.linux, cgroupsPath: `/${this.id}`, ...change.linux }
    return {
      ...spec,
      // The newest that runc 1.1 takes; what came later is not tied to it.
      ociVersion: '1.0.2',
      ...change,
      root: { path: 'rootfs', ...change.root },
      process: {
        ...spec.process,
        cwd: '/',
        terminal: false,
        args,
        ...change.process,
        env: [...env, ...(change.process?.env ?? [])],
      },
      mounts: [...(spec.mounts ?? []), ...(change.mounts ?? [])],
      linux,
    }
  }

  /** A config as the text of config.json. */
  text(program: string | readonly string[], change: Change = {}): string {
    return formatJson(this.spec(program, change))
  }

  /** Makes the root of a user namespace the owner of the root filesystem's directories. */
  giveTo(hostId: number): void {
    for (const name of ['.', ...readdirSync(this.rootfs, { recursive: true, encoding: 'utf8' })]) {
      const path = join(this.rootfs, name)
      if (lstatSync(path).isDirectory()) chownSync(path, hostId, hostId)
    }
  }

  /** Writes config.json. */
  write(spec: RuntimeSpec | string): void {
    writeFileSync(this.path('config.json'), typeof spec === 'string' ? spec : formatJson(spec))
  }

  /** Has every command run by this shell script, as "$@", in a mount namespace of its own whose mounts nobody else sees. */
  enclose(script: string): void {
    this.#enclosure = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh']
  }

  /** The command line of a runtime's command. */
  command(...args: readonly string[]): string[] {
    return [...this.#enclosure, ...this.runtime.command, '--root', this.#stateRoot, ...args]
  }

  /** Runs a command of the runtime to its end. */
  async cli(args: readonly string[], stdin = ''): Promise<Outcome> {
    const child = this.spawn(args, stdin)
    const [stdout, stderr, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    return { status, stdout, stderr }
  }

  /** Starts a command of the runtime. */
  spawn(args: readonly string[], stdin = ''): Bun.Subprocess<Uint8Array, 'pipe', 'pipe'> {
    const options = {
      stdin: new TextEncoder().encode(stdin),
      stdout: 'pipe',
      stderr: 'pipe',
      cwd: this.bundle,
    } as const
    return Bun.spawn(this.command(...args), options)
  }

  /** `run` in the foreground: the script's output and exit status. */
  async run(program: string | readonly string[], change: Change = {}, stdin = ''): Promise<Outcome> {
    this.write(this.spec(program, change))
    this.#made.add(this.id)
    return await this.cli(['run', '--bundle', this.bundle, this.id], stdin)
  }

  /** What a script says inside a container; it must succeed. */
  async see(program: string | readonly string[], change: Change = {}): Promise<string> {
    const { status, stdout, stderr } = await this.run(program, change)
    if (status !== 0 || stderr !== '') throw new Error(`exit status ${status}: ${stdout}${stderr}`)
    return stdout.trimEnd()
  }

  /** What the runtime says when it refuses a config; it must. */
  async refusal(program: string | readonly string[] | RuntimeSpec, change: Change = {}): Promise<string> {
    const isSpec = typeof program === 'object' && !Array.isArray(program)
    const spec = isSpec ? (program as RuntimeSpec) : this.spec(program as string | readonly string[], change)
    this.write(spec)
    const { status, stderr } = await this.create()
    if (status === 0) throw new Error('the config was accepted')
    return stderr
  }

  /** `create` with the config that was written; the container's output goes to a file, see `output()`. */
  async create(options: readonly string[] = [], id = this.id): Promise<Outcome> {
    this.#made.add(id)
    const said = this.path(`${id}.log`)
    const files = [openSync(this.path(`${id}.out`), 'w'), openSync(said, 'w')] as const
    try {
      const stdio = ['ignore', files[0], files[1]] as const
      const child = Bun.spawn(this.command('create', ...options, '--bundle', this.bundle, id), {
        stdio: [...stdio],
        cwd: this.bundle,
      })
      const status = await child.exited
      return { status, stdout: '', stderr: readFileSync(said, 'utf8') }
    } finally {
      for (const fd of files) closeSync(fd)
    }
  }

  /** Creates a container, which must succeed. */
  async created(program: string | readonly string[], change: Change = {}): Promise<State> {
    this.write(this.spec(program, change))
    const { status, stderr } = await this.create()
    if (status !== 0) throw new Error(`create: ${stderr}`)
    return await this.state()
  }

  /** Creates a container and starts it. */
  async started(program: string | readonly string[] = ['sleep', '1000'], change: Change = {}): Promise<State> {
    await this.created(program, change)
    await this.ok('start', this.id)
    return await this.state()
  }

  /** Runs a command that must succeed, and returns its output. */
  async ok(...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.cli(args)
    if (status !== 0) throw new Error(`${args.join(' ')}: exit status ${status}: ${stderr}`)
    return stdout
  }

  /** Runs a command that must fail, and returns what it says. */
  async fails(...args: readonly string[]): Promise<string> {
    const { status, stderr } = await this.cli(args)
    if (status === 0) throw new Error(`${args.join(' ')}: exit status 0`)
    return stderr
  }

  async state(id = this.id): Promise<State> {
    return JSON.parse(await this.ok('state', id))
  }

  /** Waits for a state. */
  async until(status: string): Promise<void> {
    await poll(async () => (await this.state()).status === status, `status ${status}`)
  }

  /** What a container made by `create` has written so far. */
  output(id = this.id): string {
    return readFileSync(this.path(`${id}.out`), 'utf8')
  }

  /** Starts the probe on the host as an agent or a console, and waits until it listens. `rest()`: what it says until it ends. */
  async probe(...args: readonly string[]): Promise<{ rest(): Promise<string> }> {
    const child = Bun.spawn([join(this.rootfs, 'bin/probe'), ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#probes.push(child)
    let said = ''
    const text = child.stdout.pipeThrough(new TextDecoderStream())
    const reader = text.getReader()
    const more = async () => {
      const { value, done } = await reader.read()
      said += value ?? ''
      return !done
    }
    while (!said.startsWith('ready\n')) if (!(await more())) throw new Error(`the probe ended: ${said}`)
    return {
      async rest() {
        while (await more());
        return said.slice('ready\n'.length)
      },
    }
  }

  /** Deletes the containers, then all files. */
  async remove(): Promise<void> {
    this.#enclosure = []
    for (const probe of this.#probes) probe.kill('SIGKILL')
    for (const id of this.#made) {
      // runc gives up on a cgroup that is still emptying, and succeeds the next time.
      const gone = async () => (await this.cli(['delete', '--force', id])).status === 0
      await poll(gone, `delete --force ${id}`)
    }
    rmSync(this.bundle, { recursive: true, force: true })
  }

  /** @throws Error naming what the containers have left on the machine. */
  async expectNothingLeft(): Promise<void> {
    let left: readonly string[] = []
    await poll(
      () => {
        left = leftoversOf(this.id, `${MARK}=${this.id}`)
        return left.length === 0
      },
      'nothing left behind',
      () => left.join('\n'),
    )
  }
}

/** Asks until the answer is true. */
export async function poll(ask: () => boolean | Promise<boolean>, what: string, detail = () => ''): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  while (!(await ask())) {
    if (performance.now() > deadline) throw new Error(`not so after ${DEADLINE_MS} ms: ${what} ${detail()}`)
    await Bun.sleep(POLL_MS)
  }
}

/** Shell: waits until a path exists, 5 seconds at most, and fails if it never does. */
export function waitFor(path: string): string {
  return `for i_ in $(seq 250); do [ -e "${path}" ] && break; sleep 0.02; done; [ -e "${path}" ]`
}
