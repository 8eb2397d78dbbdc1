import { BerthError } from '../../lib/error.ts'
import type { DeviceCgroupRule } from './resources.ts'

/** Access bits as `struct bpf_cgroup_dev_ctx` numbers them. Source: include/uapi/linux/bpf.h. */
export const ACCESS_MKNOD = 1
export const ACCESS_READ = 2
export const ACCESS_WRITE = 4
export const ACCESS_ALL = 7

const LETTERS = [
  ['r', ACCESS_READ],
  ['w', ACCESS_WRITE],
  ['m', ACCESS_MKNOD],
] as const

/** One exception to the default of a {@link DevicePolicy}; null matches every number. */
export interface DeviceException {
  readonly type: 'b' | 'c'
  readonly major: number | null
  readonly minor: number | null
  /** Bits of ACCESS_*. */
  readonly access: number
}

/** Which devices a cgroup may use: what all rules together come to. */
export interface DevicePolicy {
  readonly allowByDefault: boolean
  /** Denied when `allowByDefault`, else allowed. Ordered by type, major, minor; no two with the same numbers. */
  readonly exceptions: readonly DeviceException[]
}

function allow(
  type: 'b' | 'c',
  major: number | undefined,
  minor: number | undefined,
  access: string,
): DeviceCgroupRule {
  return { allow: true, type, major, minor, access }
}

/** What every container may use: it may make any node, and use the nodes that every /dev has. */
export const defaultDeviceRules: readonly DeviceCgroupRule[] = [
  allow('c', undefined, undefined, 'm'),
  allow('b', undefined, undefined, 'm'),
  allow('c', 1, 3, 'rwm'), // null
  allow('c', 1, 5, 'rwm'), // zero
  allow('c', 1, 7, 'rwm'), // full
  allow('c', 1, 8, 'rwm'), // random
  allow('c', 1, 9, 'rwm'), // urandom
  allow('c', 5, 0, 'rwm'), // tty
  allow('c', 5, 1, 'rwm'), // console
  allow('c', 5, 2, 'rwm'), // ptmx
  allow('c', 136, undefined, 'rwm'), // pts/*
]

/**
 * Applies rules in their order, the last match deciding per kind of access, starting from "nothing is allowed".
 * A rule of type `a` decides about everything, whatever its other fields say, as in the kernel's devices.allow.
 * @throws {BerthError} invalidArgument for a malformed rule, and for one that takes back a part of a wildcard:
 *   neither devices.deny nor devices.allow of cgroup v1 can express it, and the kernel would ignore it silently
 * Source: runtime-spec › Control groups › Allowed Device list; kernel admin-guide/cgroup-v1/devices.rst.
 */
export function devicePolicy(rules: readonly DeviceCgroupRule[]): DevicePolicy {
  let allowByDefault = false
  const exceptions = new Map<string, DeviceException>()
  for (const rule of rules) {
    const parsed = parseRule(rule)
    if (parsed === null) {
      allowByDefault = rule.allow
      exceptions.clear()
    } else if (rule.allow === allowByDefault) {
      takeBack(exceptions, parsed, rule)
    } else {
      const before = exceptions.get(keyOf(parsed))?.access ?? 0
      exceptions.set(keyOf(parsed), { ...parsed, access: before | parsed.access })
    }
  }
  return { allowByDefault, exceptions: [...exceptions.values()].sort(compareExceptions) }
}

function takeBack(exceptions: Map<string, DeviceException>, rule: DeviceException, source: DeviceCgroupRule): void {
  for (const [key, exception] of exceptions) {
    if (exception.type !== rule.type || (exception.access & rule.access) === 0 || !overlaps(exception, rule)) continue
    if (!covers(rule, exception)) {
      throw new BerthError(
        'invalidArgument',
        `Cannot apply device rule "${ruleLine(rule)}" (${source.allow ? 'allow' : 'deny'}): it takes back a part of the earlier "${ruleLine(exception)}", expected one as wide`,
      )
    }
    const access = exception.access & ~rule.access
    if (access === 0) exceptions.delete(key)
    else exceptions.set(key, { ...exception, access })
  }
}

function covers(wide: DeviceException, narrow: DeviceException): boolean {
  return (wide.major === null || wide.major === narrow.major) && (wide.minor === null || wide.minor === narrow.minor)
}

function overlaps(a: DeviceException, b: DeviceException): boolean {
  const meets = (x: number | null, y: number | null) => x === null || y === null || x === y
  return meets(a.major, b.major) && meets(a.minor, b.minor)
}

