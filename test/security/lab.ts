/** A place with a canary where hostile bundles are made and run: by an OCI runtime's command line, or by `berth run`. */

import { afterAll } from 'bun:test'
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { formatJson } from '../../src/lib/json-shape.ts'
import { defaultSpec } from '../../src/oci/default-spec.ts'
import type { Mount, Process, RuntimeSpec } from '../../src/oci/runtime-spec.ts'
import type { Linux } from '../../src/oci/runtime-spec-linux.ts'
import { type RequirementName, testIf } from '../support/requirement.ts'
import { BERTH_COMMAND, RUNTIME_UNDER_TEST } from '../support/runtime-under-test.ts'
import { Canary, textOf } from './canary.ts'
import { programs, removePrograms } from './programs.ts'

/** How a command ended; `status` is -1 when it did not end by itself in time. */
export interface Outcome {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** A bundle on disk, and the id of its container. */
export interface Bundle {
  readonly id: string
  readonly dir: string
  readonly rootfs: string
}

/** What a bundle differs in from runc's default one with a busybox. Fields of `process` and `linux` are put over the default's. */
export interface BundleOptions {
  readonly args?: readonly string[]
  readonly process?: Partial<Process>
  readonly linux?: Partial<Linux>
  /** In the place of the default mounts. */
  readonly mounts?: readonly Mount[]
  /** After the default mounts. */
  readonly moreMounts?: readonly Mount[]
  readonly annotations?: Readonly<Record<string, string>>
  /** Does to the root filesystem what a hostile image would. */
  readonly image?: (rootfs: string) => void
  /** A root filesystem that is there already, for containers that share it. */
  readonly on?: string
}

/** Those of runc's default config. */
export const CONTAINER_CAPABILITIES: readonly string[] = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE']

const APPLETS =
  'sh cat ls id stat grep sleep true touch mkdir readlink mknod head tail sed awk pwd hostname chmod dd kill wc env'
const COMMAND_LIMIT_MS = 15_000
const LEFTOVER_DEADLINE_MS = 3000
const POLL_MS = 10
const DELETED = 0o120000

/**
 * `test()` with a lab, for a machine on which containers can be made. After the body the canary must be untouched, and nothing of the
 * lab's containers may be left.
 */
export function securityTest(...more: readonly RequirementName[]) {
  afterAll(removePrograms)
  const declare = testIf('root', 'command busybox', 'command cc', ...more)
  return (name: string, body: (lab: Lab) => Promise<void>, timeoutMs = 30_000): void =>
    declare(
      name,
      async () => {
        using lab = new Lab()
        try {
          await body(lab)
        } finally {
          await lab.deleteContainers()
          // Also after a failure: what a broken runtime did to the machine is undone, and worse news than the failure.
          lab.canary.expectUntouched()
        }
        await lab.expectNothingLeft()
      },
      timeoutMs,
    )
}

/** See above. Its files go when it is disposed; its containers before, by `deleteContainers()`. */
export class Lab implements Disposable {
  readonly base: string = mkdtempSync(join(tmpdir(), 'berth-security-'))
  /** Part of every container's id and cgroup, so that what is left can be told from what others make. */
  readonly prefix = `berthsec${process.pid}x${Date.now().toString(36)}`
  readonly canary: Canary = new Canary(this.base)
  #count = 0

  /** A fresh root filesystem with a busybox, the probe and the swapper. */
  rootfs(): string {
    const rootfs = join(this.base, `rootfs${++this.#count}`)
    for (const name of ['bin', 'etc', 'tmp', 'proc', 'dev', 'sys', 'root'])
      mkdirSync(join(rootfs, name), { recursive: true })
    copyFileSync('/bin/busybox', join(rootfs, 'bin/busybox'))
    for (const name of APPLETS.split(' ')) symlinkSync('busybox', join(rootfs, 'bin', name))
    for (const name of ['probe', 'swapper'] as const) copyFileSync(programs()[name], join(rootfs, 'bin', name))
    writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n')
    writeFileSync(join(rootfs, 'etc/group'), 'root:x:0:\nuser:x:1000:\nextra:x:2000:user\n')
    return rootfs
  }

