/** `linux.cgroupsPath` and `linux.resources`: values in cgroup files, and limits hit for real. */

import { describe, expect } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs'
import type { DeviceCgroupRule, LinuxResources } from '../../../src/linux/cgroup/resources.ts'
import { conforms } from './harness.ts'

const ROOT = '/sys/fs/cgroup'
const V1 = existsSync(`${ROOT}/memory/tasks`)
const MIB = 1024n * 1024n
const V1_ONLY = { needs: ['cgroup v1'] } as const

/** A file of a cgroup, for a host with v1 (whose controllers are directories) or v2 alone. */
function read(path: string, v1: string, v2: string): string {
  const [controller = '', file = ''] = v1.split('/')
  return readFileSync(V1 ? `${ROOT}/${controller}/${path}/${file}` : `${ROOT}/${path}/${v2}`, 'utf8').trim()
}

/** Resources, then what a file of v1 and of v2 must say. Null: that version has no such thing. */
const VALUES: readonly (readonly [resources: LinuxResources, v1: string | null, v2: string | null])[] = [
  [{ memory: { limit: 64n * MIB } }, `memory/memory.limit_in_bytes=${64n * MIB}`, `memory.max=${64n * MIB}`],
  [
    { memory: { limit: 64n * MIB, swap: 96n * MIB } },
    `memory/memory.memsw.limit_in_bytes=${96n * MIB}`,
    `memory.swap.max=${32n * MIB}`,
  ],
  [{ memory: { reservation: 32n * MIB } }, `memory/memory.soft_limit_in_bytes=${32n * MIB}`, `memory.low=${32n * MIB}`],
  [{ memory: { swappiness: 17n } }, 'memory/memory.swappiness=17', null],
  [{ memory: { disableOOMKiller: true, limit: 64n * MIB } }, 'memory/memory.oom_control~oom_kill_disable 1', null],
  [{ memory: { useHierarchy: true } }, 'memory/memory.use_hierarchy=1', null],
  [{ cpu: { shares: 512n } }, 'cpu/cpu.shares=512', 'cpu.weight=59'],
  [{ cpu: { quota: 25_000n, period: 50_000n } }, 'cpu/cpu.cfs_quota_us=25000', 'cpu.max=25000 50000'],
  [{ cpu: { quota: 25_000n, period: 50_000n } }, 'cpu/cpu.cfs_period_us=50000', 'cpu.max=25000 50000'],
  [{ cpu: { quota: 25_000n, burst: 10_000n } }, 'cpu/cpu.cfs_burst_us=10000', 'cpu.max.burst=10000'],
  [{ cpu: { idle: 1n } }, 'cpu/cpu.idle=1', 'cpu.idle=1'],
  [{ cpu: { cpus: '0', mems: '0' } }, 'cpuset/cpuset.cpus=0', 'cpuset.cpus=0'],
  [{ cpu: { cpus: '0', mems: '0' } }, 'cpuset/cpuset.mems=0', 'cpuset.mems=0'],
  [{ pids: { limit: 33n } }, 'pids/pids.max=33', 'pids.max=33'],
  [{ pids: { limit: -1n } }, 'pids/pids.max=max', 'pids.max=max'],
]

/** Newer than runc 1.1, or refused by it. */
const NOT_RUNC = ['burst', 'idle', 'useHierarchy']

describe('linux.cgroupsPath', () => {
  conforms('an absolute path is one below the mount of each hierarchy, and the process is there', async box => {
    const path = `/${box.id}/deep`
    const { pid } = await box.started(['sleep', '1000'], { linux: { cgroupsPath: path } })
    const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n')
    // The v2 part of a hybrid host has no controllers to give; some runtimes leave it alone.
    const v1 = lines.filter(line => !V1 || !line.startsWith('0::'))
    expect(v1.filter(line => !line.endsWith(path))).toEqual([])
    await box.ok('delete', '--force', box.id)
    for (const hierarchy of V1 ? readdirSync(ROOT) : ['.'])
      if (existsSync(`${ROOT}/${hierarchy}/${box.id}`)) rmdirSync(`${ROOT}/${hierarchy}/${box.id}`)
  })

  conforms('a relative path leads to the same place every time', async box => {
    const place = async () => {
      const { pid } = await box.started(['sleep', '1000'], { linux: { cgroupsPath: box.id } })
      const text = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
      await box.ok('delete', '--force', box.id)
      return text
    }
    expect(await place()).toBe(await place())
  })

  conforms('a path that leads upwards stays below the mount, or is an error', async box => {
    box.write(box.spec(['sleep', '1000'], { linux: { cgroupsPath: `/../../../${box.id}` } }))
    const { status } = await box.create()
    if (status === 0) expect(existsSync(V1 ? `${ROOT}/pids/${box.id}` : `${ROOT}/${box.id}`)).toBe(true)
  })

  conforms('without a path the container still has a cgroup of its own, and delete removes it', async box => {
    const { cgroupsPath: _, ...linux } = box.spec([]).linux ?? {}
    box.write({ ...box.spec(['sleep', '1000']), linux })
    expect((await box.create()).status).toBe(0)
    const { pid } = await box.state()
    expect(readFileSync(`/proc/${pid}/cgroup`, 'utf8')).toContain(box.id)
  })

  conforms(
    'a cgroup that other processes are in is not taken',
    async box => {
      await box.started()
      box.write(box.spec(['true']))
      const { status, stderr } = await box.create([], `${box.id}b`)
      expect([status === 0, stderr]).toEqual([false, expect.stringMatching(/cgroup/)])
    },
    { notOnRunc: 'runc 1.1 only warns' },
  )
})