function parseRule(rule: DeviceCgroupRule): DeviceException | null {
  const type = rule.type ?? 'a'
  if (type === 'a' || type === '') return null
  if (type !== 'b' && type !== 'c' && type !== 'u') throw malformed('type', type, 'a, b, c or u')
  const text = rule.access ?? ''
  if (!/^[rwm]+$/.test(text)) throw malformed('access', text, 'letters of rwm')
  const access = LETTERS.reduce((bits, [letter, bit]) => (text.includes(letter) ? bits | bit : bits), 0)
  return {
    type: type === 'b' ? 'b' : 'c',
    major: number('major', rule.major),
    minor: number('minor', rule.minor),
    access,
  }
}

function number(field: string, value: DeviceCgroupRule['major']): number | null {
  if (value === undefined || value === -1 || value === -1n) return null
  if (value < 0 || value > 0xffff_ffff) throw malformed(field, value, '0 to 4294967295, or -1 for all')
  return Number(value)
}

function malformed(field: string, value: unknown, expected: string): BerthError {
  return new BerthError(
    'invalidArgument',
    `Cannot set linux.resources.devices.${field} "${String(value)}": malformed, expected ${expected}`,
  )
}

function keyOf({ type, major, minor }: DeviceException): string {
  return `${type} ${major ?? '*'}:${minor ?? '*'}`
}

/** An exception as devices.allow and devices.deny read it: `c 1:3 rwm`. */
function ruleLine(exception: DeviceException): string {
  return `${keyOf(exception)} ${accessLetters(exception.access)}`
}

/** Access bits as letters in the kernel's order. */
export function accessLetters(access: number): string {
  return LETTERS.filter(([, bit]) => (access & bit) !== 0)
    .map(([letter]) => letter)
    .join('')
}

function compareExceptions(a: DeviceException, b: DeviceException): number {
  const rank = (value: number | null) => value ?? -1
  // Not localeCompare: it loads the collation tables, which takes longer than all else that is done about devices.
  const byType = a.type === b.type ? 0 : a.type < b.type ? -1 : 1
  return byType || rank(a.major) - rank(b.major) || rank(a.minor) - rank(b.minor)
}

/** One write into a file of cgroup v1's `devices`. */
export interface DeviceLine {
  readonly file: 'devices.allow' | 'devices.deny'
  readonly line: string
}

/** The writes that bring a new v1 cgroup to a policy: the default first, for it clears all exceptions. */
export function deviceLines(policy: DevicePolicy): readonly DeviceLine[] {
  const exception = policy.allowByDefault ? 'devices.deny' : 'devices.allow'
  return [
    { file: policy.allowByDefault ? 'devices.allow' : 'devices.deny', line: 'a' },
    ...policy.exceptions.map(each => ({ file: exception, line: ruleLine(each) }) as const),
  ]
}

/**
 * The writes that bring a running v1 cgroup from what its devices.list says to a policy, without a moment in which a
 * device allowed before and after is refused. A list "a *:* rwm" hides its exceptions, so such a cgroup starts over.
 */
export function deviceTransition(devicesList: string, target: DevicePolicy): readonly DeviceLine[] {
  const current = parseDevicesList(devicesList)
  if (current === null || target.allowByDefault) return deviceLines(target)
  const wanted = new Map(target.exceptions.map(each => [keyOf(each), each]))
  const lines: DeviceLine[] = []
  for (const exception of current) {
    const lost = exception.access & ~(wanted.get(keyOf(exception))?.access ?? 0)
    if (lost !== 0) lines.push({ file: 'devices.deny', line: ruleLine({ ...exception, access: lost }) })
  }
  const had = new Map(current.map(each => [keyOf(each), each.access]))
  for (const exception of target.exceptions) {
    const gained = exception.access & ~(had.get(keyOf(exception)) ?? 0)
    if (gained !== 0) lines.push({ file: 'devices.allow', line: ruleLine({ ...exception, access: gained }) })
  }
  return lines
}

/** devices.list of cgroup v1 → what is allowed; null: everything that is not denied by exceptions it does not show. */
function parseDevicesList(text: string): readonly DeviceException[] | null {
  const rules = text
    .split('\n')
    .filter(line => line !== '')
    .map(line => {
      const match = /^([abc]) (\d+|\*):(\d+|\*) ([rwm]+)$/.exec(line)
      if (match === null) throw new BerthError('internal', `Cannot read devices.list: malformed line "${line}"`)
      const at = (text: string | undefined) => (text === '*' ? -1 : Number(text))
      return { allow: true, type: match[1], major: at(match[2]), minor: at(match[3]), access: match[4] }
    })
  const policy = devicePolicy(rules)
  return policy.allowByDefault ? null : policy.exceptions
}
