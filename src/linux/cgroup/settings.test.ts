import { describe, expect, test } from 'bun:test'
import { ENOENT } from '../../lib/errno.ts'
import { cpuWeightOfShares } from './cpu.ts'
import { type LinuxResources, resourceWarnings } from './resources.ts'
import type { CgroupSetting } from './setting.ts'
import { hybridSettings, v1Settings, v2Settings } from './settings.ts'

function lines(settings: readonly CgroupSetting[]): string[] {
  return settings.map(
    ({ file, value, orElse }) => `${file}=${value}${orElse ? ` | ${orElse.file}=${orElse.value}` : ''}`,
  )
}

const MiB = 1024 * 1024

describe('v1Settings() and v2Settings()', () => {
  const cases: readonly [name: string, resources: LinuxResources, v1: readonly string[], v2: readonly string[]][] = [
    ['no resources', {}, [], []],
    ['shares', { cpu: { shares: 1024n } }, ['cpu.shares=1024'], ['cpu.weight=100']],
    ['shares of 0 as unset', { cpu: { shares: 0 } }, [], []],
    ['quota alone', { cpu: { quota: 5000 } }, ['cpu.cfs_quota_us=5000'], ['cpu.max=5000 100000']],
    [
      'quota and period, the period again once the quota stands',
      { cpu: { quota: 5000, period: 10000 } },
      ['cpu.cfs_period_us=10000', 'cpu.cfs_quota_us=5000', 'cpu.cfs_period_us=10000'],
      ['cpu.max=5000 10000'],
    ],
    [
      'no quota',
      { cpu: { quota: -1, period: 10000 } },
      ['cpu.cfs_period_us=10000', 'cpu.cfs_quota_us=-1', 'cpu.cfs_period_us=10000'],
      ['cpu.max=max 10000'],
    ],
    [
      'burst',
      { cpu: { quota: 5000, burst: 100n } },
      ['cpu.cfs_burst_us=100', 'cpu.cfs_quota_us=5000', 'cpu.cfs_burst_us=100'],
      ['cpu.max.burst=100', 'cpu.max=5000 100000', 'cpu.max.burst=100'],
    ],
    ['idle', { cpu: { idle: 1 } }, ['cpu.idle=1'], ['cpu.idle=1']],
    [
      'cpuset',
      { cpu: { cpus: '0-1', mems: '0' } },
      ['cpuset.cpus=0-1', 'cpuset.mems=0'],
      ['cpuset.cpus=0-1', 'cpuset.mems=0'],
    ],
    [
      'memory and swap',
      { memory: { limit: 64 * MiB, swap: 96 * MiB } },
      [`memory.limit_in_bytes=${64 * MiB}`, `memory.memsw.limit_in_bytes=${96 * MiB}`],
      [`memory.swap.max=${32 * MiB}`, `memory.max=${64 * MiB}`],
    ],
    [
      'memory without swap',
      { memory: { limit: BigInt(MiB), swap: BigInt(MiB) } },
      [`memory.limit_in_bytes=${MiB}`, `memory.memsw.limit_in_bytes=${MiB}`],
      ['memory.swap.max=0', `memory.max=${MiB}`],
    ],
    [
      'unlimited memory, which unlimits swap',
      { memory: { limit: -1 } },
      ['memory.memsw.limit_in_bytes=-1', 'memory.limit_in_bytes=-1'],
      ['memory.swap.max=max', 'memory.max=max'],
    ],
    [
      'unlimited swap, before the limit',
      { memory: { limit: MiB, swap: -1n } },
      ['memory.memsw.limit_in_bytes=-1', `memory.limit_in_bytes=${MiB}`],
      ['memory.swap.max=max', `memory.max=${MiB}`],
    ],
    ['reservation', { memory: { reservation: MiB } }, [`memory.soft_limit_in_bytes=${MiB}`], [`memory.low=${MiB}`]],
    ['oom killer left on', { memory: { disableOOMKiller: false } }, [], []],
    ['pids', { pids: { limit: 5n } }, ['pids.max=5'], ['pids.max=5']],
    ['unlimited pids', { pids: { limit: -1 } }, ['pids.max=max'], ['pids.max=max']],
    ['0 pids as 1', { pids: { limit: 0 } }, ['pids.max=1'], ['pids.max=1']],
    [
      'block io weights',
      { blockIO: { weight: 1000, weightDevice: [{ major: 8, minor: 0, weight: 10 }] } },
      ['blkio.bfq.weight=1000 | blkio.weight=1000', 'blkio.bfq.weight_device=8:0 10 | blkio.weight_device=8:0 10'],
      ['io.bfq.weight=1000 | io.weight=10000', 'io.bfq.weight=8:0 10 | io.weight=8:0 1'],
    ],
    [
      'block io throttles',
      {
        blockIO: {
          throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 10n }],
          throttleWriteIOPSDevice: [{ major: 8, minor: 16, rate: 0 }],
        },
      },
      ['blkio.throttle.read_bps_device=8:0 10', 'blkio.throttle.write_iops_device=8:16 0'],
      ['io.max=8:0 rbps=10', 'io.max=8:16 wiops=max'],
    ],
    [
      'huge pages, in use and reserved',
      { hugepageLimits: [{ pageSize: '2MB', limit: 4n }] },
      ['hugetlb.2MB.limit_in_bytes=4', 'hugetlb.2MB.rsvd.limit_in_bytes=4'],
      ['hugetlb.2MB.max=4', 'hugetlb.2MB.rsvd.max=4'],
    ],
    [
      'rdma',
      { rdma: { mlx5_1: { hcaHandles: 3, hcaObjects: 4 } } },
      ['rdma.max=mlx5_1 hca_handle=3 hca_object=4'],
      ['rdma.max=mlx5_1 hca_handle=3 hca_object=4'],
    ],
    ['kernel memory, which no kernel limits any more', { memory: { kernel: MiB, kernelTCP: MiB } }, [], []],
  ]
  for (const [name, resources, v1, v2] of cases) {
    test(`write ${name}`, () => {
      expect(lines(v1Settings(resources))).toEqual([...v1])
      expect(lines(v2Settings(resources))).toEqual([...v2])
    })
  }
})

