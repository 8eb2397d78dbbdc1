import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RecordParser } from '../../src/host/record.ts'
import { connectUnix } from '../../src/host/unix-socket.ts'
import type { Plan, Step } from '../../src/plan/step.ts'
import { testIf } from '../support/requirement.ts'
import {
  AVAILABLE,
  BUILDS,
  clone,
  container,
  Init,
  make,
  NAMESPACES,
  plan,
  run,
  s,
  shell,
  slot,
} from './init-driver.ts'

const ENOENT = 2
const ESRCH = 3
const EACCES = 13
const EINVAL = 22
const EPROTO = 71
const ECANCELED = 125
const SIGKILL = 9
const O_PATH = 0o10000000
const CLONE_NEWNET = 0x40000000
const CLONE_NEWPID = 0x20000000
const CLONE_NEWUSER = 0x10000000
const TIME_LIMIT_MS = 120_000
const scratch = mkdtempSync(join(tmpdir(), 'berth-child-'))
const rootTest = testIf('root')

const post = (tag: number): Step => s('post', { tag })
const await_ = (tag: number): Step => s('await', { tag })
const open = (path: string, n: number): Step => s('open', { path, flags: 0, mode: 0, out: slot(n) })
const missing: Step = s('chdir', { path: '/nonexistent' })
const mark = (name: string): Step => s('create_file', { dir: null, path: join(scratch, name), mode: 0o600, data: '' })

afterAll(() => rmSync(scratch, { recursive: true }))
beforeAll(() => Object.values(BUILDS).forEach(make), TIME_LIMIT_MS)

/** Whether a process is there; a zombie is not. */
function lives(pid: number): boolean {
  const status = statusOf(pid)
  return status !== '' && !/^State:\tZ/m.test(status)
}

/** '' when the process is gone. */
function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    // ENOENT and ESRCH: it is gone, which is the answer.
    return ''
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !holds(); await Bun.sleep(2))
    if (Date.now() > end) throw new Error(`${what} did not come true`)
}

