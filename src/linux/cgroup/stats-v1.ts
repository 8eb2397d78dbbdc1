import { parseCpuList } from '../cpu-set.ts'
import { type Count, parseBlkio, parseCount, parseFlatKeyed, UNLIMITED } from './stat-files.ts'
import { type CgroupStats, type MemoryEntry, omitEmpty, type ReadCgroupFile } from './stats.ts'

/** The clock in which cpuacct.stat counts: USER_HZ, 100 on every architecture Berth runs on. */
const NANOSECONDS_PER_TICK = 10_000_000n

/** runc's table → the blkio file it comes from; BFQ's file wins where there is one, else the throttle's own counters. */
const BLKIO_FILES = [
  ['ioServiceBytesRecursive', ['blkio.bfq.io_service_bytes_recursive', 'blkio.throttle.io_service_bytes_recursive']],
  ['ioServicedRecursive', ['blkio.bfq.io_serviced_recursive', 'blkio.throttle.io_serviced_recursive']],
  ['ioQueueRecursive', ['blkio.bfq.io_queued_recursive']],
  ['ioServiceTimeRecursive', ['blkio.bfq.io_service_time_recursive']],
  ['ioWaitTimeRecursive', ['blkio.bfq.io_wait_time_recursive']],
  ['ioMergedRecursive', ['blkio.bfq.io_merged_recursive']],
  ['ioTimeRecursive', ['blkio.bfq.time_recursive']],
  ['sectorsRecursive', ['blkio.bfq.sectors_recursive']],
] as const

/** Builds the stats of a cgroup v1 from the files of its hierarchies; those not mounted are left out. */
export function statsV1(read: ReadCgroupFile, pageSizes: readonly string[]): CgroupStats {
  return {
    cpu: cpuStats(read),
    cpuset: cpusetStats(read),
    memory: memoryStats(read),
    pids: omitEmpty({ current: parseCount(read('pids', 'pids.current') ?? ''), limit: pidsLimit(read) }),
    blkio: Object.fromEntries(
      BLKIO_FILES.flatMap(([table, files]) => {
        const entries = files.map(file => parseBlkio(read('blkio', file) ?? '')).find(each => each.length > 0)
        return entries === undefined ? [] : [[table, entries]]
      }),
    ),
    hugetlb: Object.fromEntries(
      pageSizes.flatMap(size => {
        const usage = read('hugetlb', `hugetlb.${size}.usage_in_bytes`)
        if (usage === null) return []
        const count = (file: string) => parseCount(read('hugetlb', `hugetlb.${size}.${file}`) ?? '')
        const fields = omitEmpty({ usage: parseCount(usage), max: count('max_usage_in_bytes') })
        return [[size, { ...fields, failcnt: count('failcnt') }]]
      }),
    ),
  }
}

function pidsLimit(read: ReadCgroupFile): Count {
  const limit = parseCount(read('pids', 'pids.max') ?? '')
  return limit === UNLIMITED ? 0 : limit
}

function cpuStats(read: ReadCgroupFile): CgroupStats['cpu'] {
  const stat = parseFlatKeyed(read('cpu', 'cpu.stat') ?? '')
  const ticks = parseFlatKeyed(read('cpuacct', 'cpuacct.stat') ?? '')
  const nanoseconds = (count: Count | undefined) => parseCount(String(BigInt(count ?? 0) * NANOSECONDS_PER_TICK))
  // cpuacct.usage_all: a header line, then "CPU user system".
  const rows = (read('cpuacct', 'cpuacct.usage_all') ?? '')
    .split('\n')
    .slice(1)
    .filter(line => line !== '')
  const column = (index: number) => rows.map(row => parseCount(row.split(' ')[index] ?? ''))
  const percpu = (read('cpuacct', 'cpuacct.usage_percpu') ?? '').trim()
  const throttling = omitEmpty({
    periods: stat['nr_periods'],
    throttledPeriods: stat['nr_throttled'],
    throttledTime: stat['throttled_time'],
  })
  return {
    usage: {
      ...omitEmpty({
        total: parseCount(read('cpuacct', 'cpuacct.usage') ?? ''),
        percpu: percpu === '' ? [] : percpu.split(' ').map(parseCount),
        percpu_kernel: column(2),
        percpu_user: column(1),
      }),
      kernel: nanoseconds(ticks['system']),
      user: nanoseconds(ticks['user']),
    },
    ...omitEmpty({ throttling }),
  }
}

function cpusetStats(read: ReadCgroupFile): CgroupStats['cpuset'] {
  const count = (file: string) => parseCount(read('cpuset', `cpuset.${file}`) ?? '')
  const list = (file: string) => parseCpuList((read('cpuset', `cpuset.${file}`) ?? '').trim())
  return {
    ...omitEmpty({ cpus: list('cpus'), mems: list('mems') }),
    cpu_exclusive: count('cpu_exclusive'),
    mem_hardwall: count('mem_hardwall'),
    mem_exclusive: count('mem_exclusive'),
    memory_migrate: count('memory_migrate'),
    memory_spread_page: count('memory_spread_page'),
    memory_spread_slab: count('memory_spread_slab'),
    memory_pressure: count('memory_pressure'),
    sched_load_balance: count('sched_load_balance'),
    sched_relax_domain_level: count('sched_relax_domain_level'),
  }
}

function memoryEntry(read: ReadCgroupFile, prefix: string): MemoryEntry | undefined {
  const usage = read('memory', `${prefix}.usage_in_bytes`)
  if (usage === null) return undefined
  const count = (file: string) => parseCount(read('memory', `${prefix}.${file}`) ?? '')
  return {
    limit: count('limit_in_bytes'),
    ...omitEmpty({ usage: parseCount(usage), max: count('max_usage_in_bytes') }),
    failcnt: count('failcnt'),
  }
}

function memoryStats(read: ReadCgroupFile): CgroupStats['memory'] {
  const raw = parseFlatKeyed(read('memory', 'memory.stat') ?? '')
  return omitEmpty({
    cache: raw['cache'],
    usage: memoryEntry(read, 'memory'),
    swap: memoryEntry(read, 'memory.memsw'),
    kernel: memoryEntry(read, 'memory.kmem'),
    kernelTCP: memoryEntry(read, 'memory.kmem.tcp'),
    raw,
  })
}
