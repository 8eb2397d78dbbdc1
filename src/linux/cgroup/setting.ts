import { BerthError } from '../../lib/error.ts'
import type { Int64 } from './resources.ts'

/** One write to one file of a cgroup. A list of them is written in its order. */
export interface CgroupSetting {
  /** The controller the file belongs to: on cgroup v1 also the hierarchy it lies in. */
  readonly controller: string
  readonly file: string
  readonly value: string
  /** Errnos that do no harm here. */
  readonly tolerate?: readonly number[]
  /** Written instead where `file` does not exist. */
  readonly orElse?: { readonly file: string; readonly value: string }
  /** Why, as a short clause. */
  readonly note: string
}

/** Makes a setting; `more` adds `tolerate` or `orElse`. */
export function setting(
  controller: string,
  file: string,
  value: Int64 | string,
  note: string,
  more: Pick<CgroupSetting, 'tolerate' | 'orElse'> = {},
): CgroupSetting {
  return Object.freeze({ controller, file, value: String(value), note, ...more })
}

/** Whether a field of a configuration asks for something: runc reads 0 as "not set" in most of them. */
export function isSet<T extends Int64>(value: T | undefined): value is T {
  return value !== undefined && value !== 0 && value !== 0n
}

/** The error for a field that a kind of hierarchy can't express. */
export function unsupported(field: string, value: unknown, why: string): BerthError {
  return new BerthError('notImplemented', `Cannot set linux.resources.${field} "${String(value)}": ${why}`)
}

/** The error for a field whose value makes no sense. */
export function invalid(field: string, value: unknown, why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot set linux.resources.${field} "${String(value)}": ${why}`)
}
