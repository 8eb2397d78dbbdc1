// vm-run: --systemd
/** Containers whose cgroups are scopes of systemd (`--systemd-cgroup`). */

import { expect } from 'bun:test'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatJson } from '../../src/lib/json-shape.ts'
import { defaultSpec } from '../../src/oci/default-spec.ts'
import type { RuntimeSpec } from '../../src/oci/runtime-spec.ts'
import { Machine, until } from '../runtime/verbs-machine.ts'
import { testIf } from '../support/requirement.ts'
import { BERTH, kernelFile, outcomeOf } from './berth.ts'

const inVm = testIf('vm', 'systemd', 'cgroup v2')
const MEBIBYTE = 1024n * 1024n

function systemdMachine(): Machine {
  return new Machine([...BERTH, 'runtime', '--systemd-cgroup'])
}

async function properties(unit: string, ...names: readonly string[]): Promise<Record<string, string>> {
  const { stdout } = await outcomeOf(['systemctl', 'show', unit, ...names.map(name => `--property=${name}`)])
  return Object.fromEntries(
    stdout
      .trimEnd()
      .split('\n')
      .map(line => line.split(/=(.*)/s).slice(0, 2)),
  )
}

function inScope(cgroupsPath: string): (spec: RuntimeSpec) => RuntimeSpec {
  return spec => ({
    ...spec,
    linux: {
      ...spec.linux,
      cgroupsPath,
      resources: {
        devices: [{ allow: false, access: 'rwm' }],
        memory: { limit: 64n * MEBIBYTE },
        pids: { limit: 50n },
        cpu: { quota: 20_500n, period: 100_000n, shares: 512n },
      },
    },
  })
}

inVm(
  'a container is a scope in its slice, with its limits known to systemd, and update tells systemd too',
  async () => {
    await using machine = systemdMachine()
    const id = `${machine.prefix}scope`
    await machine.container('scope', inScope(`test-vm.slice:berth:${id}`))
    const unit = `berth-${id}.scope`
    const names = ['ActiveState', 'Slice', 'MemoryMax', 'TasksMax', 'CPUQuotaPerSecUSec', 'ControlGroup', 'Delegate']
    expect(await properties(unit, ...names)).toEqual({
      ActiveState: 'active',
      Slice: 'test-vm.slice',
      MemoryMax: '67108864',
      TasksMax: '50',
      CPUQuotaPerSecUSec: '210ms',
      ControlGroup: `/test.slice/test-vm.slice/${unit}`,
      Delegate: 'yes',
    })
    const cgroup = join('/sys/fs/cgroup/test.slice/test-vm.slice', unit)
    // systemd knows whole percents only; what the kernel does is what the config says.
    expect(kernelFile(cgroup, 'cpu.max')).toBe('20500 100000')
    expect(kernelFile(cgroup, 'memory.max')).toBe('67108864')

    const exec = await machine.run(['exec', id, 'cat', '/proc/self/cgroup'])
    expect(exec.stdout).toBe(`0::/test.slice/test-vm.slice/${unit}\n`)
    expect(
      (await machine.run(['exec', id, 'sh', '-c', 'echo fine > /dev/null; cat < /dev/kmsg'])).stderr,
    ).not.toContain('/dev/null')

    const update = await machine.run(['update', '--memory', '80M', '--pids-limit', '60', id])
    expect(update).toMatchObject({ status: 0, stderr: '' })
    expect(await properties(unit, 'MemoryMax', 'TasksMax')).toEqual({ MemoryMax: '83886080', TasksMax: '60' })
    expect(await outcomeOf(['systemctl', 'daemon-reload'])).toMatchObject({ status: 0 })
    expect(kernelFile(cgroup, 'memory.max')).toBe('83886080')

    expect(await machine.run(['pause', id])).toMatchObject({ status: 0, stderr: '' })
    expect(kernelFile(cgroup, 'cgroup.events')).toContain('frozen 1')
    expect(await machine.run(['delete', '--force', id])).toMatchObject({ status: 0, stderr: '' })
    expect(await properties(unit, 'LoadState')).toEqual({ LoadState: 'not-found' })
    expect(existsSync(cgroup)).toBe(false)
  },
)

inVm('create and start by hand: the scope is there before the program runs, and goes with it', async () => {
  await using machine = systemdMachine()
  const id = `${machine.prefix}hand`
  const bundle = join(machine.base, 'hand')
  mkdirSync(bundle)
  const spec = defaultSpec()
  const process_ = { ...spec.process, terminal: false, args: ['sh', '-c', 'exit 3'], cwd: '/' }
  writeFileSync(
    join(bundle, 'config.json'),
    formatJson({ ...spec, process: process_, root: { path: join(machine.base, 'rootfs') } }),
  )
  const create = Bun.spawn([...machine.command('create', '--bundle', bundle, id)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  expect(await create.exited).toBe(0)
  const unit = `berth-${id}.scope`
  expect(await properties(unit, 'ActiveState', 'Slice')).toEqual({ ActiveState: 'active', Slice: 'system.slice' })
  expect(await machine.run(['start', id])).toMatchObject({ status: 0, stderr: '' })
  await until(async () => JSON.parse((await machine.run(['state', id])).stdout).status === 'stopped')
  expect(await machine.run(['delete', id])).toMatchObject({ status: 0, stderr: '' })
  expect(await properties(unit, 'LoadState')).toEqual({ LoadState: 'not-found' })
  expect(machine.leftovers()).toEqual([])
})

inVm('a scope that is there already is an error that names it', async () => {
  await using machine = systemdMachine()
  const path = `:berth:${machine.prefix}twice`
  await machine.container('one', inScope(path))
  await expect(machine.container('two', inScope(path))).rejects.toThrow(`berth-${machine.prefix}twice.scope`)
})
