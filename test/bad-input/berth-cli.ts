/** Runs `berth runtime` from source on a bundle of its own, and tells what came of it and what it left. */

import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defaultSpec } from '../../src/oci/default-spec.ts'

const MAIN = join(import.meta.dir, '../../src/cli/main.ts')
const TIME_LIMIT_MS = 20_000

/** A config.json as plain JSON, whose parts a case replaces with what no type would let through. */
export type Json = { [name: string]: Json } & { [name: string]: unknown }

/** What one command said and left. */
export interface Outcome {
  readonly status: number | null
  readonly stderr: string
  readonly stdout: string
}

let made = 0

/** A bundle with busybox in a directory that is removed in the end, with its state root beside it. */
export class Machine implements Disposable {
  readonly base: string
  readonly bundle: string
  readonly rootfs: string
  readonly state: string
  readonly id = `bi${process.pid}x${String(made++).padStart(4, '0')}z`

  constructor() {
    this.base = mkdtempSync(join(tmpdir(), 'berth-bad-'))
    chmodSync(this.base, 0o711)
    this.bundle = join(this.base, 'bundle')
    this.rootfs = join(this.bundle, 'rootfs')
    this.state = join(this.base, 'state')
    mkdirSync(join(this.rootfs, 'bin'), { recursive: true })
    copyFileSync('/bin/busybox', join(this.rootfs, 'bin/busybox'))
    for (const name of ['sh', 'true']) symlinkSync('busybox', join(this.rootfs, 'bin', name))
  }

  /** Writes config.json: the default one without a terminal that runs `true`, changed by `change`. */
  configure(change: (config: Json) => void = () => {}): void {
    const plain = JSON.stringify(defaultSpec(), (_, value) => (typeof value === 'bigint' ? Number(value) : value))
    const config = JSON.parse(plain) as Json
    const { process: process_, linux, root } = config
    Object.assign(process_ ?? {}, { terminal: false, args: ['true'] })
    Object.assign(root ?? {}, { readonly: false })
    Object.assign(linux ?? {}, { cgroupsPath: `/${this.id}` })
    change(config)
    writeFileSync(join(this.bundle, 'config.json'), JSON.stringify(config))
  }

  /** `berth runtime VERB …`, behind `wrap` if given. */
  async run(args: readonly string[], wrap: readonly string[] = []): Promise<Outcome> {
    const command = [...wrap, process.execPath, MAIN, 'runtime', '--root', this.state, ...args]
    const child = Bun.spawn(command, {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TIME_LIMIT_MS,
      killSignal: 'SIGKILL',
    })
    const [stdout, stderr, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    return { status, stdout, stderr }
  }

  /** `berth runtime create` of the bundle, without our stdio, which the container would keep. Returns the exit status. */
  async create(): Promise<number> {
    const args = ['runtime', '--root', this.state, 'create', '--bundle', this.bundle, this.id]
    return await Bun.spawn([process.execPath, MAIN, ...args], { stdio: ['ignore', 'ignore', 'ignore'] }).exited
  }

  /** `berth runtime run` of the bundle. */
  runBundle(id: string = this.id, wrap: readonly string[] = []): Promise<Outcome> {
    return this.run(['run', '--bundle', this.bundle, id], wrap)
  }

  /** What a command has left of any container of this machine: files, cgroups. */
  leftovers(): string[] {
    const state = existsSync(this.state) ? readdirSync(this.state, { recursive: true }).map(String) : []
    const cgroups = readdirSync('/sys/fs/cgroup').map(name => join('/sys/fs/cgroup', name, this.id))
    return [...state.filter(name => name !== '~'), ...cgroups.filter(dir => existsSync(dir))]
  }

  [Symbol.dispose](): void {
    rmSync(this.base, { recursive: true, force: true })
  }
}
