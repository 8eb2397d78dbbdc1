import { parseCpuList } from '../cpu-set.ts'
import {
  addCounts,
  type BlkioEntry,
  type Count,
  parseCount,
  parseFlatKeyed,
  parseNestedKeyed,
  parsePressure,
  UNLIMITED,
} from './stat-files.ts'
import { type CgroupStats, type MemoryEntry, omitEmpty, type ReadCgroupFile } from './stats.ts'

/** Builds the stats of a cgroup v2 from its files; what a controller that is not enabled would say is left out. */
export function statsV2(read: ReadCgroupFile, pageSizes: readonly string[]): CgroupStats {
  return {
    cpu: cpuStats(read),
    cpuset: cpusetStats(read),
    memory: memoryStats(read),
    pids: omitEmpty({ current: pidsCurrent(read), limit: limitOf(read('pids', 'pids.max')) }),
    blkio: blkioStats(read),
    hugetlb: Object.fromEntries(
      pageSizes.flatMap(size => {
        const usage = read('hugetlb', `hugetlb.${size}.current`)
        if (usage === null) return []
        const failcnt = parseFlatKeyed(read('hugetlb', `hugetlb.${size}.events`) ?? '')['max'] ?? 0
        return [[size, { ...omitEmpty({ usage: parseCount(usage) }), failcnt }]]
      }),
    ),
  }
}

/** runc prints "no limit" on processes as 0, which is left out. */
function limitOf(text: string | null): Count {
  const limit = parseCount(text ?? '')
  return limit === UNLIMITED ? 0 : limit
}

function pidsCurrent(read: ReadCgroupFile): Count {
  const current = read('pids', 'pids.current')
  if (current !== null) return parseCount(current)
  return (read('', 'cgroup.procs') ?? '').split('\n').filter(line => line !== '').length
}

function nanoseconds(microseconds: Count | undefined): Count {
  return parseCount(String(BigInt(microseconds ?? 0) * 1000n))
}

function psiOf(read: ReadCgroupFile, resource: string): { psi?: ReturnType<typeof parsePressure> } {
  const text = read('', `${resource}.pressure`)
  return text === null || text === '' ? {} : { psi: parsePressure(text) }
}

function cpuStats(read: ReadCgroupFile): CgroupStats['cpu'] {
  const stat = parseFlatKeyed(read('cpu', 'cpu.stat') ?? '')
  const throttling = omitEmpty({
    periods: stat['nr_periods'],
    throttledPeriods: stat['nr_throttled'],
    throttledTime: nanoseconds(stat['throttled_usec']),
  })
  return {
    usage: {
      ...omitEmpty({ total: nanoseconds(stat['usage_usec']) }),
      kernel: nanoseconds(stat['system_usec']),
      user: nanoseconds(stat['user_usec']),
    },
    ...omitEmpty({ throttling }),
    ...psiOf(read, 'cpu'),
  }
}

function cpusetStats(read: ReadCgroupFile): CgroupStats['cpuset'] {
  // v2 has only the two lists; the rest is what runc prints there.
  return {
    ...omitEmpty({
      cpus: parseCpuList((read('cpuset', 'cpuset.cpus') ?? '').trim()),
      mems: parseCpuList((read('cpuset', 'cpuset.mems') ?? '').trim()),
    }),
    cpu_exclusive: 0,
    mem_hardwall: 0,
    mem_exclusive: 0,
    memory_migrate: 0,
    memory_spread_page: 0,
    memory_spread_slab: 0,
    memory_pressure: 0,
    sched_load_balance: 0,
    sched_relax_domain_level: 0,
  }
}

function memoryEntry(limit: Count, usage: Count, max: Count, failcnt: Count): MemoryEntry {
  return { limit, ...omitEmpty({ usage, max }), failcnt }
}

function memoryStats(read: ReadCgroupFile): CgroupStats['memory'] {
  const raw = parseFlatKeyed(read('memory', 'memory.stat') ?? '')
  const current = read('memory', 'memory.current')
  if (current === null) return { ...omitEmpty({ cache: raw['file'], raw }), ...psiOf(read, 'memory') }
  const events = parseFlatKeyed(read('memory', 'memory.events') ?? '')
  const usage = parseCount(current)
  const limit = parseCount(read('memory', 'memory.max') ?? '')
  const swap = parseCount(read('memory', 'memory.swap.current') ?? '')
  const swapLimit = parseCount(read('memory', 'memory.swap.max') ?? '')
  // v1 counts memory and swap together, and so do those who read this shape.
  const bothLimit = limit === UNLIMITED || swapLimit === UNLIMITED ? UNLIMITED : addCounts(limit, swapLimit)
  return {
    ...omitEmpty({ cache: raw['file'] }),
    usage: memoryEntry(limit, usage, parseCount(read('memory', 'memory.peak') ?? ''), events['max'] ?? 0),
    swap: memoryEntry(bothLimit, addCounts(usage, swap), 0, 0),
    ...omitEmpty({ raw }),
    ...psiOf(read, 'memory'),
  }
}

/** io.stat's keys → v1's table and the name of the operation there. */
const IO_KEYS = [
  ['rbytes', 'ioServiceBytesRecursive', 'Read'],
  ['wbytes', 'ioServiceBytesRecursive', 'Write'],
  ['dbytes', 'ioServiceBytesRecursive', 'Discard'],
  ['rios', 'ioServicedRecursive', 'Read'],
  ['wios', 'ioServicedRecursive', 'Write'],
  ['dios', 'ioServicedRecursive', 'Discard'],
] as const

function blkioStats(read: ReadCgroupFile): CgroupStats['blkio'] {
  const tables: Record<string, BlkioEntry[]> = {}
  for (const [device, values] of parseNestedKeyed(read('io', 'io.stat') ?? '')) {
    const [major, minor] = device.split(':').map(Number)
    for (const [key, table, op] of IO_KEYS) {
      const value = values[key]
      if (value === undefined) continue
      tables[table] ??= []
      tables[table].push(omitEmpty({ major, minor, op, value }))
    }
  }
  return { ...tables, ...psiOf(read, 'io') }
}
