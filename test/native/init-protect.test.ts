import { beforeAll, describe, expect } from 'bun:test'
import { closeSync, openSync, readlinkSync, statSync } from 'node:fs'
import { testIf } from '../support/requirement.ts'
import { BUILDS, clone, container, Init, make, plan, run, s } from './init-driver.ts'

const O_RDWR = 2
const TIME_LIMIT_MS = 120_000
const rootTest = testIf('root')

beforeAll(() => make(BUILDS.release), TIME_LIMIT_MS)

describe('berth-init', () => {
  rootTest('executes from a file that nobody can write through /proc, CVE-2019-5736', async () => {
    await using init = new Init('release')
    await init.send(plan({ host: [s('ask', { tag: 0 })] }))
    await init.until('ask')
    const exe = `/proc/${init.process.pid}/exe`
    expect(() => closeSync(openSync(exe, O_RDWR))).toThrow('EROFS')
    // Not because it is being executed (ETXTBSY): a copy of the link's file is refused, too.
    const reader = openSync(exe, 'r')
    expect(() => closeSync(openSync(`/proc/self/fd/${reader}`, O_RDWR))).toThrow('EROFS')
    closeSync(reader)
    expect(statSync(exe).ino).toBe(statSync(make(BUILDS.release)).ino)
  })

  rootTest('is out of reach of its container: neither memory nor file', async () => {
    const ask = [s('ask', { tag: 0 })]
    const script = 'for f in mem environ exe; do (: </proc/$1/$f) 2>/dev/null && echo readable $f; done; exit 0'
    await using init = new Init('release')
    await init.send(plan({ host: [clone({ flags: 0 })], parent: [...ask, s('post', { tag: 1 })], child: [s('await', { tag: 1 })] }))
    const { pid } = await init.until('pid')
    await init.until('ask')
    // As an unprivileged user of the host, for whom a dumpable process of the same uid would be open.
    for (const who of [pid, init.process.pid]) {
      const { stdout } = Bun.spawnSync(['setpriv', '--reuid', '65534', '--clear-groups', 'sh', '-c', script, 'sh', `${who}`])
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
    const program = Bun.spawn(
      ['setpriv', '--bounding-set', '-sys_admin', '--inh-caps', '-sys_admin', make(BUILDS.release), 'helper'],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    )
    await program.stdin.end()
    expect(await program.exited).toBe(0)
    const planned = Bun.spawn(['setpriv', '--bounding-set', '-sys_admin', '--inh-caps', '-sys_admin', make(BUILDS.release), 'plan'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    for (const end = Date.now() + 10_000; !readlinkSync(`/proc/${planned.pid}/exe`).includes('memfd:berth-init'); await Bun.sleep(5))
      expect(Date.now()).toBeLessThan(end)
    expect(() => closeSync(openSync(`/proc/${planned.pid}/exe`, O_RDWR))).toThrow(/EPERM|ETXTBSY/)
    const reader = openSync(`/proc/${planned.pid}/exe`, 'r')
    expect(() => closeSync(openSync(`/proc/self/fd/${reader}`, O_RDWR))).toThrow(/EPERM|ETXTBSY/)
    closeSync(reader)
    planned.kill(9)
    await planned.exited
  })
})
