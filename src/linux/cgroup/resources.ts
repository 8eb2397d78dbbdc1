/**
 * `linux.resources` of an OCI configuration, field by field as the JSON names them; every field is optional. Also what
 * `update --resources` reads. What is absent stays as the kernel, or an earlier update, has it.
 * Source: runtime-spec › Linux Container Configuration › Control groups; schema config-linux.json `resources`.
 */

/** A 64-bit value of a configuration: a number when it is safe as one. */
export type Int64 = number | bigint

/** One rule of the device list; the last that matches decides. */
export interface DeviceCgroupRule {
  readonly allow: boolean
  /** `a` (all), `c` or `u` (character), `b` (block); missing means `a`. */
  readonly type?: string | undefined
  /** Missing or -1: every one. */
  readonly major?: Int64 | undefined
  readonly minor?: Int64 | undefined
  /** Letters of `rwm`. */
  readonly access?: string | undefined
}

/** CPU time and where to spend it; times in microseconds. */
export interface CpuResources {
  readonly shares?: Int64 | undefined
  readonly quota?: Int64 | undefined
  readonly burst?: Int64 | undefined
  readonly period?: Int64 | undefined
  readonly realtimeRuntime?: Int64 | undefined
  readonly realtimePeriod?: Int64 | undefined
  readonly cpus?: string | undefined
  readonly mems?: string | undefined
  readonly idle?: Int64 | undefined
}

/** Memory in bytes; -1 is no limit. */
export interface MemoryResources {
  readonly limit?: Int64 | undefined
  readonly reservation?: Int64 | undefined
  /** Memory and swap together, as cgroup v1 counts. */
  readonly swap?: Int64 | undefined
  readonly kernel?: Int64 | undefined
  readonly kernelTCP?: Int64 | undefined
  readonly swappiness?: Int64 | undefined
  readonly disableOOMKiller?: boolean | undefined
  readonly useHierarchy?: boolean | undefined
  readonly checkBeforeUpdate?: boolean | undefined
}

/** The weight of one disk, 10 to 1000. */
export interface WeightDevice {
  readonly major: Int64
  readonly minor: Int64
  readonly weight?: number | undefined
  readonly leafWeight?: number | undefined
}

/** The limit of one disk, in bytes or operations per second; 0 is no limit. */
export interface ThrottleDevice {
  readonly major: Int64
  readonly minor: Int64
  readonly rate?: Int64 | undefined
}

/** Shares and limits of disk traffic. */
export interface BlockIoResources {
  readonly weight?: number | undefined
  readonly leafWeight?: number | undefined
  readonly weightDevice?: readonly WeightDevice[] | undefined
  readonly throttleReadBpsDevice?: readonly ThrottleDevice[] | undefined
  readonly throttleWriteBpsDevice?: readonly ThrottleDevice[] | undefined
  readonly throttleReadIOPSDevice?: readonly ThrottleDevice[] | undefined
  readonly throttleWriteIOPSDevice?: readonly ThrottleDevice[] | undefined
}

/** Bytes of huge pages of one size. */
export interface HugepageLimit {
  /** Such as `2MB`. */
  readonly pageSize: string
  readonly limit: Int64
}

/** Marks and priorities of what is sent, for the traffic control of the host; cgroup v1 only. */
export interface NetworkResources {
  readonly classID?: number | undefined
  readonly priorities?: readonly InterfacePriority[] | undefined
}

/** The priority of traffic through one interface. */
export interface InterfacePriority {
  readonly name: string
  readonly priority: number
}

/** How many handles and objects of one RDMA device may be open; missing: any number. */
export interface RdmaLimit {
  readonly hcaHandles?: number | undefined
  readonly hcaObjects?: number | undefined
}

/** How many tasks, threads included; -1 is no limit. */
export interface PidsResources {
  readonly limit: Int64
}

/** All limits of a container. */
export interface LinuxResources {
  readonly devices?: readonly DeviceCgroupRule[] | undefined
  readonly memory?: MemoryResources | undefined
  readonly cpu?: CpuResources | undefined
  readonly pids?: PidsResources | undefined
  readonly blockIO?: BlockIoResources | undefined
  readonly hugepageLimits?: readonly HugepageLimit[] | undefined
  readonly network?: NetworkResources | undefined
  /** By RDMA device name. */
  readonly rdma?: Readonly<Record<string, RdmaLimit>> | undefined
  /** Files of cgroup v2 and what to write to them. */
  readonly unified?: Readonly<Record<string, string>> | undefined
}

/** Remarks on fields that mean nothing any more and are accepted all the same, as runc does. */
export function resourceWarnings(resources: LinuxResources): readonly string[] {
  const warnings: string[] = []
  for (const field of ['kernel', 'kernelTCP'] as const) {
    if (resources.memory?.[field] !== undefined) {
      warnings.push(`linux.resources.memory.${field} has no effect: the kernel has no such limit since Linux 5.16`)
    }
  }
  return warnings
}
