/**
 * The `linux` section of config.json as types. An int64 or uint64 of the schema is a bigint, except device numbers.
 * Source: OCI runtime-spec 1.3, config-linux.md, schema/config-linux.json and schema/defs-linux.json.
 */

import type { LinuxResources } from '../linux/cgroup/resources.ts'
import type { IdMapping } from '../linux/id-map.ts'
import type { MemoryPolicyFlag, MemoryPolicyMode } from '../linux/memory-policy.ts'
import type { NamespaceType } from '../linux/namespaces.ts'
import type { PersonalityDomain } from '../linux/personality.ts'
import type { SeccompConfig } from '../linux/seccomp/config.ts'

/** What only Linux knows. Source: config-linux.md. */
export interface Linux {
  readonly devices?: readonly Device[]
  /** Interfaces of the runtime's network namespace to move into the container's, by their name there. */
  readonly netDevices?: Readonly<Record<string, NetDevice>>
  readonly uidMappings?: readonly IdMapping[]
  readonly gidMappings?: readonly IdMapping[]
  readonly namespaces?: readonly Namespace[]
  readonly resources?: LinuxResources
  readonly cgroupsPath?: string
  readonly rootfsPropagation?: (typeof ROOTFS_PROPAGATIONS)[number]
  readonly seccomp?: Seccomp
  readonly sysctl?: Readonly<Record<string, string>>
  readonly maskedPaths?: readonly string[]
  readonly readonlyPaths?: readonly string[]
  readonly mountLabel?: string
  readonly intelRdt?: IntelRdt
  readonly memoryPolicy?: MemoryPolicy
  readonly personality?: Personality
  readonly timeOffsets?: TimeOffsets
}

/** One namespace of the container; a kind that is not listed is shared with the runtime. Source: config-linux.md › Namespaces. */
export interface Namespace {
  readonly type: NamespaceType
  /** An existing namespace to join; absent or empty: a new one. */
  readonly path?: string
}

/** A device node to make; the right to use it is given by `resources.devices`. Source: config-linux.md › Devices. */
export interface Device {
  /** `c` and `u` character, `b` block, `p` FIFO. */
  readonly type: 'c' | 'b' | 'u' | 'p'
  readonly path: string
  readonly major?: number
  readonly minor?: number
  /** Permission bits, at most 0777. */
  readonly fileMode?: number
  readonly uid?: number
  readonly gid?: number
}

/** What becomes of an interface that moves into the container. Source: config-linux.md › Network Devices. */
export interface NetDevice {
  /** Its name in the container; absent: the same. */
  readonly name?: string
}

/** The schema has the four without `r`; runc takes those with it, and Docker sends them. */
export const ROOTFS_PROPAGATIONS = [
  'private',
  'shared',
  'slave',
  'unbindable',
  'rprivate',
  'rshared',
  'rslave',
  'runbindable',
] as const

export const SECCOMP_ARCHITECTURES = [
  'SCMP_ARCH_X86',
  'SCMP_ARCH_X86_64',
  'SCMP_ARCH_X32',
  'SCMP_ARCH_ARM',
  'SCMP_ARCH_AARCH64',
  'SCMP_ARCH_LOONGARCH64',
  'SCMP_ARCH_M68K',
  'SCMP_ARCH_MIPS',
  'SCMP_ARCH_MIPS64',
  'SCMP_ARCH_MIPS64N32',
  'SCMP_ARCH_MIPSEL',
  'SCMP_ARCH_MIPSEL64',
  'SCMP_ARCH_MIPSEL64N32',
  'SCMP_ARCH_PPC',
  'SCMP_ARCH_PPC64',
  'SCMP_ARCH_PPC64LE',
  'SCMP_ARCH_S390',
  'SCMP_ARCH_S390X',
  'SCMP_ARCH_SH',
  'SCMP_ARCH_SHEB',
  'SCMP_ARCH_PARISC',
  'SCMP_ARCH_PARISC64',
  'SCMP_ARCH_RISCV64',
] as const

export type SeccompArchitecture = (typeof SECCOMP_ARCHITECTURES)[number]

/** `linux.seccomp`, with any architecture of the spec: a filter can be compiled for some of them. */
export interface Seccomp extends SeccompConfig {
  readonly architectures?: readonly SeccompArchitecture[]
}

/** Shares of cache and memory bandwidth through resctrl. Source: config-linux.md › IntelRdt. */
export interface IntelRdt {
  readonly closID?: string
  readonly schemata?: readonly string[]
  readonly l3CacheSchema?: string
  readonly memBwSchema?: string
  readonly enableMonitoring?: boolean
}

/** The NUMA policy of the process, see set_mempolicy(2). Source: config-linux.md › Memory policy. */
export interface MemoryPolicy {
  readonly mode?: MemoryPolicyMode
  /** A node list such as `0-1,3`. */
  readonly nodes?: string
  readonly flags?: readonly MemoryPolicyFlag[]
}

/** The execution domain, see personality(2); LINUX32 makes uname(2) name a 32-bit machine. */
export interface Personality {
  readonly domain?: PersonalityDomain
  readonly flags?: readonly string[]
}

/** What a new time namespace adds to the clocks of the host, see time_namespaces(7). */
export interface TimeOffsets {
  readonly boottime?: TimeOffset
  readonly monotonic?: TimeOffset
}

/** One offset: the sum of both; `secs` may be negative, `nanosecs` is below a second. */
export interface TimeOffset {
  readonly secs?: bigint
  readonly nanosecs?: number
}
