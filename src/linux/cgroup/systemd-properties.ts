import { BerthError } from '../../lib/error.ts'
import { cpuMask, parseCpuList } from '../cpu-set.ts'
import { cpuWeightOfShares, DEFAULT_CPU_PERIOD_MICROSECONDS } from './cpu.ts'
import { accessLetters, type DeviceException, type DevicePolicy } from './device-rules.ts'
import { swapMaxV2 } from './memory.ts'
import type { Int64, LinuxResources } from './resources.ts'
import { isSet } from './setting.ts'

/** A D-Bus value with its signature. 64-bit numbers may be bigints, `ay` is bytes. */
export interface DbusValue {
  readonly signature: string
  readonly value: unknown
}

/** A property of a unit: `(sv)`. */
export type UnitProperty = readonly [name: string, value: DbusValue]

const INFINITY = 18_446_744_073_709_551_615n

function property(name: string, signature: string, value: unknown): UnitProperty {
  return [name, { signature, value }]
}

function bytes(value: Int64): bigint {
  return value < 0 ? INFINITY : BigInt(value)
}

/**
 * What systemd can be told of the resources; it writes it into the unit's cgroup and keeps it over a daemon-reload.
 * All settings are written into the cgroup as well, so what systemd has no word for is not lost.
 * Source: systemd.resource-control(5), org.freedesktop.systemd1(5).
 */
export function resourceProperties(resources: LinuxResources, version: 1 | 2): readonly UnitProperty[] {
  const { cpu = {}, memory = {}, pids } = resources
  const properties: UnitProperty[] = []
  if (version === 2) properties.push(...memoryPropertiesV2(memory))
  else if (isSet(memory.limit)) properties.push(property('MemoryLimit', 't', bytes(memory.limit)))
  if (version === 2 && cpu.idle !== undefined && BigInt(cpu.idle) === 1n) {
    // systemd ≥ 252 has CPUWeight=idle, which is 0 on the bus.
    properties.push(property('CPUWeight', 't', 0n))
  } else if (isSet(cpu.shares)) {
    const [name, value] = version === 2 ? ['CPUWeight', cpuWeightOfShares(cpu.shares)] : ['CPUShares', cpu.shares]
    properties.push(property(String(name), 't', BigInt(value ?? 0)))
  }
  properties.push(...cpuBandwidth(cpu.quota, cpu.period))
  if (version === 1 && isSet(resources.blockIO?.weight)) {
    properties.push(property('BlockIOWeight', 't', BigInt(resources.blockIO.weight)))
  }
  if (pids?.limit !== undefined) {
    properties.push(property('TasksMax', 't', isSet(pids.limit) ? bytes(pids.limit) : 1n))
  }
  if (cpu.cpus) properties.push(property('AllowedCPUs', 'ay', cpuMask(parseCpuList(cpu.cpus))))
  if (cpu.mems) properties.push(property('AllowedMemoryNodes', 'ay', cpuMask(parseCpuList(cpu.mems, 'memory node'))))
  return properties
}

function memoryPropertiesV2(memory: NonNullable<LinuxResources['memory']>): readonly UnitProperty[] {
  const properties: UnitProperty[] = []
  if (isSet(memory.limit)) properties.push(property('MemoryMax', 't', bytes(memory.limit)))
  if (isSet(memory.reservation)) properties.push(property('MemoryLow', 't', bytes(memory.reservation)))
  const swap = swapMaxV2(memory)
  if (swap !== undefined) properties.push(property('MemorySwapMax', 't', swap === 'max' ? INFINITY : bytes(swap)))
  return properties
}

function cpuBandwidth(quota: Int64 | undefined, period: Int64 | undefined): readonly UnitProperty[] {
  const properties: UnitProperty[] = []
  if (isSet(period)) properties.push(property('CPUQuotaPeriodUSec', 't', BigInt(period)))
  if (!isSet(quota) && !isSet(period)) return properties
  let perSecond = INFINITY
  if (isSet(quota) && quota > 0) {
    const length = isSet(period) ? BigInt(period) : BigInt(DEFAULT_CPU_PERIOD_MICROSECONDS)
    perSecond = (BigInt(quota) * 1_000_000n) / length
    // systemd keeps whole percents; rounding up leaves room for the exact quota, which is written after.
    perSecond = ((perSecond + 9_999n) / 10_000n) * 10_000n
  }
  return [...properties, property('CPUQuotaPerSecUSec', 't', perSecond)]
}

