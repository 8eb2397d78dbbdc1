/** `berth` from source, with an engine of its own in a temporary directory, and a check that nothing is left. */

import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { finish, type Outcome, until } from '../runtime/verbs-machine.ts'
import { ROOT } from '../support/group.ts'
import { expectNoLeaks, type HostSnapshot, snapshotHost } from '../support/leak-check.ts'
import { type RequirementName, testIf } from '../support/requirement.ts'

/** What every test here takes. */
const NEEDS: readonly RequirementName[] = ['root', 'overlay', 'idmapped mounts']

/** An engine with nothing in it. */
export class EngineBox implements AsyncDisposable {
  readonly base: string = mkdtempSync(join(tmpdir(), 'berth-engine-'))
  readonly data: string = join(this.base, 'data')
  readonly live: string = join(this.base, 'run')
  readonly command: readonly string[] = [
    process.execPath,
    join(ROOT, 'src/cli/main.ts'),
    '--root',
    this.data,
    '--run-root',
    this.live,
  ]
  readonly #before: HostSnapshot

  constructor() {
    // The database and the parent of the containers' cgroups stay; here they are there before the test.
    const warm = spawnSync(this.command[0] ?? '', [...this.command.slice(1), 'run', '--rm', 'host', 'true'])
    if (warm.status !== 0) throw new Error(`berth run true: ${warm.status} ${warm.stderr}`)
    this.#before = snapshotHost([join(this.data, 'containers'), this.live])
  }

  path(...parts: readonly string[]): string {
    return join(this.base, ...parts)
  }

  /** Writes a file below the base. */
  file(name: string, content: string | Uint8Array, mode = 0o644): string {
    const path = this.path(name)
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, content)
    chmodSync(path, mode)
    return path
  }

  /** A root filesystem of busybox. */
  rootfs(name = 'rootfs'): string {
    for (const each of ['bin', 'etc', 'tmp', 'proc', 'dev', 'sys'])
      mkdirSync(this.path(name, each), { recursive: true })
    this.file(`${name}/bin/busybox`, readFileSync(Bun.which('busybox') ?? '/bin/busybox'), 0o755)
    for (const each of ['sh', 'cat', 'id', 'pwd', 'ls', 'echo', 'stat', 'touch', 'true'])
      this.file(`${name}/bin/${each}`, `#!/bin/busybox sh\nexec /bin/busybox ${each} "$@"\n`, 0o755)
    return this.path(name)
  }

  /** `berth ARGS`. */
  async berth(args: readonly string[]): Promise<Outcome> {
    return await finish(
      Bun.spawn([...this.command, ...args], {
        cwd: ROOT,
        stdin: new Uint8Array(),
        stdout: 'pipe',
        stderr: 'pipe',
      }),
    )
  }

  /** `berth run --rm ARGS`. */
  async run(...args: readonly string[]): Promise<Outcome> {
    return await this.berth(['run', '--rm', ...args])
  }

  /** What a script prints in a container of the `host` image. */
  async sh(options: readonly string[], script: string): Promise<Outcome> {
    return await this.run(...options, 'host', 'sh', '-c', script)
  }

  /** Starts `berth run` and waits until the file it writes its output to contains a text. */
  async start(args: readonly string[], awaited: string): Promise<Running> {
    const output = this.path(`output-${crypto.randomUUID()}`)
    const child = Bun.spawn([...this.command, 'run', ...args], {
      stdio: ['ignore', Bun.file(output), Bun.file(output)],
    })
    const read = (): string => (existsSync(output) ? readFileSync(output, 'utf8') : '')
    await until(() => {
      if (child.exitCode !== null) throw new Error(`berth run has ended with ${child.exitCode}: ${read()}`)
      return read().includes(awaited)
    })
    return { pid: child.pid, exited: child.exited, read, kill: signal => child.kill(signal) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await expectNoLeaks(this.#before)
    } finally {
      rmSync(this.base, { recursive: true, force: true })
    }
  }
}

/** A `berth run` that goes on. */
export interface Running {
  readonly pid: number
  readonly exited: Promise<number>
  readonly read: () => string
  readonly kill: (signal: NodeJS.Signals) => void
}

/** A test with an engine of its own, skipped with a reason where the machine lacks something. */
export function engineTest(
  name: string,
  run: (box: EngineBox) => Promise<unknown>,
  needs: readonly RequirementName[] = [],
): void {
  testIf(...NEEDS, ...needs)(
    name,
    async () => {
      await using box = new EngineBox()
      await run(box)
    },
    60_000,
  )
}
