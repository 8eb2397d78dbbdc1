import { BerthError } from '../../lib/error.ts'

/** Where a container's systemd unit lies. */
export interface SystemdUnit {
  /** Such as `machine.slice`; '' leaves the choice to the manager: system.slice, or user.slice when rootless. */
  readonly slice: string
  /** Such as `berth-web.scope`. */
  readonly unit: string
}

/**
 * Reads `linux.cgroupsPath` in systemd's form `slice:prefix:name` → slice and unit `prefix-name.scope`. A name that ends in
 * `.slice` is a slice unit of that name. Without a path it is `berth-<id>.scope`.
 * @throws {BerthError} invalidArgument
 */
export function parseSystemdPath(path: string | undefined, id: string): SystemdUnit {
  if (!path) return { slice: '', unit: `berth-${id}.scope` }
  const parts = path.split(':')
  const [slice = '', prefix = '', name = ''] = parts
  if (parts.length !== 3 || name === '') {
    throw new BerthError('invalidArgument', `Cannot use cgroupsPath "${path}": malformed, expected slice:prefix:name`)
  }
  if (slice !== '') expandSlice(slice)
  const unit = name.endsWith('.slice') ? name : prefix === '' ? `${name}.scope` : `${prefix}-${name}.scope`
  if (!/^[\w:.@\\-]{1,255}$/.test(unit) || unit.includes('..')) {
    throw new BerthError('invalidArgument', `Cannot use cgroupsPath "${path}": "${unit}" is not a name of a unit`)
  }
  return { slice, unit }
}

/**
 * The cgroup of a slice: each dash in its name is one level, so `a-b-c.slice` is `/a.slice/a-b.slice/a-b-c.slice`, and
 * `-.slice` is the root.
 * @throws {BerthError} invalidArgument
 * Source: systemd.slice(5).
 */
export function expandSlice(slice: string): string {
  if (slice === '-.slice') return '/'
  const name = /^([\w:.@\\-]+)\.slice$/.exec(slice)?.[1]
  const components = name?.split('-') ?? []
  if (name === undefined || components.includes('') || name.includes('..')) {
    throw new BerthError('invalidArgument', `Cannot use slice "${slice}": malformed, expected a name such as a-b.slice`)
  }
  return components.map((_, i) => `/${components.slice(0, i + 1).join('-')}.slice`).join('')
}