describe('v1Settings()', () => {
  test('raises swap before the limit when the limit in force is below the new swap', () => {
    const settings = v1Settings({ memory: { limit: 4, swap: 8 } }, { currentMemoryLimitBytes: 2 })
    expect(lines(settings)).toEqual(['memory.memsw.limit_in_bytes=8', 'memory.limit_in_bytes=4'])
  })
  test('lowers the limit before swap when the limit in force is above the new swap', () => {
    const settings = v1Settings({ memory: { limit: 4, swap: 8 } }, { currentMemoryLimitBytes: 16 })
    expect(lines(settings)).toEqual(['memory.limit_in_bytes=4', 'memory.memsw.limit_in_bytes=8'])
  })
  test('writes what only v1 has', () => {
    const settings = v1Settings({
      cpu: { realtimePeriod: 1000, realtimeRuntime: 500 },
      memory: { swappiness: 60, disableOOMKiller: true },
      network: { classID: 7, priorities: [{ name: 'eth0', priority: 5 }] },
    })
    expect(lines(settings)).toEqual([
      'cpu.rt_period_us=1000',
      'cpu.rt_runtime_us=500',
      'cpu.rt_period_us=1000',
      'memory.oom_control=1',
      'memory.swappiness=60',
      'net_cls.classid=7',
      'net_prio.ifpriomap=eth0 5',
    ])
  })
})

describe('v2Settings()', () => {
  test('sets memory.oom.group only when asked to and not overridden', () => {
    expect(lines(v2Settings({}, { oomGroup: true }))).toEqual(['memory.oom.group=1'])
    expect(lines(v2Settings({ unified: { 'memory.oom.group': '0' } }, { oomGroup: true }))).toEqual([
      'memory.oom.group=0',
    ])
  })
  test('writes unified last, line by line', () => {
    const settings = v2Settings({ pids: { limit: 1 }, unified: { 'io.max': '8:0 rbps=1\n8:16 rbps=2\n' } })
    expect(lines(settings)).toEqual(['pids.max=1', 'io.max=8:0 rbps=1', 'io.max=8:16 rbps=2'])
  })
  test('tolerates a kernel without swap accounting only where nothing is lost', () => {
    expect(v2Settings({ memory: { limit: 1, swap: 1 } })[0]?.tolerate).toEqual([ENOENT])
    expect(v2Settings({ memory: { limit: 1, swap: 2 } })[0]?.tolerate).toEqual([])
  })
})

