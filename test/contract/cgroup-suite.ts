import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { type CgroupLocation, directoryFor } from '../../src/host/cgroup/location.ts'
import type { CgroupManager } from '../../src/host/cgroup/manager.ts'
import { poll, removeCgroup } from '../../src/host/cgroup/processes.ts'
import type { LinuxResources } from '../../src/linux/cgroup/resources.ts'
import { skippedName } from '../support/junit.ts'

/** A cgroup made for one test, and a way to run programs in it. */
export interface MadeCgroup {
  readonly manager: CgroupManager
  /** Processes that the factory keeps in it. */
  readonly keepers: readonly number[]
  /** Runs a shell script whose process is in the cgroup from its first command on. */
  run(script: string): Bun.Subprocess<'ignore', 'pipe', 'pipe'>
}

export interface CgroupFactory {
  /** Why it can't be tested here, null when it can. */
  readonly missing: string | null
  readonly version: 1 | 2
  make(name: string, resources: LinuxResources): Promise<MadeCgroup>
  /** After all tests: removes what is around the cgroups. */
  end(): Promise<void>
}

const MiB = 1024 * 1024
const DEADLINE_MS = 60_000

async function until(ask: () => boolean): Promise<void> {
  await poll(
    () => (ask() ? true : null),
    DEADLINE_MS,
    () => new Error('not so before the deadline'),
  )
}

function read(location: CgroupLocation, controller: string, file: string): string {
  return readFileSync(`${directoryFor(location, controller)?.dir}/${file}`, 'utf8').trim()
}

/** `test()`, or a skipped test that says why. */
export function testUnless(missing: string | null): (name: string, run: () => Promise<unknown>) => void {
  return (name, run) => {
    if (missing === null) test(name, run, DEADLINE_MS)
    else test.skip(skippedName(name, missing), run)
  }
}

/** What the tests of a suite share. */
interface Suite {
  readonly version: 1 | 2
  readonly check: (name: string, run: () => Promise<unknown>) => void
  make(resources?: LinuxResources): Promise<MadeCgroup>
}

/** What every implementation of {@link CgroupManager} has to do, with limits hit for real. */
export function describeCgroupManager(name: string, factory: CgroupFactory): void {
  describe(name, () => {
    const check = testUnless(factory.missing)
    const made: MadeCgroup[] = []
    let count = 0
    const make = async (resources: LinuxResources = {}): Promise<MadeCgroup> => {
      const cgroup = await factory.make(`t${count++}`, resources)
      made.push(cgroup)
      return cgroup
    }
    afterAll(async () => {
      if (factory.missing !== null) return
      for (const { manager } of made) {
        await manager.kill(9)
        await manager.remove()
        expect(manager.exists()).toBe(false)
      }
      await factory.end()
    })
    const suite: Suite = { version: factory.version, check, make }
    checkProcesses(suite)
    checkLimits(suite)
    checkFreezer(suite)
    checkUpdate(suite)
  })
}

/** Who is in it, and how to end them. */
function checkProcesses({ check, make }: Suite): void {
  check('pids() lists what runs in it, and remove() names it', async () => {
    const { manager, keepers, run } = await make()
    const child = run('exec sleep 1000')
    await until(() => readFileSync(`/proc/${child.pid}/comm`, 'utf8') === 'sleep\n')
    expect(manager.pids()).toEqual([...keepers, child.pid].sort((a, b) => a - b))
    await expect(removeCgroup(directoryFor(manager.location, 'pids')?.dir ?? '', 1)).rejects.toThrow(`${child.pid}`)
    await manager.kill(9)
    expect(await child.exited).toBe(137)
    await manager.remove()
    expect(manager.exists()).toBe(false)
    await manager.remove()
  })

  check('kill() ends a frozen cgroup and one that forks as fast as it can', async () => {
    const { manager, run } = await make({ pids: { limit: 64 } })
    const forker = run('while :; do (:; sleep 0) & done 2>/dev/null')
    const sleeper = run('exec sleep 1000')
    await until(() => manager.pids().includes(sleeper.pid) && manager.pids().length > 2)
    await manager.freeze()
    await manager.kill(9)
    await Promise.all([forker.exited, sleeper.exited])
    await until(() => manager.pids().length === 0)
  })

  check('kill() sends other signals to each process', async () => {
    const { manager, run } = await make()
    const child = run("trap 'echo got; exit 0' TERM; echo ready; while :; do sleep 0.01; done")
    const reader = child.stdout.getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('ready\n')
    await manager.kill(15)
    expect(await child.exited).toBe(0)
  })
}

