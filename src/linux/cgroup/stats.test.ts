import { describe, expect, test } from 'bun:test'
import { formatJson } from '../../lib/json-shape.ts'
import { addCounts, parseBlkio, parseCount, parseNestedKeyed, parsePressure, UNLIMITED } from './stat-files.ts'
import { statsV1 } from './stats-v1.ts'
import { statsV2 } from './stats-v2.ts'

function reader(files: Readonly<Record<string, string>>) {
  return (_: string, file: string) => files[file] ?? null
}

describe('stat files', () => {
  test('parseCount() keeps 64 bits exact', () => {
    expect(parseCount('9223372036854771712\n')).toBe(9_223_372_036_854_771_712n)
    expect(parseCount('42')).toBe(42)
    expect(parseCount('max\n')).toBe(UNLIMITED)
    expect(addCounts(9_007_199_254_740_991, 1)).toBe(9_007_199_254_740_992n)
  })
  test('parseNestedKeyed() reads io.stat', () => {
    expect(parseNestedKeyed('8:0 rbytes=1 wbytes=2\n').get('8:0')).toEqual({ rbytes: 1, wbytes: 2 })
  })
  test('parseBlkio() leaves out totals', () => {
    expect(parseBlkio('8:0 Read 5\n8:0 Total 5\nTotal 5\n8:16 7\n')).toEqual([
      { major: 8, minor: 0, op: 'Read', value: 5 },
      { major: 8, minor: 0, op: 'Total', value: 5 },
      { major: 8, minor: 16, value: 7 },
    ])
  })
  test('parsePressure() reads both lines', () => {
    const text = 'some avg10=0.50 avg60=0.00 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=4\n'
    expect(parsePressure(text)).toEqual({
      some: { avg10: 0.5, avg60: 0, avg300: 0, total: 123 },
      full: { avg10: 0, avg60: 0, avg300: 0, total: 4 },
    })
  })
})

test('statsV2() has the shape of runc events', () => {
  const stats = statsV2(
    reader({
      'cpu.stat': 'usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 2\nnr_throttled 1\nthrottled_usec 9\n',
      'memory.stat': 'anon 5\nfile 6\n',
      'memory.current': '100\n',
      'memory.max': 'max\n',
      'memory.events': 'max 3\n',
      'pids.current': '2\n',
      'pids.max': 'max\n',
      'io.stat': '8:0 rbytes=1 rios=2\n',
      'hugetlb.2MB.current': '0\n',
      'hugetlb.2MB.events': 'max 1\n',
      'cpuset.cpus': '0-1\n',
    }),
    ['2MB'],
  )
  expect(JSON.parse(formatJson(stats))).toEqual({
    cpu: {
      usage: { total: 7000, kernel: 3000, user: 4000 },
      throttling: { periods: 2, throttledPeriods: 1, throttledTime: 9000 },
    },
    cpuset: expect.objectContaining({ cpus: [0, 1], cpu_exclusive: 0 }),
    memory: {
      cache: 6,
      usage: { limit: 18446744073709552000, usage: 100, failcnt: 3 },
      swap: { limit: 18446744073709552000, usage: 100, failcnt: 0 },
      raw: { anon: 5, file: 6 },
    },
    pids: { current: 2 },
    blkio: {
      ioServiceBytesRecursive: [{ major: 8, op: 'Read', value: 1 }],
      ioServicedRecursive: [{ major: 8, op: 'Read', value: 2 }],
    },
    hugetlb: { '2MB': { failcnt: 1 } },
  })
  expect(formatJson(stats)).toContain('"limit":18446744073709551615')
})

test('statsV1() has the shape of runc events', () => {
  const stats = statsV1(
    reader({
      'cpuacct.usage': '900\n',
      'cpuacct.usage_percpu': '400 500 \n',
      'cpuacct.usage_all': 'cpu user system\n0 300 100\n1 450 50\n',
      'cpuacct.stat': 'user 2\nsystem 1\n',
      'memory.stat': 'cache 8\n',
      'memory.usage_in_bytes': '10\n',
      'memory.limit_in_bytes': '9223372036854771712\n',
      'memory.failcnt': '4\n',
      'pids.current': '1\n',
      'pids.max': '5\n',
      'blkio.throttle.io_serviced_recursive': '8:0 Read 3\n',
    }),
    [],
  )
  expect(stats.cpu.usage).toEqual({
    total: 900,
    percpu: [400, 500],
    percpu_kernel: [100, 50],
    percpu_user: [300, 450],
    kernel: 10_000_000,
    user: 20_000_000,
  })
  expect(stats.memory.usage).toEqual({ limit: 9_223_372_036_854_771_712n, usage: 10, failcnt: 4 })
  expect(stats.pids).toEqual({ current: 1, limit: 5 })
  expect(stats.blkio).toEqual({ ioServicedRecursive: [{ major: 8, minor: 0, op: 'Read', value: 3 }] })
})
