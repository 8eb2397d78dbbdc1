import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Step } from '../../src/plan/step.ts'
import { testIf } from '../support/requirement.ts'
import { AVAILABLE, BUILDS, clone, Init, make, plan, run, s } from './init-driver.ts'

const ENOENT = 2
const ECHILD = 10
const ETIMEDOUT = 110
const TIME_LIMIT_MS = 120_000
const scratch = mkdtempSync(join(tmpdir(), 'berth-hook-'))
const rootTest = testIf('root')

afterAll(() => rmSync(scratch, { recursive: true }))
beforeAll(() => Object.values(BUILDS).forEach(make), TIME_LIMIT_MS)

function hook(script: string, options: { timeoutMs?: number; state?: string; path?: string } = {}): Step {
  const { timeoutMs = 0, state = '{"pid":\x01}', path = '/bin/sh' } = options
  return s('hook', { path, args: ['hook', '-c', script], env: ['PATH=/usr/bin:/bin', 'X=y'], timeoutMs, state })
}

for (const build of AVAILABLE) {
  describe(`hook (${build})`, () => {
    rootTest('receives the state with the pid of the container as the launcher sees it', async () => {
      const file = join(scratch, `${build}-state`)
      await using init = new Init(build)
      const run_ = hook(`cat >${file}; echo "$0 $X" >>${file}; umask >>${file}`, {
        state: '{"pid":\x01,"again":"\x01"}',
      })
      await init.send(plan({ host: [clone()], parent: [run_, s('post', { tag: 1 })], child: [s('await', { tag: 1 })] }))
      const { pid } = await init.until('pid')
      await init.until('done')
      expect(readFileSync(file, 'utf8')).toBe(`{"pid":${pid},"again":"${pid}"}hook y\n0022\n`)
    })

    rootTest('sees its own pid namespace when the child runs it', async () => {
      const { records } = await run(build, plan({ host: [clone()], child: [hook('cat; exit 1')] }))
      expect(records.at(-1)).toMatchObject({ kind: 'fail', stage: 'child', message: 'exit status 1: {"pid":1}' })
    })

    test('fails with its status and the end of what it said on both streams', async () => {
      const script = 'i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo out; echo err >&2; exit 3'
      const { records } = await run(build, plan({ host: [hook(script)] }))
      expect(records).toMatchObject([
        { kind: 'fail', errno: ECHILD, message: expect.stringMatching(/^exit status 3: .{392}out\nerr\n$/s) },
      ])
      const killed = await run(build, plan({ host: [hook('kill -9 $$')] }))
      expect(killed.records).toMatchObject([{ kind: 'fail', errno: ECHILD, message: 'signal 9' }])
    })

    test('that can not be executed fails with the errno', async () => {
      const { records } = await run(build, plan({ host: [hook('', { path: '/nonexistent' })] }))
      expect(records).toMatchObject([{ kind: 'fail', errno: ENOENT }])
    })

    test('need not read its state, however long', async () => {
      const state = 'x'.repeat(60_000)
      expect(
        (await run(build, plan({ host: [hook('exit 0', { state }), hook('exec <&-; sleep 0.05', { state })] })))
          .records,
      ).toEqual([{ kind: 'done' }])
      const { records } = await run(build, plan({ host: [hook('wc -c; exit 1', { state: `${state}${state}` })] }))
      expect(records).toMatchObject([{ kind: 'fail', errno: 7 }])
      const counted = await run(
        build,
        plan({ host: [hook('head -c 100000 /dev/zero | tr "\\0" .; wc -c; exit 1', { state })] }),
      )
      expect(counted.records).toMatchObject([{ message: expect.stringMatching(/\.{100}60000\n$/) }])
    })

    test('that takes too long is killed with all of its group', async () => {
      const file = join(scratch, `${build}-pids`)
      const script = `sleep 600 & echo $$ $! >${file}; echo waiting; wait`
      const { records } = await run(build, plan({ host: [hook(script, { timeoutMs: 300 })] }))
      expect(records).toMatchObject([{ kind: 'fail', errno: ETIMEDOUT, message: 'waiting\n' }])
      for (const pid of readFileSync(file, 'utf8').trim().split(' '))
        for (const end = Date.now() + 5000; isRunning(pid); await Bun.sleep(5)) expect(Date.now()).toBeLessThan(end)
    })

    test('is waited for, not what it leaves behind', async () => {
      const file = join(scratch, `${build}-daemon`)
      const { records } = await run(
        build,
        plan({ host: [hook(`sleep 600 & echo $! >${file}`, { timeoutMs: 10_000 })] }),
      )
      expect(records).toEqual([{ kind: 'done' }])
      process.kill(Number(readFileSync(file, 'utf8')), 9)
    })

    test('has default signals and no fds of berth-init', async () => {
      const { records } = await run(
        build,
        plan({
          host: [
            hook(`exec 2>&1; ls -l /proc/self/fd | grep -c -- "->"; grep -E "SigIgn|SigBlk" /proc/self/status; exit 1`),
          ],
        }),
      )
      expect(records).toMatchObject([
        { message: 'exit status 1: 4\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n' },
      ])
    })
  })
}

function isRunning(pid: string): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
}
