import { afterAll, describe, expect } from 'bun:test'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { detectCgroups } from '../../src/host/cgroup/layout.ts'
import { type CgroupLocation, resolveCgroupPath } from '../../src/host/cgroup/location.ts'
import { removeCgroup } from '../../src/host/cgroup/processes.ts'
import { launch } from '../../src/host/launcher.ts'
import { parseProcCgroup } from '../../src/linux/cgroup/hierarchies.ts'
import { CLONE_NEWCGROUP } from '../../src/linux/namespaces.ts'
import { SlotTable, STDOUT } from '../../src/plan/slots.ts'
import { type Plan, type Step, step } from '../../src/plan/step.ts'
import { type CgroupComposition, composeCgroup, composeCgroupJoin } from '../../src/runtime/compose-cgroup.ts'
import { testUnless } from './cgroup-suite.ts'

const PARENT = `/berth-test-plan-${process.pid}`
const dir = mkdtempSync(`${tmpdir()}/berth-cgroup-plan-`)
const hasInit = existsSync(`${import.meta.dir}/../../native/build/berth-init`)
const missing = process.getuid?.() !== 0 ? 'needs root' : hasInit ? null : 'needs berth-init'

function planOf(composed: CgroupComposition, slots: SlotTable, flags: number, program: readonly Step[]): Plan {
  const clone = step(
    'clone',
    { flags: composed.unshareInChild ? 0 : flags, cgroup: composed.cloneInto, joins: [], pidfd: null },
    'the process',
  )
  const unshare = composed.unshareInChild && flags !== 0 ? [step('unshare', { flags }, 'its cgroup namespace')] : []
  return {
    host: [...composed.host, clone],
    parent: [...composed.parent, step('wait_child', {}, 'wait')],
    child: [...composed.child, ...unshare],
    exec: [step('dup2', { fd: STDOUT, target: 1 }, 'its output'), ...program],
    undo: composed.undo,
    slotCount: slots.count,
  }
}

function command(...argv: readonly string[]): Step {
  return step('execve', { paths: [argv[0] ?? ''], argv, env: [] }, 'run')
}

async function outputOf(plan: Plan): Promise<string> {
  const file = `${dir}/output`
  const fd = openSync(file, 'w')
  try {
    const launched = await launch(plan, { stdio: ['ignore', fd, 'ignore'] })
    await launched.exited()
    return readFileSync(file, 'utf8')
  } finally {
    closeSync(fd)
  }
}

function locate(name: string): CgroupLocation {
  return resolveCgroupPath(detectCgroups(), `${PARENT}/${name}`, name, 'cgroupfs')
}

function composeIn(location: CgroupLocation, slots: SlotTable): CgroupComposition {
  return composeCgroup({ location, resources: { pids: { limit: 50 } }, slots, privileged: true })
}

describe('the plan of a cgroup', () => {
  const check = testUnless(missing)
  afterAll(async () => {
    rmSync(dir, { recursive: true })
    if (missing !== null) return
    for (const { mountPoint } of detectCgroups().hierarchies) await removeCgroup(`${mountPoint}${PARENT}`)
  })

  check('puts the process into its cgroup in every hierarchy before it runs', async () => {
    const slots = new SlotTable()
    const composed = composeIn(locate('one'), slots)
    const text = await outputOf(planOf(composed, slots, 0, [command('/bin/cat', '/proc/self/cgroup')]))
    const paths = parseProcCgroup(text).map(({ path }) => path)
    expect(paths.length).toBeGreaterThan(0)
    expect(new Set(paths)).toEqual(new Set([`${PARENT}/one`]))
  })

  check('makes it the root of a new cgroup namespace', async () => {
    const slots = new SlotTable()
    const composed = composeIn(locate('two'), slots)
    const text = await outputOf(planOf(composed, slots, CLONE_NEWCGROUP, [command('/bin/cat', '/proc/self/cgroup')]))
    expect(new Set(parseProcCgroup(text).map(({ path }) => path))).toEqual(new Set(['/']))
  })

  check('removes what it made when a later step fails, and nothing else', async () => {
    const slots = new SlotTable()
    const location = locate('three')
    const composed = composeIn(location, slots)
    const plan = planOf(composed, slots, 0, [command('/no/such/program')])
    await expect(outputOf(plan)).rejects.toThrow('ENOENT')
    for (const { dir: gone, hierarchy } of location.directories) {
      expect(existsSync(gone)).toBe(false)
      expect(existsSync(`${hierarchy.mountPoint}${PARENT}`)).toBe(true)
    }
  })

  check('joins a further process to it', async () => {
    const location = locate('four')
    const first = new SlotTable()
    await outputOf(planOf(composeIn(location, first), first, 0, [command('/bin/true')]))
    const slots = new SlotTable()
    const text = await outputOf(
      planOf(composeCgroupJoin({ location, slots }), slots, 0, [command('/bin/cat', '/proc/self/cgroup')]),
    )
    expect(new Set(parseProcCgroup(text).map(({ path }) => path))).toEqual(new Set([`${PARENT}/four`]))
  })
})
