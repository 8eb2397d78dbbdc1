/**
 * `linux.resources` of config.json, also what `update --resources` reads. An int64 or uint64 of the schema is a
 * bigint, except device numbers. Source: OCI runtime-spec 1.3, config-linux.md › Control groups.
 */

/** `linux.resources`. What is absent stays as the kernel, or an earlier `update`, has it. */
export interface Resources {
  /** Files of cgroup v2 and what to write to them. */
  readonly unified?: Readonly<Record<string, string>>
  readonly devices?: readonly DeviceRule[]
  readonly pids?: Pids
  readonly blockIO?: BlockIo
  readonly cpu?: Cpu
  readonly hugepageLimits?: readonly HugepageLimit[]
  readonly memory?: Memory
  readonly network?: Network
  /** By RDMA device name. */
  readonly rdma?: Readonly<Record<string, Rdma>>
}

/** Later rules win; -1 or absent is any number. */
export interface DeviceRule {
  readonly allow: boolean
  /** `a` all (also when absent), `c` character, `b` block. */
  readonly type?: string
  readonly major?: number
  readonly minor?: number
  /** Letters of `rwm`. */
  readonly access?: string
}

/** How many tasks, threads included. Source: config-linux.md › PIDs. */
export interface Pids {
  /** -1: no limit. */
  readonly limit: bigint
}

/** Shares and limits of disk traffic; a weight is 10 to 1000. Source: config-linux.md › Block IO. */
export interface BlockIo {
  readonly weight?: number
  readonly leafWeight?: number
  readonly weightDevice?: readonly WeightDevice[]
  readonly throttleReadBpsDevice?: readonly ThrottleDevice[]
  readonly throttleWriteBpsDevice?: readonly ThrottleDevice[]
  readonly throttleReadIOPSDevice?: readonly ThrottleDevice[]
  readonly throttleWriteIOPSDevice?: readonly ThrottleDevice[]
}

/** A weight for one disk, in place of the general one; `leafWeight` counts against child cgroups, on cgroup v1 only. */
export interface WeightDevice {
  readonly major: number
  readonly minor: number
  readonly weight?: number
  readonly leafWeight?: number
}

/** A limit for one disk; a rate of 0 lifts it. */
export interface ThrottleDevice {
  readonly major: number
  readonly minor: number
  /** Bytes or operations per second. */
  readonly rate?: bigint
}

/** Times are in microseconds. */
export interface Cpu {
  readonly shares?: bigint
  readonly quota?: bigint
  readonly burst?: bigint
  readonly period?: bigint
  readonly realtimeRuntime?: bigint
  readonly realtimePeriod?: bigint
  readonly cpus?: string
  readonly mems?: string
  readonly idle?: bigint
}

/** How much may be in huge pages of one size. Source: config-linux.md › Huge page limits. */
export interface HugepageLimit {
  /** `64KB`, `2MB`, `1GB`. */
  readonly pageSize: string
  /** Bytes. */
  readonly limit: bigint
}

/** Bytes; -1 is no limit. */
export interface Memory {
  readonly limit?: bigint
  readonly reservation?: bigint
  /** Memory and swap together. */
  readonly swap?: bigint
  readonly kernel?: bigint
  readonly kernelTCP?: bigint
  readonly swappiness?: bigint
  readonly disableOOMKiller?: boolean
  readonly useHierarchy?: boolean
  readonly checkBeforeUpdate?: boolean
}

/** Marks and priorities of what is sent, for the traffic control of the host; cgroup v1 only. Source: config-linux.md › Network. */
export interface Network {
  readonly classID?: number
  readonly priorities?: readonly InterfacePriority[]
}

/** The priority of traffic through one interface of the container. */
export interface InterfacePriority {
  readonly name: string
  readonly priority: number
}

/** How many handles and objects of one RDMA device may be open; absent: any number. Source: config-linux.md › RDMA. */
export interface Rdma {
  readonly hcaHandles?: number
  readonly hcaObjects?: number
}