for (const build of AVAILABLE) {
  describe(`a child (${build})`, () => {
    rootTest('is PID 1 of new namespaces, and its wait status comes as EXIT', async () => {
      const { records, stdout, exitCode, stderr } = await run(
        build,
        container([s('sethostname', { name: 'inside' })], 'echo $$ $(hostname); exit 3'),
      )
      expect(stdout).toBe('1 inside\n')
      expect(records.map(({ kind }) => kind)).toEqual(['pid', 'done', 'exit'])
      expect(records.at(-1)).toEqual({ kind: 'exit', waitStatus: 3 << 8 })
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
    })

    rootTest('gets no fd, signal or mask of berth-init', async () => {
      const opened = [open('/', 0), open('/proc', 1)]
      const script = 'ls -l /proc/self/fd | grep -c -- "->"; cat /proc/self/status'
      const { stdout } = await run(build, container([...opened, s('sigreset', {})], script, { host: opened }))
      // 0, 1, 2 and the directory that ls itself has open.
      expect(stdout).toStartWith('4\n')
      expect(stdout).toContain('\nUmask:\t0022\n')
      expect(stdout).toMatch(/SigBlk:\t0{16}\nSigIgn:\t0{16}\nSigCgt:\t0{16}\n/)
    })

    rootTest('reports the failing step of each of its stages', async () => {
      for (const stages of [{ child: [post(1), missing] }, { child: [], exec: [post(1), missing] }]) {
        const { records, exitCode } = await run(
          build,
          plan({ host: [clone()], parent: [await_(1), await_(2)], ...stages, undo: [] }),
        )
        const stage = 'exec' in stages ? 'exec' : 'child'
        expect(records.at(-1)).toEqual({ kind: 'fail', stage, step: 1, errno: ENOENT, message: '' })
        expect(exitCode).toBe(1)
      }
    })

    rootTest('reports why its program could not be executed: EACCES before ENOENT', async () => {
      const cases: [string[], number][] = [
        [['/nonexistent', '/etc/passwd', '/nonexistent/x'], EACCES],
        [['/nonexistent', '/etc/passwd/x'], ENOENT],
        [[], ENOENT],
      ]
      for (const [paths, errno] of cases) {
        const exec = [s('umask', { mask: 0 }), s('execve', { paths, argv: ['x'], env: [] })]
        const { records } = await run(build, plan({ host: [clone()], exec }))
        expect(records.at(-1)).toMatchObject({ kind: 'fail', stage: 'exec', step: 1, errno })
        const access = await run(build, plan({ host: [s('access_exec', { paths })] }))
        expect(access.records.at(-1)).toMatchObject({ kind: 'fail', step: 0, errno })
      }
    })

    rootTest('that dies without a word is told from one that executes', async () => {
      const dies = (child: Step[], parent: Step[]) => run(build, plan({ host: [clone()], parent, child }))
      const suicide = [s('pidfd_open', { who: 0, out: slot(0) }), s('pidfd_signal', { fd: slot(0), signal: SIGKILL })]
      // PID 1 of a namespace is immune to its own signals, so this child is in none.
      const host = [clone({ flags: 0 })]
      const awaiting = await run(build, plan({ host, parent: [await_(1)], child: suicide }))
      const ended = await run(build, plan({ host, parent: [], child: suicide }))
      const message = 'the child ended with signal 9'
      expect(awaiting.records.at(-1)).toEqual({ kind: 'fail', stage: 'parent', step: 0, errno: ECANCELED, message })
      expect(ended.records.at(-1)).toMatchObject({ kind: 'fail', errno: ECANCELED, message })
      expect((await dies([], [])).records.at(-1)).toEqual({ kind: 'done' })
    })

    rootTest('exchanges messages and fds with the launcher; a wrong tag is EPROTO', async () => {
      const parent = [post(1), s('recv_fd', { out: slot(1) }), s('write_fd', { fd: slot(1), data: 'x' }), await_(3)]
      const pipe = s('pipe', { reader: slot(0), writer: slot(1) })
      const child = [await_(1), pipe, s('send_fd', { fd: slot(1) }), post(2)]
      const { records } = await run(build, plan({ host: [clone()], parent, child }))
      expect(records.at(-1)).toMatchObject({ kind: 'fail', stage: 'parent', step: 3, errno: EPROTO })
    })

    rootTest('sends warnings and data through the launcher', async () => {
      const warning = s('chdir', { path: '/nonexistent' }, { tolerate: [ENOENT], warn: true })
      const read = s('read', { dir: null, path: '/proc/sys/kernel/hostname', limit: 100 })
      const child = [s('sethostname', { name: 'inner' }), warning, read]
      const { records } = await run(build, plan({ host: [clone()], child }))
      expect(records.slice(1)).toEqual([
        { kind: 'warn', stage: 'child', step: 1, errno: ENOENT, message: '' },
        { kind: 'data', bytes: new TextEncoder().encode('inner\n') },
        { kind: 'done' },
      ])
    })

    rootTest('is killed and reaped before the launcher undoes, when the launcher fails', async () => {
      const name = `${build}-undone`
      await using init = new Init(build)
      await init.send(plan({ host: [clone()], parent: [missing], child: [await_(1)], undo: [mark(name)] }))
      const { pid } = await init.until('pid')
      expect(await init.until('fail')).toMatchObject({ stage: 'parent', step: 0, errno: ENOENT })
      expect(lives(pid)).toBe(false)
      expect(existsSync(join(scratch, name))).toBe(true)
    })

    rootTest('writes nothing when the reader of fd 1 is gone: the launcher ends it', async () => {
      const name = `${build}-gone`
      await using init = new Init(build)
      await init.send(plan({ host: [s('ask', { tag: 0 }), clone()], child: [await_(1)], undo: [mark(name)] }))
      await init.until('ask')
      await init.close()
      await init.send(Uint8Array.of(0))
      expect(await init.process.exited).toBe(1)
      expect(existsSync(join(scratch, name))).toBe(true)
    })

    rootTest('does not survive a launcher killed at any of its steps', async () => {
      for (let at = 0; at < 3; at++) {
        await using init = new Init(build)
        const asks = [0, 1, 2].map(tag => s('ask', { tag }))
        const parent = [...asks.slice(0, at), await_(1), ...asks.slice(at), post(2)]
        const child = [post(1), await_(2)]
        await init.send(plan({ host: [clone()], parent, child, exec: shell('exec sleep 600') }))
        const { pid } = await init.until('pid')
        await init.until('ask')
        init.process.kill(SIGKILL)
        await until(`the end of ${pid}`, () => !lives(pid))
      }
    })

    rootTest('joins namespaces; the launcher stays outside and gets the pid as the host sees it', async () => {
      const sleeper = Bun.spawn(['unshare', '-n', '-p', '-f', '--kill-child', 'sleep', '600'], {
        stdio: ['ignore', 'ignore', 'inherit'],
      })
      try {
        await until(
          'the namespaces',
          () => readdirSync(`/proc/${sleeper.pid}/task/${sleeper.pid}`).length > 0 && children(sleeper.pid).length > 0,
        )
        const [inner = 0] = children(sleeper.pid)
        await using init = new Init(build)
        const joins = [
          { slot: slot(0), type: CLONE_NEWNET },
          { slot: slot(1), type: CLONE_NEWPID },
        ]
        await init.send(
          plan({
            host: [
              open(`/proc/${inner}/ns/net`, 0),
              open(`/proc/${inner}/ns/pid`, 1),
              clone({ flags: 0x20000, joins }),
            ],
            parent: [await_(1), s('ask', { tag: 1 }), post(2), s('wait_child', {})],
            child: [post(1), await_(2)],
            exec: shell('exit 7'),
          }),
        )
        const { pid } = await init.until('pid')
        await init.until('ask')
        expect(readlinkSync(`/proc/${pid}/ns/net`)).toBe(readlinkSync(`/proc/${inner}/ns/net`))
        expect(readlinkSync(`/proc/${pid}/ns/pid`)).toBe(readlinkSync(`/proc/${inner}/ns/pid`))
        expect(readlinkSync(`/proc/${init.process.pid}/ns/net`)).toBe(readlinkSync('/proc/self/ns/net'))
        await init.send(Uint8Array.of(0))
        expect(await init.until('exit')).toEqual({ kind: 'exit', waitStatus: 7 << 8 })
      } finally {
        sleeper.kill(SIGKILL)
        await sleeper.exited
      }
    })

    rootTest('that can not join a namespace fails the clone with the errno of setns', async () => {
      const joins = [
        { slot: slot(0), type: CLONE_NEWNET },
        { slot: slot(0), type: CLONE_NEWPID },
      ]
      const host = [open('/proc/self/ns/net', 0), clone({ joins })]
      const { records } = await run(build, plan({ host }))
      expect(records).toEqual([{ kind: 'fail', stage: 'host', step: 1, errno: EINVAL, message: 'joining namespace 1' }])
    })

    rootTest('in a user namespace gets its maps from the launcher', async () => {
      const parent = [
        s('write_child', { name: 'uid_map', data: '0 100000 1000\n' }),
        s('write_child', { name: 'setgroups', data: 'deny' }),
        s('write_child', { name: 'gid_map', data: '0 200000 1000\n' }),
        post(1),
        s('wait_child', {}),
      ]
      const child = [await_(1), s('setresgid', { gid: 0 }), s('setresuid', { uid: 0 })]
      const { stdout, records } = await run(
        build,
        plan({
          host: [clone({ flags: NAMESPACES | CLONE_NEWUSER })],
          parent,
          child,
          exec: shell('id -u; id -g; cat /proc/self/uid_map'),
        }),
      )
      expect(records.at(-1)).toEqual({ kind: 'exit', waitStatus: 0 })
      expect(stdout).toMatch(/^0\n0\n +0 +100000 +1000\n$/)
    })

    rootTest('has a pidfd that the launcher can use', async () => {
      const parent = [s('pidfd_signal', { fd: slot(0), signal: SIGKILL }), await_(1)]
      const { records } = await run(build, plan({ host: [clone({ pidfd: slot(0) })], parent, child: [await_(9)] }))
      expect(records.at(-1)).toMatchObject({ kind: 'fail', step: 1, message: 'the child ended with signal 9' })
    })

    test('is needed by the steps that name it', async () => {
      for (const step of [
        s('write_child', { name: 'oom_score_adj', data: '0' }),
        s('pidfd_open', { who: -1, out: null }),
        s('prlimit', { who: -1, resource: 0, soft: -1, hard: -1 }),
      ]) {
        const { records } = await run(build, plan({ host: [step] }))
        expect(records).toMatchObject([{ kind: 'fail', errno: ESRCH }])
      }
    })
  })

  describe(`wait_start (${build})`, () => {
    /** A container that waits to be started on a socket of this name. */
    function waiting(name: string, exec: readonly Step[]): Plan {
      return plan({
        host: [
          s('open', { path: scratch, flags: O_PATH, mode: 0, out: slot(0) }),
          s('listen', { dir: slot(0), name, mode: 0o600, out: slot(1) }),
          clone(),
        ],
        parent: [s('close', { fd: slot(1) }), await_(1)],
        child: [s('sigreset', {})],
        exec: [post(1), s('wait_start', { listener: slot(1) }), ...exec],
      })
    }

    const start = (name: string): Promise<Uint8Array> => connectUnix(join(scratch, name))

    rootTest('outlives the launcher that is done, and executes when it is started', async () => {
      const done = join(scratch, `${build}-started`)
      await using init = new Init(build)
      await init.send(waiting(`${build}-start`, shell(`echo started >${done}`)))
      const { pid } = await init.until('pid')
      expect(await init.finish()).toMatchObject({ exitCode: 0, stderr: '' })
      expect(lives(pid)).toBe(true)
      expect(Buffer.from(await start(`${build}-start`)).toString()).toBe('A')
      await until('the effect', () => existsSync(done) && !lives(pid))
    })

    rootTest('is what DONE waits for: a failure right before it fails the plan', async () => {
      const before = [post(1), missing, s('wait_start', { listener: slot(1) })]
      const { records } = await run(build, { ...waiting(`${build}-early`, []), exec: before })
      expect(records.at(-1)).toEqual({ kind: 'fail', stage: 'exec', step: 1, errno: ENOENT, message: '' })
    })

    rootTest('reports a failure behind it to who started it', async () => {
      const name = `${build}-start-fail`
      await using init = new Init(build)
      await init.send(waiting(name, [missing]))
      await init.finish()
      const [accepted, ...record] = await start(name)
      expect(accepted).toBe('A'.charCodeAt(0))
      expect(new RecordParser().push(Uint8Array.from(record))).toEqual([
        { kind: 'fail', stage: 'exec', step: 2, errno: ENOENT, message: '' },
      ])
    })
  })
}

function children(parent: number): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && statusOf(Number(name)).includes(`\nPPid:\t${parent}\n`))
    .map(Number)
}
