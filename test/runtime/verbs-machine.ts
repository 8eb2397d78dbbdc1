/** A scratch place with a busybox root filesystem, and the runtime's command line run from source in it. */

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatJson } from '../../src/lib/json-shape.ts'
import { defaultSpec } from '../../src/oci/default-spec.ts'
import type { RuntimeSpec } from '../../src/oci/runtime-spec.ts'

const MAIN = join(import.meta.dir, '../../src/cli/main.ts')
const APPLETS = ['sh', 'sleep', 'cat', 'echo', 'id', 'env', 'grep', 'stty', 'kill', 'pwd', 'tail', 'readlink', 'true']
const DEADLINE_MS = 10_000
const POLL_MS = 10

/** How a command ended. */
export interface Outcome {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** One runtime, Berth's or another with the same commands. */
export class Machine implements AsyncDisposable {
  readonly base: string = mkdtempSync(join(tmpdir(), 'berth-verbs-'))
  /** Of every container's id, so that what is left can be told from what others make. */
  readonly prefix = `verbs${process.pid}`
  readonly #program: readonly string[]

  constructor(program: readonly string[] = [process.execPath, MAIN, 'runtime']) {
    this.#program = program
    const rootfs = join(this.base, 'rootfs')
    for (const dir of ['bin', 'etc', 'tmp', 'proc', 'dev', 'sys']) mkdirSync(join(rootfs, dir), { recursive: true })
    copyFileSync('/bin/busybox', join(rootfs, 'bin/busybox'))
    for (const name of APPLETS) symlinkSync('busybox', join(rootfs, 'bin', name))
    writeFileSync(join(rootfs, 'etc/not-executable'), '')
    writeFileSync(join(rootfs, 'bin/no-interpreter'), '#!/nowhere\n', { mode: 0o755 })
  }

  /** The command line of a verb, for whoever runs it otherwise. */
  command(...args: readonly string[]): readonly string[] {
    return [...this.#program, '--root', join(this.base, 'state'), ...args]
  }

  /** Runs a verb to its end. */
  async run(args: readonly string[], stdin = ''): Promise<Outcome> {
    return await finish(this.spawn(args, stdin))
  }

  /** Starts a verb; its output is collected. */
  spawn(args: readonly string[], stdin = ''): Child {
    return Bun.spawn([...this.command(...args)], {
      stdin: new TextEncoder().encode(stdin),
      stdout: 'pipe',
      stderr: 'pipe',
    })
  }

  /** Creates and starts a container that sleeps; returns its id. */
  async container(name: string, change: (spec: RuntimeSpec) => RuntimeSpec = spec => spec): Promise<string> {
    const id = `${this.prefix}${name}`
    const bundle = join(this.base, name)
    mkdirSync(bundle)
    const spec = defaultSpec()
    const config: RuntimeSpec = {
      ...spec,
      ociVersion: '1.0.2',
      process: { ...spec.process, terminal: false, args: ['sleep', '1000'], cwd: '/' },
      root: { path: join(this.base, 'rootfs') },
    }
    writeFileSync(join(bundle, 'config.json'), formatJson(change(config)))
    const run = Bun.spawn([...this.command('run', '--detach', '--bundle', bundle, id)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    if ((await run.exited) !== 0) throw new Error(await new Response(run.stderr).text())
    return id
  }

  /** The path of a file of the container's root filesystem. */
  file(name: string): string {
    return join(this.base, 'rootfs', name)
  }

  /** What is left of the containers of this machine anywhere, after their deletion. */
  leftovers(): string[] {
    const state = join(this.base, 'state')
    const directories = existsSync(state) ? readdirSync(state).filter(name => name.startsWith(this.prefix)) : []
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
    return [
      ...directories.map(name => `state of ${name}`),
      ...mounts.filter(line => line.includes(this.base) || line.includes(this.prefix)),
      ...cgroupsNamed('/sys/fs/cgroup', this.prefix),
    ]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ids = (await this.run(['list', '-q'])).stdout.split('\n').filter(Boolean)
    for (const id of ids) await this.run(['delete', '--force', id])
    rmSync(this.base, { recursive: true, force: true })
  }
}

type Child = Bun.Subprocess<Uint8Array, 'pipe', 'pipe'>

/** Waits for a child and collects what it said. */
export async function finish(child: Child): Promise<Outcome> {
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { status, stdout, stderr }
}

/** Asks until the answer is true. */
export async function until(ask: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  while (!(await ask())) {
    if (performance.now() > deadline) throw new Error(`not so after ${DEADLINE_MS} ms: ${ask}`)
    await Bun.sleep(POLL_MS)
  }
}

function cgroupsNamed(dir: string, prefix: string): string[] {
  let names: string[]
  try {
    names = readdirSync(dir, { withFileTypes: true })
      .filter(entry => entry.isDirectory())
      .map(entry => entry.name)
  } catch {
    // A cgroup of somebody else that went away meanwhile.
    return []
  }
  return names.flatMap(name => {
    const path = join(dir, name)
    return name.includes(prefix) ? [path] : cgroupsNamed(path, prefix)
  })
}
