import { beforeAll, describe, expect } from 'bun:test'
import { closeSync, copyFileSync, ftruncateSync, openSync, readlinkSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { testIf } from '../support/requirement.ts'
import { BUILDS, clone, container, Init, make, plan, run, s } from './init-driver.ts'

const O_RDWR = 2
const TIME_LIMIT_MS = 120_000
const rootTest = testIf('root')

beforeAll(() => make(BUILDS.release), TIME_LIMIT_MS)

describe('berth-init', () => {
  rootTest('executes from a file that nobody can write through /proc, CVE-2019-5736', async () => {
    // A copy that nothing else executes meanwhile.
    const binary = `${tmpdir()}/berth-init-${process.pid}`
    copyFileSync(make(BUILDS.release), binary)
    await using init = new Init('release', 'plan', binary)
    await init.send(plan({ host: [s('ask', { tag: 0 })] }))
    await init.until('ask')
    const exe = `/proc/${init.process.pid}/exe`
    expect(() => closeSync(openSync(exe, O_RDWR))).toThrow('ETXTBSY')
    // What counts is when it does not execute any more: the file that was opened through the link is on a mount of
    // its own, and that is read-only.
    const reader = openSync(exe, 'r')
    expect(statSync(exe).ino).toBe(statSync(binary).ino)
    rmSync(binary)
    init.process.kill(9)
    await init.process.exited
    expect(() => closeSync(openSync(`/proc/self/fd/${reader}`, O_RDWR))).toThrow('EROFS')
    closeSync(reader)
  })

  rootTest('is out of reach of its container: neither memory nor file', async () => {
    const ask = [s('ask', { tag: 0 })]
    const script = 'for f in mem environ exe; do (: </proc/$1/$f) 2>/dev/null && echo readable $f; done; exit 0'
    await using init = new Init('release')
    await init.send(
      plan({ host: [clone({ flags: 0 })], parent: [...ask, s('post', { tag: 1 })], child: [s('await', { tag: 1 })] }),
    )
    const { pid } = await init.until('pid')
    await init.until('ask')
    // As an unprivileged user of the host, for whom a dumpable process of the same uid would be open.
    for (const who of [pid, init.process.pid]) {
      const { stdout } = Bun.spawnSync([
        'setpriv',
        '--reuid',
        '65534',
        '--clear-groups',
        'sh',
        '-c',
        script,
        'sh',
        `${who}`,
      ])
      expect(stdout.toString()).toBe('')
    }
    await init.send(Uint8Array.of(0))
    await init.until('done')
  })

  rootTest('does not leave the mount of itself in any mount table', async () => {
    const { stdout } = await run('release', container([], 'grep -c berth-init /proc/self/mountinfo || true'))
    expect(stdout).toBe('0\n')
    expect(readlinkSync('/proc/self/exe')).not.toContain('berth-init')
  })

  rootTest('copies itself to a sealed file where it may not mount', async () => {
    const without = ['setpriv', '--bounding-set', '-sys_admin', '--inh-caps', '-sys_admin']
    // On a read-only mount, as in the VM, the original would do.
    const binary = `${tmpdir()}/berth-init-sealed-${process.pid}`
    copyFileSync(make(BUILDS.release), binary)
    const planned = Bun.spawn([...without, binary, 'plan'], { stdio: ['pipe', 'pipe', 'inherit'] })
    const exe = `/proc/${planned.pid}/exe`
    for (const end = Date.now() + 10_000; !readlinkSync(exe).includes('memfd:berth-init'); await Bun.sleep(5))
      expect(Date.now()).toBeLessThan(end)
    rmSync(binary)
    const reader = openSync(exe, 'r')
    planned.kill(9)
    await planned.exited
    const writer = openSync(`/proc/self/fd/${reader}`, O_RDWR)
    expect(() => writeSync(writer, 'x')).toThrow('EPERM')
    expect(() => ftruncateSync(writer, 0)).toThrow('EPERM')
    closeSync(writer)
    closeSync(reader)
  })
})