describe('linux.resources', () => {
  conforms('values of memory, cpu, cpuset and pids arrive in the files of the cgroup', async box => {
    const wrong: string[] = []
    for (const [resources, v1, v2] of VALUES) {
      const expected = V1 ? v1 : v2
      if (
        expected === null ||
        (box.runtime.name === 'runc' &&
          NOT_RUNC.some(name =>
            JSON.stringify(Object.values(resources).map(each => Object.keys(each ?? {}))).includes(name),
          ))
      )
        continue
      const [, file = '', sign = '', value = ''] = /^([^=~]+)([=~])(.*)$/.exec(expected) ?? []
      await box.created(['true'], { linux: { resources } })
      const seen = read(box.id, file, file)
      if (sign === '=' ? seen !== value : !seen.includes(value)) wrong.push(`${file}: ${seen}, expected ${value}`)
      await box.ok('delete', '--force', box.id)
    }
    expect(wrong).toEqual([])
  })

  conforms('a value that the kernel does not take is an error, and nothing is left', async box => {
    const refusal = (resources: LinuxResources) => box.refusal(['true'], { linux: { resources } })
    expect(await refusal({ cpu: { cpus: '999' } })).toMatch(/cpus/)
    expect(await refusal({ cpu: { period: 1n, quota: 1n } })).toMatch(/cpu/)
  })

  conforms(
    'memory.kernel and kernelTCP, which the kernel no longer has, are a warning',
    async box => {
      const memory = { kernel: 64n * MIB, kernelTCP: 8n * MIB }
      const { status, stderr } = await box.run(['true'], { linux: { resources: { memory } } })
      expect([status, stderr]).toEqual([0, expect.stringMatching(/memory.kernel .*\n.*memory.kernelTCP /)])
    },
    { notOnRunc: 'it warns of kernel only' },
  )

  conforms('memory.limit that is hit ends the process with SIGKILL: exit status 137', async box => {
    const resources = { memory: { limit: 32n * MIB, swap: 32n * MIB } }
    const { status, stdout } = await box.run(['probe', 'touch', '64'], { linux: { resources } })
    expect({ status, stdout }).toEqual({ status: 137, stdout: '' })
    expect((await box.run(['probe', 'touch', '8'], { linux: { resources } })).stdout).toBe('touched\n')
  })

  conforms('pids.limit that is hit makes fork fail', async box => {
    const resources = { pids: { limit: 10n } }
    expect(Number(await box.see(['probe', 'forks', '50'], { linux: { resources } }))).toBeLessThan(10)
    expect(await box.see(['probe', 'forks', '50'])).toBe('50')
  })

  conforms('cpu.quota that is hit throttles', async box => {
    const resources = { cpu: { quota: 5_000n, period: 50_000n } }
    await box.started('while :; do :; done', { linux: { resources } })
    const throttled = () => Number(/^nr_throttled (\d+)$/m.exec(read(box.id, 'cpu/cpu.stat', 'cpu.stat'))?.[1])
    const deadline = performance.now() + 10_000
    while (throttled() < 3 && performance.now() < deadline) await Bun.sleep(10)
    expect(throttled()).toBeGreaterThanOrEqual(3)
  })

  conforms('cpu.cpus is what the process may run on', async box => {
    const resources = { cpu: { cpus: '0', mems: '0' } }
    expect(await box.see(['grep', 'Cpus_allowed_list', '/proc/self/status'], { linux: { resources } })).toBe(
      'Cpus_allowed_list:\t0',
    )
  })

  conforms('devices are allowed and denied in the order of the list', async box => {
    const nodes = [
      ['null', 1, 3],
      ['zero', 1, 5],
      ['fuse', 10, 229],
    ] as const
    const devices = nodes.map(([name, major, minor]) => ({
      path: `/data/${name}`,
      type: 'c' as const,
      major,
      minor,
      fileMode: 0o666,
    }))
    const any = (allow: boolean, more: Partial<DeviceCgroupRule> = {}): DeviceCgroupRule => ({
      allow,
      access: 'rwm',
      ...more,
    })
    const script = 'for i in null zero fuse; do (: < /data/$i) 2>/dev/null && echo $i; done; true'
    const see = (...rules: readonly DeviceCgroupRule[]) =>
      box.see(script, { linux: { devices, resources: { devices: rules } } })
    // Runtimes always allow the default devices, so that programs find a working /dev/null.
    expect(await see(any(false))).toBe('null\nzero')
    expect(await see(any(false), any(true, { type: 'c', major: 10, minor: 229, access: 'r' }))).toBe('null\nzero\nfuse')
    expect(
      await see(
        any(false),
        any(true, { type: 'c', major: 10, minor: 229 }),
        any(false, { type: 'c', major: 10, minor: 229 }),
      ),
    ).toBe('null\nzero')
    expect(await see(any(true))).toBe('null\nzero\nfuse')
  })

  conforms('devices with access m only can be made but not opened', async box => {
    const capabilities = { bounding: ['CAP_MKNOD'], effective: ['CAP_MKNOD'], permitted: ['CAP_MKNOD'] }
    const rules = [
      { allow: false, access: 'rwm' },
      { allow: true, type: 'c', major: 10, minor: 229, access: 'm' },
    ]
    const script = 'mknod /tmp/f c 10 229 && ! (: < /tmp/f) 2>/dev/null && echo so'
    expect(await box.see(script, { process: { capabilities }, linux: { resources: { devices: rules } } })).toBe('so')
  })

  conforms(
    'blockIO throttles are written for their device',
    async box => {
      const rate = (number: bigint) => [{ major: 7, minor: 0, rate: number }]
      const blockIO = {
        throttleReadBpsDevice: rate(1_000_000n),
        throttleWriteBpsDevice: rate(2_000_000n),
        throttleReadIOPSDevice: rate(300n),
        throttleWriteIOPSDevice: rate(400n),
      }
      await box.created(['true'], { linux: { resources: { blockIO } } })
      const at = (name: string) => read(box.id, `blkio/blkio.throttle.${name}_device`, 'io.max')
      expect([at('read_bps'), at('write_bps'), at('read_iops'), at('write_iops')]).toEqual([
        '7:0 1000000',
        '7:0 2000000',
        '7:0 300',
        '7:0 400',
      ])
    },
    V1_ONLY,
  )

  conforms(
    'resources of a controller that the host does not have are an error that names it',
    async box => {
      const refusal = (resources: LinuxResources) => box.refusal(['true'], { linux: { resources } })
      expect(await refusal({ rdma: { mlx5_0: { hcaHandles: 1 } } })).toMatch(/rdma/)
      expect(await refusal({ network: { classID: 1 } })).toMatch(/net_cls|classid/i)
      expect(await refusal({ network: { priorities: [{ name: 'lo', priority: 1 }] } })).toMatch(/net_prio|prio/i)
      expect(await refusal({ blockIO: { leafWeight: 100 } })).toMatch(/leaf/i)
      expect(await refusal({ unified: { 'nosuch.max': '1' } })).toMatch(/nosuch|unified/)
      expect(await refusal({ hugepageLimits: [{ pageSize: '3MB', limit: 1n }] })).toMatch(/3MB/)
    },
    { ...V1_ONLY, notOnRunc: 'runc leaves some of them out silently' },
  )

  conforms(
    'hugepageLimits reach the part of a hybrid host that is v2',
    async box => {
      const resources = { hugepageLimits: [{ pageSize: '2MB', limit: 4n * MIB }] }
      await box.created(['true'], { linux: { resources } })
      const at = (name: string) => readFileSync(`${ROOT}/${V1 ? 'unified/' : ''}${box.id}/${name}`, 'utf8').trim()
      expect(at('hugetlb.2MB.max')).toBe('4194304')
    },
    { notOnRunc: 'runc does not use the v2 part of a hybrid host' },
  )
})

describe('a mount of type cgroup', () => {
  conforms('shows the container’s own cgroups, read-only with ro, and none of the host', async box => {
    mkdirSync(`${box.rootfs}/sys`, { recursive: true })
    const script = V1
      ? 'cat /sys/fs/cgroup/pids/pids.max; ls /sys/fs/cgroup/pids | grep -c pids.max'
      : 'cat /sys/fs/cgroup/pids.max; echo 1'
    expect(await box.see(script, { linux: { resources: { pids: { limit: 77n } } } })).toBe('77\n1')
    expect(await box.see('! mkdir /sys/fs/cgroup/pids/x 2>/dev/null && echo refused')).toBe('refused')
  })
})
