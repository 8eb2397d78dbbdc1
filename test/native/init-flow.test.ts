import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Record as InitRecord } from '../../src/host/record.ts'
import { encodePlan } from '../../src/plan/encode.ts'
import type { Step } from '../../src/plan/step.ts'
import { AVAILABLE, BUILDS, Init, make, plan, run, s, slot } from './init-driver.ts'

const EPERM = 1
const ENOENT = 2
const EBADF = 9
const EEXIST = 17
const EINVAL = 22
const ECANCELED = 125
const TIME_LIMIT_MS = 120_000
const scratch = mkdtempSync(join(tmpdir(), 'berth-flow-'))

const mark = (name: string): Step => s('create_file', { dir: null, path: join(scratch, name), mode: 0o600, data: name })
const missing = (options = {}): Step => s('chdir', { path: '/nonexistent' }, options)
const marked = (...names: string[]): string[] => names.filter(name => existsSync(join(scratch, name)))
const failure = (records: readonly InitRecord[]) => records.find(({ kind }) => kind === 'fail')

afterAll(() => rmSync(scratch, { recursive: true }))
beforeAll(() => Object.values(BUILDS).forEach(make), TIME_LIMIT_MS)

for (const build of AVAILABLE) {
  describe(`the executor (${build})`, () => {
    test('answers an empty plan with DONE', async () => {
      expect(await run(build, plan({}))).toMatchObject({ records: [{ kind: 'done' }], exitCode: 0, stderr: '' })
    })

    test('reports the stage, step and errno of a failing step, ends the plan and exits 1', async () => {
      const host = [s('umask', { mask: 0o22 }), missing(), mark(`${build}-after`)]
      expect(await run(build, plan({ host }))).toMatchObject({
        records: [{ kind: 'fail', stage: 'host', step: 1, errno: ENOENT, message: '' }],
        exitCode: 1,
      })
      expect(marked(`${build}-after`)).toEqual([])
    })

    test('goes on after a tolerated errno and ends at another', async () => {
      const host = [
        missing({ tolerate: [EPERM, ENOENT] }),
        missing({ tolerate: 'all' }),
        missing({ tolerate: [EPERM] }),
      ]
      expect(failure((await run(build, plan({ host }))).records)).toMatchObject({ step: 2, errno: ENOENT })
    })

    test('skips what the outcome of a step says', async () => {
      const names = ['a', 'b', 'c', 'd', 'e'].map(name => `${build}-skip-${name}`)
      const [a = '', b = '', c = '', d = '', e = ''] = names
      const host = [
        missing({ tolerate: [ENOENT], skipOnFailure: 2, skipOnSuccess: 1 }),
        mark(a),
        mark(b),
        s('umask', { mask: 0 }, { skipOnSuccess: 1, skipOnFailure: 2 }),
        mark(c),
        mark(d),
        mark(e),
      ]
      expect(failure((await run(build, plan({ host }))).records)).toBeUndefined()
      expect(marked(...names)).toEqual([d, e])
    })

    test('sends WARN for a tolerated failure only when the step asks for it', async () => {
      const host = [missing({ tolerate: 'all' }), missing({ tolerate: 'all', warn: true })]
      expect((await run(build, plan({ host }))).records).toEqual([
        { kind: 'warn', stage: 'host', step: 1, errno: ENOENT, message: '' },
        { kind: 'done' },
      ])
    })

    test('runs every undo step after a failure and none after success', async () => {
      const undo = [missing(), mark(`${build}-undo`)]
      await run(build, plan({ host: [], undo }))
      expect(marked(`${build}-undo`)).toEqual([])
      const { records } = await run(build, plan({ host: [missing()], undo }))
      expect(marked(`${build}-undo`)).toEqual([`${build}-undo`])
      expect(records).toMatchObject([{ kind: 'fail', stage: 'host', step: 0 }])
    })

    test('runs undo when nobody reads its records', async () => {
      const name = `${build}-epipe`
      const child = Bun.spawn([make(BUILDS[build]), 'plan'], { stdio: ['pipe', 'pipe', 'inherit'] })
      await child.stdout.cancel()
      child.stdin.write(encodePlan(plan({ undo: [mark(name)] })))
      await child.stdin.end()
      expect(await child.exited).toBe(1)
      expect(marked(name)).toEqual([name])
    })

    test('waits for an answer to ASK: 0 goes on, an errno fails the step, end of file is ECANCELED', async () => {
      const ask = plan({ host: [s('ask', { tag: -7 })] })
      const answers: [number | null, InitRecord][] = [
        [0, { kind: 'done' }],
        [EEXIST, { kind: 'fail', stage: 'host', step: 0, errno: EEXIST, message: '' }],
        [null, { kind: 'fail', stage: 'host', step: 0, errno: ECANCELED, message: '' }],
      ]
      for (const [answer, last] of answers) {
        await using init = new Init(build)
        await init.send(ask)
        expect(await init.until('ask')).toEqual({ kind: 'ask', tag: -7 })
        if (answer === null) await init.process.stdin.end()
        else await init.send(Uint8Array.of(answer))
        expect((await init.finish()).records.at(-1)).toEqual(last)
      }
    })

    test('reading an empty slot is EBADF, and writing a slot closes what was there', async () => {
      const open: Step = s('open', { path: '/proc/self/fd', flags: 0, mode: 0, out: slot(0) })
      const host = [open, open, open, s('close', { fd: slot(0) }), s('close', { fd: slot(0) })]
      expect(failure((await run(build, plan({ host }))).records)).toMatchObject({ step: 4, errno: EBADF })
    })

    test('finds stdin, stdout and stderr of the container in the fixed slots', async () => {
      const host = [s('write_fd', { fd: { index: 1, name: 'stdout' }, data: 'out' })]
      expect((await run(build, plan({ host }))).stdout).toBe('out')
    })
  })

  describe(`the helper (${build})`, () => {
    test('keeps slots from frame to frame and survives a failing one', async () => {
      await using init = new Init(build, 'helper')
      await init.send(plan({ host: [s('open', { path: '/', flags: 0, mode: 0, out: slot(0) })] }))
      await init.until('done')
      await init.send(plan({ host: [missing()], undo: [mark(`${build}-helper-undo`)] }))
      expect(await init.until('fail')).toMatchObject({ stage: 'host', step: 0, errno: ENOENT })
      await init.send(plan({ host: [s('fchdir', { fd: slot(0) }), s('close', { fd: slot(0) })] }))
      await init.until('done')
      expect(marked(`${build}-helper-undo`)).toEqual([`${build}-helper-undo`])
      await init.process.stdin.end()
      expect(await init.finish()).toMatchObject({ exitCode: 0, stderr: '' })
    })

    test('refuses a plan with a child and a malformed frame, and goes on', async () => {
      await using init = new Init(build, 'helper')
      const child = s('clone', { flags: 0, cgroup: null, joins: [], pidfd: null })
      await init.send(plan({ host: [child] }))
      expect(await init.until('fail')).toMatchObject({ stage: 'host', step: 0, errno: EINVAL })
      await init.send(plan({ host: [child], child: [missing()] }))
      expect(await init.until('fail')).toMatchObject({ stage: null, errno: EINVAL })
      const broken = encodePlan(plan({ host: [missing()] }))
      broken[32] = 250
      await init.send(broken)
      expect(await init.until('fail')).toMatchObject({ stage: null, errno: EINVAL, message: 'malformed step' })
      await init.send(plan({}))
      await init.until('done')
    })
  })
}
