/**
 * config.json as types, spelled as the spec spells it. Every property of the schema for Linux is here.
 * An int64 or uint64 of the schema is a bigint, because JSON numbers beyond 2^53 would lose digits;
 * device numbers and the console's size, which are far smaller, are numbers.
 * Source: OCI runtime-spec 1.3, config.md, config-linux.md and schema/config-schema.json.
 */

import type { IdMapping } from '../linux/id-map.ts'
import type { IoPriorityClass } from '../linux/io-priority.ts'
import type { SchedAttr } from '../linux/scheduler.ts'
import type { Linux } from './runtime-spec-linux.ts'
import type { FreeBSD, Solaris, VM, Windows, ZOS } from './runtime-spec-platforms.ts'

/** The version whose properties are known here. */
export const OCI_RUNTIME_SPEC_VERSION = '1.3.0'

/** A whole config.json. Sections of other platforms are read and checked in form, and have no effect on Linux. */
export interface RuntimeSpec {
  readonly ociVersion: string
  readonly process?: Process
  readonly root?: Root
  readonly hostname?: string
  readonly domainname?: string
  readonly mounts?: readonly Mount[]
  readonly hooks?: Hooks
  readonly annotations?: Readonly<Record<string, string>>
  readonly linux?: Linux
  readonly solaris?: Solaris
  readonly windows?: Windows
  readonly vm?: VM
  readonly zos?: ZOS
  readonly freebsd?: FreeBSD
}

/** The container's root filesystem. Source: config.md › Root. */
export interface Root {
  /** Absolute, or relative to the bundle. */
  readonly path: string
  readonly readonly?: boolean
}

/** One mount, made in the order of the list. Id mappings, host to mount, turn it into an idmapped one. Source: config.md › Mounts. */
export interface Mount {
  readonly destination: string
  readonly type?: string
  readonly source?: string
  readonly options?: readonly string[]
  readonly uidMappings?: readonly IdMapping[]
  readonly gidMappings?: readonly IdMapping[]
}

/** The hook kinds in the order in which a container's life calls them. */
export const HOOK_KINDS = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const

export type HookKind = (typeof HOOK_KINDS)[number]

export type Hooks = { readonly [Kind in HookKind]?: readonly Hook[] }

/** A program that the runtime calls at one point of the container's life, with the state on its stdin. Source: config.md › POSIX-platform Hooks. */
export interface Hook {
  readonly path: string
  readonly args?: readonly string[]
  readonly env?: readonly string[]
  /** Seconds, at least 1. */
  readonly timeout?: number
}

/** What is executed, as whom and with which rights; also what `exec --process` reads. Source: config.md › Process. */
export interface Process {
  readonly terminal?: boolean
  readonly consoleSize?: ConsoleSize
  readonly user?: User
  readonly args?: readonly string[]
  /** Windows only. */
  readonly commandLine?: string
  readonly env?: readonly string[]
  readonly cwd: string
  readonly capabilities?: Capabilities
  readonly rlimits?: readonly RlimitSetting[]
  readonly noNewPrivileges?: boolean
  readonly apparmorProfile?: string
  readonly oomScoreAdj?: number
  readonly selinuxLabel?: string
  readonly scheduler?: SchedAttr
  readonly ioPriority?: IoPriority
  readonly execCPUAffinity?: ExecCpuAffinity
}

/** Characters; the schema's range is 64 bits, a terminal's is 16. */
export interface ConsoleSize {
  readonly height: number
  readonly width: number
}

/** Ids inside the container, after its id mappings. Source: config.md › User. */
export interface User {
  readonly uid?: number
  readonly gid?: number
  readonly umask?: number
  readonly additionalGids?: readonly number[]
  /** Windows only. */
  readonly username?: string
}

/** Names as written; unknown ones become warnings when the config is checked. */
export interface Capabilities {
  readonly bounding?: readonly string[]
  readonly effective?: readonly string[]
  readonly inheritable?: readonly string[]
  readonly permitted?: readonly string[]
  readonly ambient?: readonly string[]
}

/** One limit of setrlimit(2), in the units of that limit; the largest uint64 is RLIM_INFINITY. */
export interface RlimitSetting {
  /** `RLIMIT_NOFILE`, … */
  readonly type: string
  readonly soft: bigint
  readonly hard: bigint
}

/** The arguments of ioprio_set(2). Source: config.md › Linux Process, `ioPriority`. */
export interface IoPriority {
  readonly class: IoPriorityClass
  /** 0 (highest) to 7. */
  readonly priority?: number
}

/** CPU lists such as `0-3,7`. */
export interface ExecCpuAffinity {
  readonly initial?: string
  readonly final?: string
}