/**
 * The device policy for systemd. It knows only allow lists by path, so what it can't say (a deny list, `*:N`) is left to
 * the cgroup's own filter, and systemd is told to allow what it must not refuse.
 */
export function deviceProperties(policy: DevicePolicy): readonly UnitProperty[] {
  const exact = policy.exceptions.every(each => each.major !== null || each.minor === null)
  const clear = property('DeviceAllow', 'a(ss)', [])
  if (policy.allowByDefault || !exact) return [clear, property('DevicePolicy', 's', 'auto')]
  const rows = policy.exceptions.map(each => [devicePath(each), accessLetters(each.access)])
  return [clear, property('DevicePolicy', 's', 'strict'), property('DeviceAllow', 'a(ss)', rows)]
}

function devicePath({ type, major, minor }: DeviceException): string {
  const kind = type === 'b' ? 'block' : 'char'
  if (major === null) return `${kind}-*`
  return minor === null ? `${kind}-${major}` : `/dev/${kind}/${major}:${minor}`
}

/**
 * Properties a configuration may set by `org.systemd.property.<name>`: how long the unit may run and how it is called, all of
 * them without a way to run something or to reach outside the unit. Anything else is refused (CVE-2024-3154: an image's
 * annotation `org.systemd.property.SuccessAction` shut the host down).
 */
const ANNOTATION_PROPERTIES: Readonly<Record<string, 's' | 't' | 'b'>> = {
  CollectMode: 's',
  Description: 's',
  OOMPolicy: 's',
  RuntimeMaxUSec: 't',
  TimeoutStopUSec: 't',
}

const PREFIX = 'org.systemd.property.'

/**
 * The unit properties among the annotations. Values are written as D-Bus text: `'text'`, `true`, `uint64 5`, `5`; a name that
 * ends in `Sec` is in seconds.
 * @throws {BerthError} forbidden for a property that is not on the list, invalidArgument for a malformed value
 */
export function annotationProperties(annotations: Readonly<Record<string, string>>): readonly UnitProperty[] {
  return Object.entries(annotations)
    .filter(([key]) => key.startsWith(PREFIX))
    .map(([key, text]) => {
      const given = key.slice(PREFIX.length)
      const inSeconds = /[a-z]Sec$/.test(given)
      const name = inSeconds && !given.endsWith('USec') ? `${given.slice(0, -3)}USec` : given
      const signature = Object.hasOwn(ANNOTATION_PROPERTIES, name) ? ANNOTATION_PROPERTIES[name] : undefined
      if (signature === undefined) {
        const list = Object.keys(ANNOTATION_PROPERTIES).join(', ')
        throw new BerthError(
          'forbidden',
          `Cannot use annotation "${key}": not a property that may be set, expected ${list}`,
        )
      }
      return property(name, signature, parseValue(key, text, signature, inSeconds && name !== given))
    })
}

function parseValue(key: string, text: string, signature: string, inSeconds: boolean): unknown {
  const value = text.trim()
  const quoted = /^'([^'\\]*)'$|^"([^"\\]*)"$/.exec(value)
  if (signature === 's' && quoted !== null) return quoted[1] ?? quoted[2] ?? ''
  const digits = /^(?:(?:byte|u?int(?:16|32|64)) )?(\d{1,19})$/.exec(value)?.[1]
  if (signature === 't' && digits !== undefined) return inSeconds ? BigInt(digits) * 1_000_000n : BigInt(digits)
  if (signature === 'b' && (value === 'true' || value === 'false')) return value === 'true'
  throw new BerthError(
    'invalidArgument',
    `Cannot use annotation "${key}": malformed value ${value}, expected D-Bus text of type ${signature}`,
  )
}
