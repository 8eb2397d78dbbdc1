import { EINVAL } from '../../lib/errno.ts'
import { parseCpuList } from '../cpu-set.ts'
import type { CpuResources, Int64 } from './resources.ts'
import { type CgroupSetting, invalid, isSet, setting, unsupported } from './setting.ts'

const MIN_SHARES = 2
const MAX_SHARES = 262_144

/** The kernel's default of cpu.cfs_period_us and of the period in cpu.max. */
export const DEFAULT_CPU_PERIOD_MICROSECONDS = 100_000

/**
 * cpu.shares (2 … 262144, default 1024) → cpu.weight (1 … 10000, default 100).
 * The curve that runc and crun have agreed on since 2025: quadratic between the logarithms, so that both ends *and* the defaults meet
 * (the older linear formula made the default 1024 a weight of 39).
 */
export function cpuWeightOfShares(shares: Int64): number {
  if (shares <= MIN_SHARES) return 1
  if (shares >= MAX_SHARES) return 10_000
  const log = Math.log2(Number(shares))
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))
}

/** The files of cgroup v1's `cpu`. */
export function cpuSettingsV1(cpu: CpuResources): readonly CgroupSetting[] {
  const settings: CgroupSetting[] = []
  if (isSet(cpu.shares)) {
    // The kernel clamps silently, which would give the container another share than it was told.
    if (cpu.shares < MIN_SHARES || cpu.shares > MAX_SHARES) {
      throw invalid('cpu.shares', cpu.shares, `out of range, expected ${MIN_SHARES} to ${MAX_SHARES}`)
    }
    settings.push(setting('cpu', 'cpu.shares', cpu.shares, 'share of the CPU time when it is short'))
  }
  const quota = isSet(cpu.quota) ? cpu.quota : undefined
  // A smaller period or a larger burst may exceed the parent's quota until the new quota is there (EINVAL); so each is
  // written before and, when there is a quota, once more after.
  const early = quota === undefined ? {} : { tolerate: [EINVAL] }
  const period = isSet(cpu.period)
    ? (['cpu.cfs_period_us', cpu.period, 'length of a bandwidth period'] as const)
    : undefined
  const burst =
    cpu.burst === undefined ? undefined : (['cpu.cfs_burst_us', cpu.burst, 'unused quota that may be kept'] as const)
  for (const [file, value, note] of [period, burst].filter(row => row !== undefined)) {
    settings.push(setting('cpu', file, value, note, early))
  }
  if (quota !== undefined) {
    settings.push(setting('cpu', 'cpu.cfs_quota_us', quota, 'CPU time per period'))
    for (const [file, value, note] of [period, burst].filter(row => row !== undefined)) {
      settings.push(setting('cpu', file, value, `${note}, now that the quota stands`))
    }
  }
  if (cpu.idle !== undefined) settings.push(setting('cpu', 'cpu.idle', cpu.idle, 'run only when nothing else wants to'))
  return [...settings, ...realtimeSettings(cpu)]
}

function realtimeSettings(cpu: CpuResources): readonly CgroupSetting[] {
  const settings: CgroupSetting[] = []
  const period = isSet(cpu.realtimePeriod) ? cpu.realtimePeriod : undefined
  const runtime = isSet(cpu.realtimeRuntime) ? cpu.realtimeRuntime : undefined
  const write = (tolerate?: readonly number[]) =>
    settings.push(
      setting('cpu', 'cpu.rt_period_us', period ?? 0, 'length of a real-time period', tolerate ? { tolerate } : {}),
    )
  // Runtime and period bound each other, as quota and period do.
  if (period !== undefined) write(runtime === undefined ? undefined : [EINVAL])
  if (runtime !== undefined) {
    settings.push(setting('cpu', 'cpu.rt_runtime_us', runtime, 'real-time CPU time per period'))
    if (period !== undefined) write()
  }
  return settings
}

/**
 * The files of cgroup v2's `cpu`.
 * @throws {BerthError} notImplemented for the real-time fields: cgroup v2 has no real-time bandwidth control.
 */
export function cpuSettingsV2(cpu: CpuResources): readonly CgroupSetting[] {
  for (const field of ['realtimePeriod', 'realtimeRuntime'] as const) {
    if (isSet(cpu[field])) throw unsupported(`cpu.${field}`, cpu[field], 'cgroup v2 has no real-time bandwidth control')
  }
  const settings: CgroupSetting[] = []
  if (cpu.idle !== undefined) settings.push(setting('cpu', 'cpu.idle', cpu.idle, 'run only when nothing else wants to'))
  if (isSet(cpu.shares)) {
    settings.push(setting('cpu', 'cpu.weight', cpuWeightOfShares(cpu.shares), `cpu.shares ${cpu.shares} as a weight`))
  }
  const bandwidth = isSet(cpu.quota) || isSet(cpu.period)
  const burst = (tolerate: readonly number[]) =>
    settings.push(setting('cpu', 'cpu.max.burst', cpu.burst ?? 0, 'unused quota that may be kept', { tolerate }))
  if (cpu.burst !== undefined) burst(bandwidth ? [EINVAL] : [])
  if (bandwidth) {
    const quota = isSet(cpu.quota) && cpu.quota > 0 ? cpu.quota : 'max'
    const period = isSet(cpu.period) ? cpu.period : DEFAULT_CPU_PERIOD_MICROSECONDS
    settings.push(setting('cpu', 'cpu.max', `${quota} ${period}`, 'CPU time per period'))
    if (cpu.burst !== undefined) burst([])
  }
  return settings
}

/** The files of `cpuset`, the same on both versions. @throws {BerthError} invalidArgument for a malformed list */
export function cpusetSettings(cpu: CpuResources): readonly CgroupSetting[] {
  const settings: CgroupSetting[] = []
  if (cpu.cpus) {
    parseCpuList(cpu.cpus)
    settings.push(setting('cpuset', 'cpuset.cpus', cpu.cpus, 'CPUs it may run on'))
  }
  if (cpu.mems) {
    parseCpuList(cpu.mems, 'memory node')
    settings.push(setting('cpuset', 'cpuset.mems', cpu.mems, 'memory nodes it may allocate from'))
  }
  return settings
}