/** Limits hit for real. */
function checkLimits({ check, make }: Suite): void {
  check('a process in it can not make more processes than pids.limit', async () => {
    const { manager, run } = await make({ pids: { limit: 3 } })
    const child = run('for i in 1 2 3 4 5 6; do sleep 1000 & done; wait')
    expect(await child.exited).not.toBe(0)
    expect(Number(manager.stats().pids.current)).toBeLessThanOrEqual(3)
    await manager.kill(9)
    expect(await new Response(child.stderr).text()).toMatch(/fork/i)
  })

  check('a process that takes more memory than the limit is killed, and onOom() says so', async () => {
    const { manager, run } = await make({ memory: { limit: 24 * MiB } })
    let kills = 0
    const abort = new AbortController()
    manager.onOom(each => (kills = each), abort.signal)
    const child = run('head -c 200000000 /dev/zero | tail > /dev/null; exit 77')
    await child.exited
    await until(() => kills > 0)
    abort.abort()
    const { usage } = manager.stats().memory
    expect(usage?.limit).toBe(24 * MiB)
    expect(usage?.failcnt).toBeGreaterThan(0)
  })

  check('a busy process is throttled to its quota', async () => {
    const { manager, run } = await make({ cpu: { quota: 5000, period: 50_000 } })
    const child = run('while :; do :; done')
    await until(() => Number(manager.stats().cpu.throttling?.throttledPeriods ?? 0) > 2)
    expect(Number(manager.stats().cpu.usage.total)).toBeGreaterThan(0)
    await manager.kill(9)
    await child.exited
  })

  check('a device is refused with EPERM unless the rules allow it', async () => {
    const { run } = await make({ devices: [{ allow: true, type: 'c', major: 1, minor: 11, access: 'r' }] })
    const child = run(
      'd=$(mktemp -d); mknod $d/mem c 1 1; mknod $d/kmsg c 1 11; true < /dev/null && echo null; true < $d/kmsg && echo kmsg; true > $d/kmsg || echo readonly; true < $d/mem || echo nomem; rm -r $d',
    )
    expect((await new Response(child.stdout).text()).split('\n')).toEqual(['null', 'kmsg', 'readonly', 'nomem', ''])
    expect(await new Response(child.stderr).text()).toMatch(/Operation not permitted|Permission denied/)
  })
}

/** Stopping it, and what a cgroup that is gone does. */
function checkFreezer({ check, make }: Suite): void {
  check('freeze() stops everything until thaw()', async () => {
    const { manager, keepers, run } = await make()
    const child = run('while :; do :; done & while :; do :; done')
    await until(() => manager.pids().length === keepers.length + 2)
    await manager.freeze()
    expect(manager.freezerState()).toBe('frozen')
    const total = manager.stats().cpu.usage.total
    // Frozen, two busy loops use no time while this process uses some.
    for (const start = performance.now(); performance.now() - start < 30; ) manager.pids()
    expect(manager.stats().cpu.usage.total).toBe(total ?? 0)
    await manager.thaw()
    expect(manager.freezerState()).toBe('thawed')
    await until(() => manager.stats().cpu.usage.total !== total)
    await manager.kill(9)
    await child.exited
  })

  check('update() and freeze() of a cgroup that is gone throw notFound; the rest finds nothing', async () => {
    const { manager } = await make()
    await manager.remove()
    await expect(manager.update({ pids: { limit: 1 } })).rejects.toThrow('no such cgroup')
    await expect(manager.freeze()).rejects.toThrow('no such cgroup')
    await manager.kill(9)
    await manager.thaw()
    expect(manager.pids()).toEqual([])
  })
}

/** Changing and reading. */
function checkUpdate({ check, make, version }: Suite): void {
  check('update() changes limits, and sets all back when one is refused', async () => {
    const { manager } = await make({ pids: { limit: 10 }, memory: { limit: 64 * MiB } })
    await manager.update({ pids: { limit: 20 }, memory: { limit: 128 * MiB } })
    expect(read(manager.location, 'pids', 'pids.max')).toBe('20')
    expect(Number(manager.stats().memory.usage?.limit)).toBe(128 * MiB)
    // The last write is refused, those before it are taken back.
    const bad = version === 2 ? { unified: { 'cpu.weight': '999999' } } : { rdma: { nodevice: { hcaHandles: 1 } } }
    await expect(manager.update({ pids: { limit: 30 }, memory: { limit: 96 * MiB }, ...bad })).rejects.toThrow('Cannot')
    expect(read(manager.location, 'pids', 'pids.max')).toBe('20')
    expect(Number(manager.stats().memory.usage?.limit)).toBe(128 * MiB)
  })

  check('stats() of an idle cgroup has every part', async () => {
    const { manager } = await make({ pids: { limit: 7 } })
    expect(Object.keys(manager.stats())).toEqual(['cpu', 'cpuset', 'memory', 'pids', 'blkio', 'hugetlb'])
    expect(manager.stats().pids.limit).toBe(7)
    expect(manager.location.directories.every(({ dir }) => existsSync(dir))).toBe(true)
  })
}