  /** A bundle on a root filesystem of its own. */
  bundle(options: BundleOptions): Bundle {
    const rootfs = options.on ?? this.rootfs()
    options.image?.(rootfs)
    const id = `${this.prefix}n${++this.#count}`
    const dir = join(this.base, id)
    mkdirSync(dir)
    writeFileSync(join(dir, 'config.json'), formatJson(this.#config(rootfs, id, options)))
    return { id, dir, rootfs }
  }

  #config(rootfs: string, id: string, options: BundleOptions): RuntimeSpec {
    const spec = defaultSpec()
    return {
      ...spec,
      // What every runtime in use takes.
      ociVersion: '1.0.2',
      root: { path: rootfs, readonly: false },
      process: { ...spec.process, cwd: '/', terminal: false, args: options.args ?? ['true'], ...options.process },
      mounts: [...(options.mounts ?? spec.mounts ?? []), ...(options.moreMounts ?? [])],
      linux: { ...spec.linux, cgroupsPath: `/${this.prefix}/${id}`, ...options.linux },
      ...(options.annotations !== undefined && { annotations: options.annotations }),
    }
  }

  /** Runs the runtime under test with its global options and these arguments. */
  async runtime(...args: readonly string[]): Promise<Outcome> {
    return await this.command(...[...RUNTIME_UNDER_TEST.command, '--root', join(this.base, 'state'), ...args])
  }

  /** The whole life of a container. */
  async run(bundle: Bundle): Promise<Outcome> {
    return await this.runtime('run', '--bundle', bundle.dir, bundle.id)
  }

  /** Starts a container in the background, its output going to a file whose path is returned. */
  async start(bundle: Bundle): Promise<string> {
    const output = join(bundle.dir, 'output')
    const command = ['run', '--detach', '--bundle', bundle.dir, bundle.id]
    const child = Bun.spawn([...RUNTIME_UNDER_TEST.command, '--root', join(this.base, 'state'), ...command], {
      stdio: ['ignore', Bun.file(output), Bun.file(`${output}-errors`)],
    })
    if ((await child.exited) !== 0)
      throw new Error(`Cannot start ${bundle.id}: ${readFileSync(`${output}-errors`, 'utf8')}`)
    return output
  }

  /** `berth run --rm`, its cgroups below the lab's. */
  async berthRun(...args: readonly string[]): Promise<Outcome> {
    return await this.command(...[...BERTH_COMMAND, 'run', '--rm', '--cgroup-parent', `/${this.prefix}`, ...args])
  }

  /** The command line of another command of the engine. */
  engine(...args: readonly string[]): readonly string[] {
    return [...BERTH_COMMAND, ...args]
  }

  /** Any command of ours, to its end. */
  async command(...command: readonly string[]): Promise<Outcome> {
    // Files, not pipes: a container that waits for its start would hold a pipe open for ever.
    const stdout = join(this.base, `stdout${++this.#count}`)
    const stderr = join(this.base, `stderr${this.#count}`)
    const stdio: ['ignore', Bun.BunFile, Bun.BunFile] = ['ignore', Bun.file(stdout), Bun.file(stderr)]
    const child = Bun.spawn([...command], { stdio, timeout: COMMAND_LIMIT_MS })
    const status = await child.exited
    return { status: child.signalCode === null ? status : -1, stdout: textOf(stdout), stderr: textOf(stderr) }
  }

  /** Ends what the runtime under test still runs. */
  async deleteContainers(): Promise<void> {
    if (!existsSync(join(this.base, 'state'))) return
    const ids = (await this.runtime('list', '-q')).stdout.split('\n').filter(Boolean)
    for (const id of ids) await this.runtime('delete', '--force', id)
  }

  /** @throws Error naming what is left of the lab's containers after 3 s */
  async expectNothingLeft(): Promise<void> {
    const deadline = performance.now() + LEFTOVER_DEADLINE_MS
    for (;;) {
      const left = this.#leftovers()
      if (left.length === 0) return
      if (performance.now() > deadline) throw new Error(`left behind:\n${left.map(each => `  ${each}`).join('\n')}`)
      await Bun.sleep(POLL_MS)
    }
  }

  /** The processes in a cgroup of the lab: those of its containers. */
  pids(): readonly number[] {
    const all = entriesOf('/proc').filter(pid => /^\d+$/.test(pid))
    return all.filter(pid => textOf(`/proc/${pid}/cgroup`).includes(this.prefix)).map(Number)
  }

  #leftovers(): string[] {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
    return [
      // Berth keeps a directory of its own there, `~`, for what it has to look after when it is interrupted.
      ...entriesOf(join(this.base, 'state'))
        .filter(name => name !== '~')
        .map(name => `state of ${name}`),
      ...mounts.filter(line => line.includes(this.base)).map(line => `mount ${line}`),
      ...this.pids().map(pid => `process ${textOf(`/proc/${pid}/comm`).trim()} (pid ${pid})`),
      ...hierarchies().flatMap(dir =>
        entriesOf(join(dir, this.prefix)).filter(name => isDirectory(join(dir, this.prefix, name))),
      ),
    ]
  }

  [Symbol.dispose](): void {
    for (const dir of hierarchies()) removeCgroup(join(dir, this.prefix))
    rmSync(this.base, { recursive: true, force: true })
  }
}

/** Waits until a file of a container has the text. @throws Error with what it has after 10 s */
export async function untilFileHas(path: string, text: string): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!textOf(path).includes(text)) {
    if (performance.now() > deadline) throw new Error(`no "${text}" in ${path}: ${textOf(path)}`)
    await Bun.sleep(POLL_MS)
  }
}

/** Replaces what is there, parents included, by a symbolic link. */
export function plantLink(path: string, target: string): void {
  rmSync(path, { recursive: true, force: true })
  mkdirSync(dirname(path), { recursive: true })
  symlinkSync(target, path)
}

/** The cgroup file systems of the machine. */
function hierarchies(): string[] {
  const found = readFileSync('/proc/self/mountinfo', 'utf8').matchAll(/^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2? /gm)
  return [...found].map(([, path = '']) => path)
}

function removeCgroup(path: string): void {
  try {
    lstatSync(path)
  } catch {
    // Never made in this hierarchy.
    return
  }
  for (const name of entriesOf(path)) if (isDirectory(join(path, name))) removeCgroup(join(path, name))
  rmdir(path)
}

function rmdir(path: string): void {
  // Bun's rmSync would unlink the files of the cgroup file system first, which it refuses.
  const removed = Bun.spawnSync(['rmdir', path])
  if (removed.exitCode !== 0) console.error(`test/security: ${removed.stderr}`)
}

function isDirectory(path: string): boolean {
  const mode = lstatSync(path, { throwIfNoEntry: false })?.mode ?? DELETED
  return (mode & 0o170000) === 0o040000
}

// What is looked at may vanish in the same moment: then it is not there.
function entriesOf(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
