import type { BlkioEntry, Count, Pressure } from './stat-files.ts'

/**
 * The resource use of a container in the shape of `runc events --stats`. What is 0 is left out where runc leaves it out,
 * so an entry may lack any optional field.
 */
export interface CgroupStats {
  readonly cpu: {
    readonly usage: {
      /** Nanoseconds, like all of `usage`. */
      readonly total?: Count
      readonly percpu?: readonly Count[]
      readonly percpu_kernel?: readonly Count[]
      readonly percpu_user?: readonly Count[]
      readonly kernel: Count
      readonly user: Count
    }
    readonly throttling?: {
      readonly periods?: Count
      readonly throttledPeriods?: Count
      readonly throttledTime?: Count
    }
    readonly psi?: Pressure
  }
  readonly cpuset: CpusetStats
  readonly memory: {
    readonly cache?: Count
    readonly usage?: MemoryEntry
    /** Memory and swap together. */
    readonly swap?: MemoryEntry
    readonly kernel?: MemoryEntry
    readonly kernelTCP?: MemoryEntry
    readonly raw?: Readonly<Record<string, Count>>
    readonly psi?: Pressure
  }
  readonly pids: { readonly current?: Count; readonly limit?: Count }
  readonly blkio: Readonly<Record<string, readonly BlkioEntry[] | Pressure>>
  /** By page size, such as `2MB`. */
  readonly hugetlb: Readonly<Record<string, { readonly usage?: Count; readonly max?: Count; readonly failcnt: Count }>>
}

/** Bytes, except `failcnt`: how often the limit was hit. */
export interface MemoryEntry {
  readonly limit: Count
  readonly usage?: Count
  readonly max?: Count
  readonly failcnt: Count
}

/** Where it may run, and the flags of cgroup v1, which are 0 on v2. */
export interface CpusetStats {
  readonly cpus?: readonly number[]
  readonly cpu_exclusive: Count
  readonly mems?: readonly number[]
  readonly mem_hardwall: Count
  readonly mem_exclusive: Count
  readonly memory_migrate: Count
  readonly memory_spread_page: Count
  readonly memory_spread_slab: Count
  readonly memory_pressure: Count
  readonly sched_load_balance: Count
  readonly sched_relax_domain_level: Count
}

/** The text of a file of the cgroup, null where there is none. `controller` names the v1 hierarchy. */
export type ReadCgroupFile = (controller: string, file: string) => string | null

/** Drops the fields that are undefined, 0 or empty, as Go's `omitempty` does. */
export function omitEmpty<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const kept: { [K in keyof T]?: Exclude<T[K], undefined> } = {}
  for (const key of Object.keys(fields) as (keyof T)[]) {
    const value = fields[key]
    const empty =
      value === undefined ||
      value === 0 ||
      value === '' ||
      (typeof value === 'object' && Object.keys(value ?? {}).length === 0)
    if (!empty) kept[key] = value as Exclude<T[typeof key], undefined>
  }
  return kept
}
