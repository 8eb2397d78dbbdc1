/** Mode run: a plan whose first steps come ahead of the rest, and what becomes of them. */
import { beforeAll, describe, expect } from 'bun:test'
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Record as InitRecord, RecordParser } from '../../src/host/record.ts'
import { ECANCELED, EINVAL, ENOENT } from '../../src/lib/errno.ts'
import { AT_REMOVEDIR } from '../../src/linux/open-flags.ts'
import { encodePlan } from '../../src/plan/encode.ts'
import type { Plan, Step } from '../../src/plan/step.ts'
import { testIf } from '../support/requirement.ts'
import { AVAILABLE, BUILDS, type Build, clone, make, plan, s } from './init-driver.ts'
import type { Act } from './played-typescript.ts'

const PLAYED = join(import.meta.dir, 'played-typescript.ts')
const TIME_LIMIT_MS = 120_000
const test = testIf('root')

beforeAll(() => Object.values(BUILDS).forEach(make), TIME_LIMIT_MS)

/** A berth-init under a runtime's name, and beside it the TypeScript that it starts. */
class Front implements Disposable {
  readonly base = mkdtempSync(join(tmpdir(), 'berth-run-'))
  readonly #program = join(this.base, 'test-runc')
  readonly #records = join(this.base, 'records')

  constructor(build: Build) {
    copyFileSync(make(BUILDS[build]), this.#program)
    const script = `#!/bin/sh\nexec ${process.execPath} ${PLAYED} ${this.base}\n`
    writeFileSync(join(this.base, 'berth'), script, { mode: 0o755 })
  }

  path(name: string): string {
    return join(this.base, name)
  }

  send(part: Plan | Uint8Array): Act {
    return { send: Buffer.from(part instanceof Uint8Array ? part : encodePlan(part)).toString('base64') }
  }

  /** All records until the launcher closes the connection, which it does when everything is undone. */
  get toTheEnd(): Act {
    return { records: this.#records }
  }

  async run(
    ...acts: readonly Act[]
  ): Promise<{ status: number | null; signal: Bun.Subprocess['signalCode']; records: InitRecord[] }> {
    writeFileSync(this.path('scenario.json'), JSON.stringify(acts))
    const child = Bun.spawn([this.#program, 'run', 'x'], { stdio: ['ignore', 'ignore', 'inherit'] })
    await child.exited
    const records = existsSync(this.#records) ? new RecordParser().push(readFileSync(this.#records)) : []
    return { status: child.exitCode, signal: child.signalCode, records }
  }

  /** What plans have made in it. */
  made(): readonly string[] {
    return readdirSync(this.base).filter(name => name.startsWith('made-'))
  }

  [Symbol.dispose](): void {
    rmSync(this.base, { recursive: true })
  }
}

function making(front: Front, ...names: readonly string[]): Step[] {
  return names.map(name => s('mkdir', { dir: null, path: front.path(`made-${name}`), mode: 0o700 }))
}

function removing(front: Front, ...names: readonly string[]): Step[] {
  return names.map(name => s('unlink', { dir: null, path: front.path(`made-${name}`), flags: AT_REMOVEDIR }))
}

const failing = (front: Front): Step => s('chdir', { path: front.path('nowhere') })

describe.each([...AVAILABLE])('berth-init run (%s)', build => {
  test('carries out what comes ahead of the plan at once', async () => {
    using front = new Front(build)
    const beginning = plan({ host: making(front, 'a'), undo: removing(front, 'a') })
    const { status } = await front.run(front.send(beginning), { until: front.path('made-a') })
    expect(status).toBe(9)
  })

  test('undoes it when the TypeScript is killed before the rest has come', async () => {
    using front = new Front(build)
    const beginning = plan({ host: making(front, 'a', 'b'), undo: removing(front, 'b', 'a') })
    const outcome = await front.run(front.send(beginning), { until: front.path('made-b') }, { die: true })
    expect(outcome).toMatchObject({ status: null, signal: 'SIGKILL' })
    expect(front.made()).toEqual([])
  })

  test('undoes it when the plan is given up, and says so when that is done', async () => {
    using front = new Front(build)
    const beginning = plan({ host: making(front, 'a'), undo: removing(front, 'a') })
    const { records } = await front.run(front.send(beginning), front.send(plan({})), front.toTheEnd)
    expect(records).toMatchObject([{ kind: 'fail', errno: ECANCELED }])
    expect(front.made()).toEqual([])
  })

  test('undoes it when one of its steps fails, whatever comes after it', async () => {
    using front = new Front(build)
    const beginning = plan({ host: [...making(front, 'a'), failing(front)], undo: removing(front, 'a') })
    const rest = plan({ host: [...making(front, 'b'), clone()] })
    const { records } = await front.run(front.send(beginning), front.send(rest), front.toTheEnd)
    expect(records).toMatchObject([{ kind: 'fail', stage: 'host', step: 1, errno: ENOENT }])
    expect(front.made()).toEqual([])
  })

  test('counts the steps of the rest from the beginning, and undoes both in the order in which they came', async () => {
    using front = new Front(build)
    const inner = front.path('made-a/made-b')
    const beginning = plan({ host: making(front, 'a'), undo: removing(front, 'a') })
    const rest = plan({
      host: [s('mkdir', { dir: null, path: inner, mode: 0o700 }), failing(front), clone()],
      // Not empty when the beginning is undone, so that it stays: the order is to be seen.
      undo: [s('unlink', { dir: null, path: inner, flags: AT_REMOVEDIR })],
    })
    const { records } = await front.run(front.send(beginning), front.send(rest), front.toTheEnd)
    expect(records).toMatchObject([{ kind: 'fail', stage: 'host', step: 2, errno: ENOENT }])
    expect(front.made()).toEqual(['made-a'])
    expect(existsSync(inner)).toBe(false)
  })

  test('undoes it when the rest is no plan', async () => {
    using front = new Front(build)
    const beginning = plan({ host: making(front, 'a'), undo: removing(front, 'a') })
    const broken = encodePlan(plan({ host: [clone()] })).slice()
    broken[32] = 0xff
    const { records } = await front.run(front.send(beginning), front.send(broken), front.toTheEnd)
    expect(records).toMatchObject([{ kind: 'fail', stage: null, errno: EINVAL }])
    expect(front.made()).toEqual([])
  })

  test('undoes it when it is killed by a signal that it holds for its container, as soon as the TypeScript has ended', async () => {
    using front = new Front(build)
    const beginning = plan({ host: making(front, 'a'), undo: removing(front, 'a') })
    writeFileSync(
      front.path('scenario.json'),
      JSON.stringify([front.send(beginning), { until: front.path('made-a') }, { until: front.path('go') }]),
    )
    const child = Bun.spawn([front.path('test-runc'), 'run', 'x'], { stdio: ['ignore', 'ignore', 'inherit'] })
    while (!existsSync(front.path('made-a'))) await Bun.sleep(1)
    child.kill('SIGTERM')
    writeFileSync(front.path('go'), '')
    await child.exited
    expect(front.made()).toEqual([])
  })
})
