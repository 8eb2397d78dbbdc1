import { describe, expect } from 'bun:test'
import { existsSync } from 'node:fs'
import { type CgroupLayout, detectCgroups } from '../../src/host/cgroup/layout.ts'
import { resolveCgroupPath } from '../../src/host/cgroup/location.ts'
import type { CgroupManagerOptions } from '../../src/host/cgroup/manager.ts'
import { openCgroup, openSystemdCgroup } from '../../src/host/cgroup/open-cgroup.ts'
import { removeCgroup } from '../../src/host/cgroup/processes.ts'
import { runSteps } from '../../src/host/helper.ts'
import { initPath } from '../../src/host/init-path.ts'
import type { LinuxResources } from '../../src/linux/cgroup/resources.ts'
import { O_DIRECTORY, O_RDONLY } from '../../src/linux/open-flags.ts'
import { SlotTable } from '../../src/plan/slots.ts'
import { step } from '../../src/plan/step.ts'
import { composeCgroup } from '../../src/runtime/compose-cgroup.ts'
import { executeSteps } from './cgroup-steps.ts'
import { type CgroupFactory, describeCgroupManager, type MadeCgroup, testUnless } from './cgroup-suite.ts'

const PARENT = `berth-test-${process.pid}`

const layout = detect()
const root = process.getuid?.() === 0

function detect(): CgroupLayout | null {
  try {
    return detectCgroups()
  } catch {
    // No cgroups at all: every suite below is skipped and says so.
    return null
  }
}

function hasInit(): boolean {
  try {
    initPath()
    return true
  } catch {
    // Not built.
    return false
  }
}

async function attachDeviceProgram(dir: string, program: Uint8Array): Promise<void> {
  const cgroup = new SlotTable().allocate('cgroup')
  await runSteps([
    step('open', { path: dir, flags: O_RDONLY | O_DIRECTORY, mode: 0, out: cgroup }, 'the cgroup'),
    step('bpf_device', { program, cgroup, replace: 1 }, 'the filter'),
  ])
}

const options: CgroupManagerOptions = hasInit() ? { attachDeviceProgram } : {}

function spawn(command: string[]): Bun.Subprocess<'ignore', 'pipe', 'pipe'> {
  return Bun.spawn(command, { stdio: ['ignore', 'pipe', 'pipe'] })
}

/** The cgroup is made by the composed steps; a process joins it as the plan has it. */
async function makeFiles(name: string, resources: LinuxResources): Promise<MadeCgroup> {
  if (layout === null) throw new Error('no cgroups')
  const location = resolveCgroupPath(layout, `/${PARENT}/${name}`, name, 'cgroupfs')
  const composed = composeCgroup({ location, resources, slots: new SlotTable(), privileged: true })
  const dir = location.directories.at(-1)?.dir ?? ''
  await executeSteps(composed.host, async program => await options.attachDeviceProgram?.(dir, program))
  const joins = location.directories.map(
    ({ hierarchy, dir: each }) => `echo 0 > ${each}/${hierarchy.version === 1 ? 'tasks' : 'cgroup.procs'}`,
  )
  return {
    manager: openCgroup(location, options),
    keepers: [],
    run: script => spawn(['sh', '-c', [...joins, script].join('\n')]),
  }
}

async function endFiles(): Promise<void> {
  for (const { mountPoint } of layout?.hierarchies ?? []) await removeCgroup(`${mountPoint}/${PARENT}`)
}

function filesMissing(version: 1 | 2): string | null {
  if (!root) return 'needs root'
  if (layout === null) return 'needs cgroups'
  const has = layout.mode === 'v2' ? 2 : 1
  if (version === 2 && !hasInit()) return 'needs berth-init'
  return has === version ? null : `needs cgroup v${version}`
}

for (const version of [1, 2] as const) {
  const factory: CgroupFactory = {
    missing: filesMissing(version),
    version,
    make: makeFiles,
    end: endFiles,
  }
  describeCgroupManager(`CgroupManager in the filesystem, v${version}`, factory)
}

/** The scope is made around a process that only keeps it alive; the programs of the test join it. */
async function makeScope(name: string, resources: LinuxResources): Promise<MadeCgroup> {
  if (layout === null) throw new Error('no cgroups')
  const location = resolveCgroupPath(layout, `berth-test.slice:${PARENT}:${name}`, name, 'systemd')
  const manager = openSystemdCgroup(location, options)
  const keeper = spawn(['sleep', '1000'])
  try {
    // Not the whole group when out of memory: the keeper must live on for the test to look.
    await manager.adopt(keeper.pid, resources, { id: name, annotations: {}, oomGroup: false })
  } catch (error) {
    keeper.kill(9)
    throw error
  }
  const joins = location.directories.map(({ dir }) => `echo $$ > ${dir}/cgroup.procs`)
  return { manager, keepers: [keeper.pid], run: script => spawn(['sh', '-c', [...joins, script].join('\n')]) }
}

async function endScopes(): Promise<void> {
  await spawn(['systemctl', 'stop', 'berth-test.slice']).exited
}

function systemdMissing(): string | null {
  if (!root) return 'needs root'
  if (!hasInit()) return 'needs berth-init'
  return existsSync('/run/systemd/system') ? null : 'needs systemd'
}

describeCgroupManager('CgroupManager with systemd', {
  missing: systemdMissing(),
  version: layout?.mode === 'v2' ? 2 : 1,
  make: makeScope,
  end: endScopes,
})

async function show(unit: string, property: string): Promise<string> {
  return (await new Response(spawn(['systemctl', 'show', '--value', '-p', property, unit]).stdout).text()).trim()
}

describe('SystemdCgroup', () => {
  const check = testUnless(systemdMissing())

  check('adopt() tells systemd the limits, update() tells it the new ones, remove() leaves no unit', async () => {
    const { manager, keepers } = await makeScope('told', { memory: { limit: 1 << 26 }, pids: { limit: 9 } })
    const unit = `${PARENT}-told.scope`
    expect(await show(unit, layout?.mode === 'v2' ? 'MemoryMax' : 'MemoryLimit')).toBe(String(1 << 26))
    expect(await show(unit, 'TasksMax')).toBe('9')
    expect(await show(unit, 'Delegate')).toBe('yes')
    expect(await show(unit, 'DevicePolicy')).toBe('strict')
    await manager.update({ pids: { limit: 11 }, cpu: { quota: 12_345, period: 100_000 } })
    expect(await show(unit, 'TasksMax')).toBe('11')
    expect(manager.pids()).toEqual([...keepers])
    await manager.kill(9)
    await manager.remove()
    expect(await show(unit, 'LoadState')).toBe('not-found')
  })

  check('adopt() refuses a unit that is there and a property that may not be set', async () => {
    const { manager } = await makeScope('twice', {})
    await expect(makeScope('twice', {})).rejects.toThrow('a unit of this name is there')
    expect(manager.exists()).toBe(true)
    const location = resolveCgroupPath(layout ?? detectCgroups(), `berth-test.slice:${PARENT}:evil`, 'evil', 'systemd')
    const annotations = { 'org.systemd.property.SuccessAction': "'reboot'" }
    const evil = openSystemdCgroup(location, options)
    await expect(evil.adopt(process.pid, {}, { id: 'evil', annotations })).rejects.toThrow('SuccessAction')
    expect(evil.exists()).toBe(false)
    await manager.kill(9)
    await manager.remove()
  })
})
