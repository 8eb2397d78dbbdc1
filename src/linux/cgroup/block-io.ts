import type { BlockIoResources, ThrottleDevice } from './resources.ts'
import { type CgroupSetting, invalid, isSet, setting, unsupported } from './setting.ts'

const MIN_WEIGHT = 10
const MAX_WEIGHT = 1000

/** The four throttles: field of the configuration, file on v1, key in io.max on v2. */
const THROTTLES = [
  ['throttleReadBpsDevice', 'blkio.throttle.read_bps_device', 'rbps', 'bytes read per second'],
  ['throttleWriteBpsDevice', 'blkio.throttle.write_bps_device', 'wbps', 'bytes written per second'],
  ['throttleReadIOPSDevice', 'blkio.throttle.read_iops_device', 'riops', 'reads per second'],
  ['throttleWriteIOPSDevice', 'blkio.throttle.write_iops_device', 'wiops', 'writes per second'],
] as const satisfies readonly (readonly [keyof BlockIoResources, string, string, string])[]

/** blkio weight (10 … 1000) → io.weight (1 … 10000), linearly, as runc does. */
function ioWeightOfBlkioWeight(weight: number): number {
  return 1 + Math.floor(((weight - MIN_WEIGHT) * 9999) / (MAX_WEIGHT - MIN_WEIGHT))
}

function checkWeights(io: BlockIoResources): void {
  const why = 'the kernel has no leaf weights since Linux 5.0'
  if (isSet(io.leafWeight)) throw unsupported('blockIO.leafWeight', io.leafWeight, why)
  checkWeight('blockIO.weight', io.weight)
  for (const device of io.weightDevice ?? []) {
    if (isSet(device.leafWeight)) throw unsupported('blockIO.weightDevice.leafWeight', device.leafWeight, why)
    checkWeight('blockIO.weightDevice.weight', device.weight)
  }
}

function checkWeight(field: string, weight: number | undefined): void {
  if (isSet(weight) && (weight < MIN_WEIGHT || weight > MAX_WEIGHT)) {
    throw invalid(field, weight, `out of range, expected ${MIN_WEIGHT} to ${MAX_WEIGHT}`)
  }
}

function deviceOf({ major, minor }: Pick<ThrottleDevice, 'major' | 'minor'>): string {
  return `${major}:${minor}`
}

/** The files of cgroup v1's `blkio`. Weights are BFQ's, the only scheduler that has them since Linux 5.0. */
export function blockIoSettingsV1(io: BlockIoResources): readonly CgroupSetting[] {
  checkWeights(io)
  const settings: CgroupSetting[] = []
  const weigh = (value: string | number, suffix: string, note: string) => {
    const orElse = { file: `blkio.weight${suffix}`, value: String(value) }
    settings.push(setting('blkio', `blkio.bfq.weight${suffix}`, value, note, { orElse }))
  }
  if (isSet(io.weight)) weigh(io.weight, '', 'share of the disk time')
  for (const device of io.weightDevice ?? []) {
    if (isSet(device.weight)) weigh(`${deviceOf(device)} ${device.weight}`, '_device', 'share of one disk')
  }
  for (const [field, file, , note] of THROTTLES) {
    for (const device of io[field] ?? []) {
      settings.push(setting('blkio', file, `${deviceOf(device)} ${device.rate}`, note))
    }
  }
  return settings
}

/** The files of cgroup v2's `io`: BFQ's weight where that scheduler is there, else the controller's own. */
export function blockIoSettingsV2(io: BlockIoResources): readonly CgroupSetting[] {
  checkWeights(io)
  const settings: CgroupSetting[] = []
  const weigh = (weight: number, device: string, note: string) => {
    const orElse = { file: 'io.weight', value: `${device}${ioWeightOfBlkioWeight(weight)}` }
    settings.push(setting('io', 'io.bfq.weight', `${device}${weight}`, note, { orElse }))
  }
  if (isSet(io.weight)) weigh(io.weight, '', 'share of the disk time')
  for (const device of io.weightDevice ?? []) {
    if (isSet(device.weight)) weigh(device.weight, `${deviceOf(device)} `, 'share of one disk')
  }
  for (const [field, , key, note] of THROTTLES) {
    for (const device of io[field] ?? []) {
      // A rate of 0 lifts the limit on v1; io.max refuses 0 and says "max".
      const rate = isSet(device.rate) ? device.rate : 'max'
      settings.push(setting('io', 'io.max', `${deviceOf(device)} ${key}=${rate}`, note))
    }
  }
  return settings
}