describe('hybridSettings()', () => {
  test('writes each field on the side that has its controller', () => {
    const resources = { pids: { limit: 5 }, hugepageLimits: [{ pageSize: '2MB', limit: 4 }] }
    expect(lines(hybridSettings(resources, new Set(['hugetlb'])))).toEqual([
      'pids.max=5',
      'hugetlb.2MB.max=4',
      'hugetlb.2MB.rsvd.max=4',
    ])
  })
  test('refuses unified', () => {
    expect(() => hybridSettings({ unified: { 'pids.max': '1' } }, new Set(['hugetlb']))).toThrow('unified "pids.max"')
  })
})

describe('what can not be set is refused with an error that names it', () => {
  const both: readonly [resources: LinuxResources, message: string][] = [
    [{ blockIO: { leafWeight: 10 } }, 'blockIO.leafWeight "10"'],
    [{ blockIO: { weight: 5 } }, 'blockIO.weight "5": out of range, expected 10 to 1000'],
    [{ memory: { useHierarchy: false } }, 'memory.useHierarchy "false"'],
    [{ hugepageLimits: [{ pageSize: '../x', limit: 1 }] }, 'hugepageLimits.pageSize "../x"'],
    [{ cpu: { cpus: '3-1' } }, 'range 3-1 runs backwards'],
    [{ rdma: { 'a b': {} } }, 'rdma "a b"'],
  ]
  for (const [resources, message] of both) {
    test(`${JSON.stringify(resources)} on both versions`, () => {
      expect(() => v1Settings(resources)).toThrow(message)
      expect(() => v2Settings(resources)).toThrow(message)
    })
  }
  const v2Only: readonly [resources: LinuxResources, message: string][] = [
    [{ cpu: { realtimeRuntime: 1 } }, 'cpu.realtimeRuntime "1": cgroup v2 has no'],
    [{ memory: { swappiness: 1 } }, 'memory.swappiness "1"'],
    [{ memory: { disableOOMKiller: true } }, 'memory.disableOOMKiller "true"'],
    [{ memory: { swap: 1 } }, 'memory.swap "1": no memory.limit given'],
    [{ memory: { limit: 2, swap: 1 } }, 'memory.swap "1": below memory.limit 2'],
    [{ network: { classID: 1 } }, 'network.classID "1"'],
    [{ network: { priorities: [{ name: 'eth0', priority: 1 }] } }, 'network.priorities "eth0"'],
    [{ unified: { '../memory.max': '1' } }, 'unified "../memory.max"'],
    [{ unified: { 'memory..max': '1' } }, 'unified "memory..max"'],
    [{ unified: { 'cgroup.procs': '1' } }, 'unified "cgroup.procs": not a limit'],
    [{ unified: { memory: '1' } }, 'unified "memory"'],
  ]
  for (const [resources, message] of v2Only) {
    test(`${JSON.stringify(resources)} on v2`, () => expect(() => v2Settings(resources)).toThrow(message))
  }
  const v1Only: readonly [resources: LinuxResources, message: string][] = [
    [{ cpu: { shares: 1 } }, 'cpu.shares "1": out of range'],
    [{ memory: { swappiness: 101 } }, 'memory.swappiness "101"'],
    [{ unified: { 'memory.max': '1' } }, 'unified "memory.max": the host has cgroup v1'],
  ]
  for (const [resources, message] of v1Only) {
    test(`${JSON.stringify(resources)} on v1`, () => expect(() => v1Settings(resources)).toThrow(message))
  }
  test('resourceWarnings() names fields without effect', () => {
    expect(resourceWarnings({ memory: { kernel: 1, kernelTCP: 2 } })).toHaveLength(2)
    expect(resourceWarnings({ memory: { limit: 1 } })).toEqual([])
  })
})

describe('cpuWeightOfShares()', () => {
  test('maps both ends and the default onto those of cpu.weight', () => {
    expect([0, 2, 1024, 262_144, 300_000].map(cpuWeightOfShares)).toEqual([1, 1, 100, 10_000, 10_000])
  })
  test('never decreases', () => {
    let last = 0
    for (let shares = 2; shares <= 262_144; shares += 97) {
      const weight = cpuWeightOfShares(shares)
      expect(weight).toBeGreaterThanOrEqual(last)
      last = weight
    }
  })
})
