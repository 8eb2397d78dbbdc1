/** Scheduling policies and `struct sched_attr`. Source: sched(7), sched_setattr(2), include/uapi/linux/sched/types.h. */

/** SCHED_ISO has a number and no implementation: sched_setattr(2) answers EINVAL. */
export const SCHED_POLICY = {
  SCHED_OTHER: 0,
  SCHED_FIFO: 1,
  SCHED_RR: 2,
  SCHED_BATCH: 3,
  SCHED_ISO: 4,
  SCHED_IDLE: 5,
  SCHED_DEADLINE: 6,
} as const

export type SchedPolicy = keyof typeof SCHED_POLICY

export const SCHED_FLAG = {
  SCHED_FLAG_RESET_ON_FORK: 0x01,
  SCHED_FLAG_RECLAIM: 0x02,
  SCHED_FLAG_DL_OVERRUN: 0x04,
  SCHED_FLAG_KEEP_POLICY: 0x08,
  SCHED_FLAG_KEEP_PARAMS: 0x10,
  SCHED_FLAG_UTIL_CLAMP_MIN: 0x20,
  SCHED_FLAG_UTIL_CLAMP_MAX: 0x40,
} as const

export type SchedFlag = keyof typeof SCHED_FLAG

const UTIL_CLAMP = SCHED_FLAG.SCHED_FLAG_UTIL_CLAMP_MIN | SCHED_FLAG.SCHED_FLAG_UTIL_CLAMP_MAX

/** The fields of a process's scheduling that a runtime sets, named as in `process.scheduler` of config.json; what is absent is 0. */
export interface SchedAttr {
  readonly policy: SchedPolicy
  readonly flags?: readonly SchedFlag[]
  /** -20 to 19, SCHED_OTHER and SCHED_BATCH. */
  readonly nice?: number
  /** 1 to 99, SCHED_FIFO and SCHED_RR. */
  readonly priority?: number
  /** Nanoseconds, SCHED_DEADLINE, as the next two. */
  readonly runtime?: bigint
  readonly deadline?: bigint
  readonly period?: bigint
}

/**
 * `struct sched_attr`, little-endian: 48 bytes, or 56 (Linux 5.3) when a utilization clamp is asked for, whose two
 * values are 0 since nothing names others.
 *
 * | offset | size | field          | | offset | size | field          |
 * | ------ | ---- | -------------- | | ------ | ---- | -------------- |
 * | 0      | 4    | size           | | 24     | 8    | sched_runtime  |
 * | 4      | 4    | sched_policy   | | 32     | 8    | sched_deadline |
 * | 8      | 8    | sched_flags    | | 40     | 8    | sched_period   |
 * | 16     | 4    | sched_nice     | | 48     | 4    | sched_util_min |
 * | 20     | 4    | sched_priority | | 52     | 4    | sched_util_max |
 */
export function packSchedAttr(attr: SchedAttr): Uint8Array {
  let flags = 0
  for (const flag of attr.flags ?? []) flags |= SCHED_FLAG[flag]
  const bytes = new Uint8Array((flags & UTIL_CLAMP) === 0 ? 48 : 56)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, bytes.length, true)
  view.setUint32(4, SCHED_POLICY[attr.policy], true)
  view.setBigUint64(8, BigInt(flags), true)
  view.setInt32(16, attr.nice ?? 0, true)
  view.setUint32(20, attr.priority ?? 0, true)
  view.setBigUint64(24, attr.runtime ?? 0n, true)
  view.setBigUint64(32, attr.deadline ?? 0n, true)
  view.setBigUint64(40, attr.period ?? 0n, true)
  return bytes
}
