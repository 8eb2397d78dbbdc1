/** Containers on cgroup v2 alone: what the config asks for is what the kernel does. */

import { expect } from 'bun:test'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LinuxResources } from '../../src/linux/cgroup/resources.ts'
import type { RuntimeSpec } from '../../src/oci/runtime-spec.ts'
import { Machine, until } from '../runtime/verbs-machine.ts'
import { testIf } from '../support/requirement.ts'
import { berth, kernelFile } from './berth.ts'

const inVm = testIf('vm', 'cgroup v2')
const ROOT_CGROUP = '/sys/fs/cgroup'
const MEBIBYTE = 1024n * 1024n
const DENY_ALL = { allow: false, access: 'rwm' } as const

function limited(resources: LinuxResources): (spec: RuntimeSpec) => RuntimeSpec {
  return spec => ({
    ...spec,
    linux: { ...spec.linux, resources: { devices: [DENY_ALL], ...resources } },
  })
}

inVm('the limits of a config are in the files of its cgroup, and update changes those it names', async () => {
  await using machine = new Machine()
  const id = await machine.container(
    'limits',
    limited({
      memory: { limit: 64n * MEBIBYTE, swap: 96n * MEBIBYTE, reservation: 32n * MEBIBYTE },
      pids: { limit: 50n },
      cpu: { quota: 20_000n, period: 100_000n, cpus: '0' },
      hugepageLimits: [{ pageSize: '2MB', limit: 4n * MEBIBYTE }],
      unified: { 'memory.high': '50331648' },
    }),
  )
  const file = (name: string): string => kernelFile(ROOT_CGROUP, id, name)
  expect(file('memory.max')).toBe('67108864')
  expect(file('memory.swap.max')).toBe('33554432')
  expect(file('memory.low')).toBe('33554432')
  expect(file('memory.high')).toBe('50331648')
  expect(file('memory.oom.group')).toBe('1')
  expect(file('pids.max')).toBe('50')
  expect(file('cpu.max')).toBe('20000 100000')
  expect(file('cpuset.cpus')).toBe('0')
  expect(file('hugetlb.2MB.max')).toBe('4194304')

  const update = await machine.run(['update', '--memory', '80M', '--pids-limit', '60', '--cpu-quota', '30000', id])
  expect(update.stderr).toBe('')
  expect(file('memory.max')).toBe('83886080')
  expect(file('pids.max')).toBe('60')
  expect(file('cpu.max')).toBe('30000 100000')
  expect(file('memory.low')).toBe('33554432')

  const refused = await machine.run(['update', '--memory', '90M', '--cpu-quota', '1', id])
  expect(refused.status).not.toBe(0)
  expect(file('memory.max')).toBe('83886080')

  const stats = JSON.parse((await machine.run(['events', '--stats', id])).stdout)
  expect(stats).toMatchObject({
    type: 'stats',
    id,
    data: { pids: { current: 1, limit: 60 }, memory: { usage: { limit: 83_886_080 } } },
  })
  expect(stats.data.memory.usage.usage).toBeGreaterThan(0)
  expect(stats.data.cpu.usage.total).toBeGreaterThan(0)
  expect(Object.keys(stats.data.hugetlb)).toContain('2MB')

  expect(await machine.run(['delete', '--force', id])).toMatchObject({ status: 0, stderr: '' })
  expect(machine.leftovers()).toEqual([])
})

inVm('memory that runs out ends the whole container, with status 137', async () => {
  const command = 'tail /dev/zero & wait $!; echo survived'
  const { status, stdout } = await berth('run', '--rm', '-m', '32m', 'host', 'sh', '-c', command)
  expect(stdout).toBe('')
  expect(status).toBe(137)
})

inVm('a fork bomb ends at the limit of processes', async () => {
  const bomb = 'i=0; while [ $i -lt 100 ]; do sleep 100 & i=$((i + 1)); echo $i; done'
  const { status, stdout } = await berth('run', '--rm', '--pids-limit', '20', 'host', 'busybox', 'sh', '-c', bomb)
  expect(status).not.toBe(0)
  expect(stdout.trimEnd().split('\n').length).toBeLessThan(20)
})

inVm('a share of a CPU is all that a busy container gets', async () => {
  const busy = 'i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); done; cat /sys/fs/cgroup/cpu.stat'
  const { stdout } = await berth('run', '--rm', '--cpus', '0.2', 'host', 'sh', '-c', busy)
  const [, throttledCount = '0'] = /^nr_throttled (\d+)$/m.exec(stdout) ?? []
  expect(Number(throttledCount)).toBeGreaterThan(0)
})

