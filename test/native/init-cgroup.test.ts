import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Slot } from '../../src/plan/slots.ts'
import type { Step } from '../../src/plan/step.ts'
import { testIf } from '../support/requirement.ts'
import { AVAILABLE, BUILDS, clone, make, plan, run, s, shell, slot } from './init-driver.ts'

const EBADF = 9
const EINVAL = 22
const O_PATH = 0o10000000
const CLONE_NEWUTS = 0x4000000
const CLONE_NEWCGROUP = 0x2000000
const TIME_LIMIT_MS = 120_000
const rootTest = testIf('root')
const mount = readFileSync('/proc/self/mountinfo', 'utf8')
  .split('\n')
  .find(line => line.includes(' - cgroup2 '))
  ?.split(' ')[4]
const name = `berth-native-${process.pid}`
const directory = mount === undefined ? undefined : join(mount, name)

beforeAll(() => {
  Object.values(BUILDS).forEach(make)
  if (directory !== undefined) mkdirSync(directory)
}, TIME_LIMIT_MS)

afterAll(() => {
  if (directory !== undefined) rmdirSync(directory)
})

/** An eBPF program of two instructions that allows (1) or denies (0) every device: r0 = allow; exit. */
function deviceProgram(allow: 0 | 1): Uint8Array {
  return Uint8Array.of(0xb7, 0, 0, 0, allow, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0)
}

const openCgroup = (out: Slot, path = directory ?? ''): Step => s('open', { path, flags: O_PATH, mode: 0, out })

for (const build of AVAILABLE) {
  describe(`cgroups v2 (${build})`, () => {
    if (directory === undefined) return

    rootTest('clone() starts the child in the cgroup, with joins, too', async () => {
      const joins = [{ slot: slot(1), type: CLONE_NEWUTS }]
      const uts = s('open', { path: '/proc/self/ns/uts', flags: 0, mode: 0, out: slot(1) })
      for (const args of [{ flags: 0 }, { flags: CLONE_NEWUTS }, { flags: 0, joins }]) {
        const host = [openCgroup(slot(0)), uts, clone({ cgroup: slot(0), ...args })]
        const exec = shell('cat /proc/self/cgroup')
        expect((await run(build, plan({ host, parent: [s('wait_child', {})], exec }))).stdout).toContain(
          `0::/${name}\n`,
        )
      }
      const inside = await run(
        build,
        plan({
          host: [openCgroup(slot(0)), clone({ flags: CLONE_NEWCGROUP, cgroup: slot(0) })],
          parent: [s('wait_child', {})],
          exec: shell('cat /proc/self/cgroup'),
        }),
      )
      expect(inside.stdout).toContain('0::/\n')
    })

    rootTest('bpf_device() adds a filter, or puts it in the place of those before', async () => {
      const outcome = async (...programs: [Uint8Array, number][]) => {
        const steps = programs.map(([program, replace]) => s('bpf_device', { program, cgroup: slot(0), replace }))
        const host = [openCgroup(slot(0)), ...steps, clone({ flags: 0, cgroup: slot(0) })]
        const exec = shell('(: </dev/zero) 2>/dev/null && echo allowed || echo denied')
        const { records, stdout } = await run(build, plan({ host, parent: [s('wait_child', {})], exec }))
        return stdout === '' ? records.at(-1) : stdout.trim()
      }
      const allow = deviceProgram(1)
      const deny = deviceProgram(0)
      expect(await outcome([allow, 1])).toBe('allowed')
      expect(await outcome([deny, 1])).toBe('denied')
      expect(await outcome([allow, 0])).toBe('denied')
      expect(await outcome([allow, 1])).toBe('allowed')
      expect(await outcome([deny.subarray(0, 9), 1])).toMatchObject({ kind: 'fail', errno: EINVAL })
      const refused = await outcome([Uint8Array.of(0xb7, 0, 0, 0, 1, 0, 0, 0), 0])
      expect(refused).toMatchObject({ kind: 'fail', errno: EINVAL, message: expect.stringContaining('insn') })
    })

    rootTest('a cgroup fd that is none fails the clone', async () => {
      const { records } = await run(build, plan({ host: [openCgroup(slot(0), '/'), clone({ cgroup: slot(0) })] }))
      expect(records).toMatchObject([{ kind: 'fail', stage: 'host', step: 1, errno: EBADF }])
    })
  })
}
