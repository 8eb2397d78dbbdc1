/**
 * The seccomp section of an OCI config as typed data, and what its words mean to the kernel.
 * Source: runtime-spec › config-linux.md › Seccomp; seccomp(2); include/uapi/linux/seccomp.h.
 */

/** Action words and the `SECCOMP_RET_*` value of each, without data. KILL is libseccomp's older name of KILL_THREAD. */
export const SECCOMP_RET = Object.freeze({
  SCMP_ACT_KILL: 0x00000000,
  SCMP_ACT_KILL_THREAD: 0x00000000,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_NOTIFY: 0x7fc00000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
})

/** The `SECCOMP_FILTER_FLAG_*` bits of seccomp(2). The spec's `flags` may name the first three and the last. */
export const SECCOMP_FILTER_FLAG = Object.freeze({
  SECCOMP_FILTER_FLAG_TSYNC: 1 << 0,
  SECCOMP_FILTER_FLAG_LOG: 1 << 1,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 1 << 2,
  SECCOMP_FILTER_FLAG_NEW_LISTENER: 1 << 3,
  SECCOMP_FILTER_FLAG_TSYNC_ESRCH: 1 << 4,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 1 << 5,
})

export const SECCOMP_OPERATORS = [
  'SCMP_CMP_NE',
  'SCMP_CMP_LT',
  'SCMP_CMP_LE',
  'SCMP_CMP_EQ',
  'SCMP_CMP_GE',
  'SCMP_CMP_GT',
  'SCMP_CMP_MASKED_EQ',
] as const

/** The action words of the spec. */
export const SECCOMP_ACTIONS: readonly SeccompAction[] = Object.freeze([
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_TRAP',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_TRACE',
  'SCMP_ACT_ALLOW',
  'SCMP_ACT_LOG',
  'SCMP_ACT_NOTIFY',
])

/** The flags that a config may name; the others of seccomp(2) follow from its rules. */
export const SECCOMP_FLAGS = [
  'SECCOMP_FILTER_FLAG_TSYNC',
  'SECCOMP_FILTER_FLAG_LOG',
  'SECCOMP_FILTER_FLAG_SPEC_ALLOW',
  'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV',
] as const satisfies readonly (keyof typeof SECCOMP_FILTER_FLAG)[]

export type SeccompAction = keyof typeof SECCOMP_RET
export type SeccompOperator = (typeof SECCOMP_OPERATORS)[number]
export type SeccompFlag = (typeof SECCOMP_FLAGS)[number]

/** `linux.seccomp`. `architectures` are `SCMP_ARCH_*` words; the machine's own is always part of the filter. */
export interface SeccompConfig {
  readonly defaultAction: SeccompAction
  readonly defaultErrnoRet?: number
  readonly architectures?: readonly string[]
  /** Absent means SPEC_ALLOW, as in runc; an empty list means no flag. */
  readonly flags?: readonly SeccompFlag[]
  readonly listenerPath?: string
  readonly listenerMetadata?: string
  readonly syscalls?: readonly SeccompSyscall[]
}

/** One rule for several calls: `action` when all of `args` hold; `errnoRet` is the data of ERRNO and TRACE. */
export interface SeccompSyscall {
  readonly names: readonly string[]
  readonly action: SeccompAction
  readonly errnoRet?: number
  readonly args?: readonly SeccompArgument[]
}

/** One comparison. For MASKED_EQ `value` is the mask and `valueTwo` what the masked argument must equal. */
export interface SeccompArgument {
  /** 0 to 5. */
  readonly index: number
  readonly value: bigint
  readonly valueTwo?: bigint
  readonly op: SeccompOperator
}