inVm('a device that is not listed opens for nobody, until update lists it', async () => {
  await using machine = new Machine()
  const nodes = (spec: RuntimeSpec): RuntimeSpec => {
    const capabilities = ['CAP_MKNOD', 'CAP_SYSLOG', 'CAP_DAC_OVERRIDE']
    return {
      ...spec,
      process: {
        cwd: '/',
        ...spec.process,
        capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      },
      root: { ...spec.root, path: spec.root?.path ?? '', readonly: false },
    }
  }
  const id = await machine.container('devices', nodes)
  const exec = (command: string) => machine.run(['exec', id, 'sh', '-c', command])
  const open = 'busybox head -c 1 /tmp/kmsg | busybox wc -c'

  const denied = await exec(`busybox mknod /tmp/kmsg c 1 11 && ${open}; busybox head -c 2 /dev/zero | busybox wc -c`)
  expect(denied.stderr).toContain('Operation not permitted')
  expect(denied.stdout).toBe('0\n2\n')

  const resources = join(machine.base, 'resources.json')
  const kmsg = { allow: true, type: 'c', major: 1, minor: 11, access: 'r' }
  writeFileSync(resources, JSON.stringify({ devices: [DENY_ALL, kmsg] }))
  expect((await machine.run(['update', '--resources', resources, id])).stderr).toBe('')
  const allowed = await exec(
    `busybox dd if=/tmp/kmsg of=/dev/null bs=8192 count=1; echo x > /tmp/kmsg; echo > /dev/null`,
  )
  expect(allowed.stderr).toContain('1+0 records out'.replace('1+0', '0+1'))
  expect(allowed.stderr).toContain("can't create /tmp/kmsg: Operation not permitted")
})

inVm('the process is in its cgroup before it runs, by clone3 alone', async () => {
  await using machine = new Machine()
  const id = await machine.container('into')
  expect(kernelFile('/proc', JSON.parse((await machine.run(['state', id])).stdout).pid.toString(), 'cgroup')).toBe(
    `0::/${id}`,
  )
  const plan = await machine.run(['explain', '--bundle', join(machine.base, 'into')])
  expect(plan.stdout).toMatch(/clone\(.*@cgroup/)
  expect(plan.stdout).not.toContain('cgroup.procs')
})

inVm('a container with a cgroup namespace may manage the cgroups below its own, and not its limits', async () => {
  await using machine = new Machine()
  const ids = [{ containerID: 0, hostID: 1_000_000, size: 1000 }]
  const id = await machine.container('delegated', spec => ({
    ...spec,
    mounts: (spec.mounts ?? []).map(mount =>
      mount.type === 'cgroup' ? { ...mount, options: ['nosuid', 'noexec', 'nodev', 'rw'] } : mount,
    ),
    linux: {
      ...spec.linux,
      namespaces: [...(spec.linux?.namespaces ?? []), { type: 'user' }, { type: 'cgroup' }],
      uidMappings: ids,
      gidMappings: ids,
    },
  }))
  const manage = [
    'cd /sys/fs/cgroup && busybox mkdir below && echo $$ > below/cgroup.procs && cat /proc/self/cgroup',
    'echo 1000000 > memory.max; echo + > ../cgroup.procs',
  ]
  const { stdout, stderr } = await machine.run(['exec', id, 'sh', '-c', manage.join('; ')])
  expect(stdout).toBe('0::/below\n')
  expect(stderr).toContain("can't create memory.max: Permission denied")
  expect(stderr).not.toContain('below')
  expect((await machine.run(['delete', '--force', id])).status).toBe(0)
  expect(machine.leftovers()).toEqual([])
})

inVm('pause stops every process, resume lets them go on, and kill --all reaches those that it stopped', async () => {
  await using machine = new Machine()
  const id = await machine.container('frozen')
  // Not by machine.run(): the detached process keeps its stdout.
  const second = Bun.spawn([...machine.command('exec', '--detach', id, 'sleep', '1000')], {
    stdio: ['ignore', 'ignore', 'ignore'],
  })
  expect(await second.exited).toBe(0)
  const state = async (): Promise<string> => JSON.parse((await machine.run(['state', id])).stdout).status
  const events = (): string => kernelFile(ROOT_CGROUP, id, 'cgroup.events')

  expect(await machine.run(['pause', id])).toMatchObject({ status: 0, stderr: '' })
  expect(events()).toContain('frozen 1')
  expect(await state()).toBe('paused')
  expect((await machine.run(['exec', id, 'true'])).status).not.toBe(0)
  expect(await machine.run(['resume', id])).toMatchObject({ status: 0, stderr: '' })
  expect(events()).toContain('frozen 0')

  await machine.run(['pause', id])
  expect(await machine.run(['kill', '--all', id, 'KILL'])).toMatchObject({ status: 0, stderr: '' })
  await until(() => events().includes('populated 0'))
  expect(await machine.run(['delete', id])).toMatchObject({ status: 0, stderr: '' })
  expect(existsSync(join(ROOT_CGROUP, id))).toBe(false)
})
