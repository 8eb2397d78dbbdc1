/** Builds berth-init and runs plans in it, seeing every record it sends. */
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { type Record as InitRecord, RecordParser } from '../../src/host/record.ts'
import { encodePlan } from '../../src/plan/encode.ts'
import type { OpName } from '../../src/plan/ops.ts'
import { type Slot, STDERR, STDIN, STDOUT } from '../../src/plan/slots.ts'
import {
  type ArgsOf,
  type Plan,
  type Stage,
  type Step,
  type StepOf,
  type StepOptions,
  step,
} from '../../src/plan/step.ts'

const NATIVE = `${import.meta.dir}/../../native`
const PATH = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin'
const MS_REC = 0x4000
const MS_PRIVATE = 0x40000

/** Mount, UTS, IPC, PID, network and cgroup. */
export const NAMESPACES = 0x20000 | 0x4000000 | 0x8000000 | 0x20000000 | 0x40000000 | 0x2000000
export const PRIVATE_MOUNTS: Step = s('mount', {
  source: '',
  target: null,
  fstype: '',
  flags: MS_REC | MS_PRIVATE,
  data: '',
})
const TIME_LIMIT_MS = 20_000

/** The builds of berth-init: the one that is shipped, and the one that checks itself. */
export const BUILDS = { release: 'berth-init', sanitized: 'berth-init-asan' } as const
export type Build = keyof typeof BUILDS

/** Without a compiler (in the VM) there is only what was built before, and no library for the sanitizers. */
const CAN_BUILD = Bun.which('make') !== null && Bun.which('cc') !== null
export const AVAILABLE: readonly Build[] = CAN_BUILD ? ['release', 'sanitized'] : ['release']

/** Builds `target` of native/Makefile and returns its path; throws with the compiler's words. */
export function make(target: string): string {
  if (!CAN_BUILD) return `${NATIVE}/build/${target}`
  const { exitCode, stderr } = Bun.spawnSync(['make', '-s', '-C', NATIVE, `build/${target}`])
  if (exitCode !== 0) throw new Error(stderr.toString())
  return `${NATIVE}/build/${target}`
}

/** A plan of the stages that are given. */
export function plan(stages: Partial<Record<Stage, readonly Step[]>>, slotCount = 64): Plan {
  return { host: [], parent: [], child: [], exec: [], undo: [], ...stages, slotCount }
}

/** A step of a test. */
export function s<K extends OpName>(op: K, args: ArgsOf<K>, options: Partial<StepOptions> = {}): StepOf<K> {
  return step(op, args, { why: 'the test wants it', ...options })
}

/** The n-th slot that is not fixed. */
export function slot(n: number): Slot {
  return { index: 3 + n, name: `slot${n}` }
}

/** The clone of a test: all namespaces but the user's unless said otherwise. */
export function clone(args: Partial<ArgsOf<'clone'>> = {}, options: Partial<StepOptions> = {}): StepOf<'clone'> {
  return s('clone', { flags: NAMESPACES, cgroup: null, joins: [], pidfd: null, ...args }, options)
}

/** Steps that give the child the test's stdio and execute a shell script. */
export function shell(script: string, ...argv: string[]): Step[] {
  return [
    s('dup2', { fd: STDIN, target: 0 }),
    s('dup2', { fd: STDOUT, target: 1 }),
    s('dup2', { fd: STDERR, target: 2 }),
    s('execve', { paths: ['/bin/sh'], argv: ['sh', '-ec', script, ...argv], env: [PATH] }),
  ]
}

/** A container of just a shell: its output and wait status are in the outcome. */
export function container(
  child: readonly Step[],
  script: string,
  stages: Partial<Record<Stage, readonly Step[]>> = {},
) {
  const host = [...(stages.host ?? []), clone()]
  const parent = [...(stages.parent ?? []), s('wait_child', {})]
  return plan({
    ...stages,
    host,
    parent,
    child: [PRIVATE_MOUNTS, ...child],
    exec: [...(stages.exec ?? []), ...shell(script)],
  })
}

/** What a finished berth-init has said. */
export interface Outcome {
  readonly records: readonly InitRecord[]
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A running berth-init. Disposing kills it. */
export class Init implements AsyncDisposable {
  readonly process: Bun.Subprocess<'pipe', 'pipe', 'ignore'>
  readonly #records: AsyncGenerator<InitRecord>
  readonly #output: Promise<readonly [string, string]>
  readonly seen: InitRecord[] = []

  /** `binary`: another copy of the build's program. */
  constructor(build: Build, mode: 'plan' | 'helper' = 'plan', binary = `${NATIVE}/build/${BUILDS[build]}`) {
    const path = `${tmpdir()}/berth-native-${process.pid}-${crypto.randomUUID()}`
    // Files, not pipes: a child that outlives its launcher would keep a pipe from its end.
    const script = `exec "$0" ${mode} 3</dev/null 4>"$1.out" 5>"$1.err" 2>&5`
    this.process = Bun.spawn(['sh', '-c', script, binary, path], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: {},
    })
    this.#records = records(this.process.stdout)
    this.#output = this.process.exited.then(() => [take(`${path}.out`), take(`${path}.err`)] as const)
  }

  async send(bytes: Uint8Array | Plan): Promise<void> {
    this.process.stdin.write(bytes instanceof Uint8Array ? bytes : encodePlan(bytes))
    await this.process.stdin.flush()
  }

  /** The next record, or null at end of file. */
  async next(): Promise<InitRecord | null> {
    const { value, done } = await within(this.#records.next())
    if (done) return null
    this.seen.push(value)
    return value
  }

  /** Reads until a record of this kind. */
  async until<K extends InitRecord['kind']>(kind: K): Promise<Extract<InitRecord, { kind: K }>> {
    for (;;) {
      const record = await this.next()
      if (record === null) throw new Error(`no ${kind} record: ${(await this.#output)[1]}`)
      if (isKind(record, kind)) return record
    }
  }

  /** Stops reading records. */
  async close(): Promise<void> {
    await this.#records.return(undefined)
  }

  /** Everything up to the end. */
  async finish(): Promise<Outcome> {
    while ((await this.next()) !== null);
    const exitCode = await within(this.process.exited)
    const [stdout, stderr] = await this.#output
    return { records: this.seen, exitCode, stdout, stderr }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill(9)
    await this.process.exited
    await this.#output
  }
}

/** Runs one plan to its end. */
export async function run(build: Build, what: Plan | Uint8Array): Promise<Outcome> {
  await using init = new Init(build)
  await init.send(what)
  return await init.finish()
}

/** The content of a file that is not needed any more. */
function take(path: string): string {
  const text = readFileSync(path, 'utf8')
  rmSync(path)
  return text
}

async function* records(stream: ReadableStream<Uint8Array>): AsyncGenerator<InitRecord> {
  const parser = new RecordParser()
  for await (const chunk of stream) yield* parser.push(chunk)
}

function isKind<K extends InitRecord['kind']>(record: InitRecord, kind: K): record is Extract<InitRecord, { kind: K }> {
  return record.kind === kind
}

/** Rejects when it takes too long: a test of something that hangs shall say so. */
async function within<T>(promise: Promise<T>): Promise<T> {
  const { promise: expired, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`berth-init took longer than ${TIME_LIMIT_MS} ms`)), TIME_LIMIT_MS)
  try {
    return await Promise.race([promise, expired])
  } finally {
    clearTimeout(timer)
  }
}
