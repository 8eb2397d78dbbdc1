/** The shape of `linux.resources`, which `update --resources` reads alone too. Source: runtime-spec › Control groups. */

import {
  flag,
  int64,
  integer,
  later,
  list,
  map,
  matching,
  object,
  type Parsed,
  parseJson,
  required,
  type Shape,
  text,
  uint16,
  uint32,
  uint64,
} from '../lib/json-shape.ts'
import type {
  BlockIoResources,
  CpuResources,
  DeviceCgroupRule,
  HugepageLimit,
  InterfacePriority,
  LinuxResources,
  MemoryResources,
  NetworkResources,
  PidsResources,
  RdmaLimit,
  ThrottleDevice,
  WeightDevice,
} from '../linux/cgroup/resources.ts'

/** int64 by the schema; no Linux has a device number of more than 32 bits, and -1 is any. */
export const deviceNumber: Shape<number> = integer(-1, 0xffff_ffff)

const throttles: Shape<readonly ThrottleDevice[]> = list(
  object<ThrottleDevice>({ major: required(deviceNumber), minor: required(deviceNumber), rate: uint64 }),
)

const blockIo: Shape<BlockIoResources> = later(() =>
  object<BlockIoResources>({
    weight: uint16,
    leafWeight: uint16,
    weightDevice: list(
      object<WeightDevice>({
        major: required(deviceNumber),
        minor: required(deviceNumber),
        weight: uint16,
        leafWeight: uint16,
      }),
    ),
    throttleReadBpsDevice: throttles,
    throttleWriteBpsDevice: throttles,
    throttleReadIOPSDevice: throttles,
    throttleWriteIOPSDevice: throttles,
  }),
)

/** `linux.resources` of config.json. */
export const resourcesShape: Shape<LinuxResources> = object<LinuxResources>({
  unified: map(text),
  devices: list(
    object<DeviceCgroupRule>({
      allow: required(flag),
      type: text,
      major: deviceNumber,
      minor: deviceNumber,
      access: text,
    }),
  ),
  pids: object<PidsResources>({ limit: required(int64) }),
  blockIO: blockIo,
  cpu: object<CpuResources>({
    shares: uint64,
    quota: int64,
    burst: uint64,
    period: uint64,
    realtimeRuntime: int64,
    realtimePeriod: uint64,
    cpus: text,
    mems: text,
    idle: int64,
  }),
  hugepageLimits: list(
    object<HugepageLimit>({ pageSize: required(matching(/^[1-9][0-9]*[KMG]B$/)), limit: required(uint64) }),
  ),
  memory: object<MemoryResources>({
    limit: int64,
    reservation: int64,
    swap: int64,
    kernel: int64,
    kernelTCP: int64,
    swappiness: uint64,
    disableOOMKiller: flag,
    useHierarchy: flag,
    checkBeforeUpdate: flag,
  }),
  network: object<NetworkResources>({
    classID: uint32,
    priorities: list(object<InterfacePriority>({ name: required(text), priority: required(uint32) })),
  }),
  rdma: map(object<RdmaLimit>({ hcaHandles: uint32, hcaObjects: uint32 })),
})

/**
 * Parses a lone resources object, the file of `update --resources`. `name` is what errors call it.
 * @throws {BerthError} invalidArgument, naming the path of what is wrong.
 */
export function parseResources(json: string, name = 'resources.json'): Parsed<LinuxResources> {
  return parseJson(json, name, resourcesShape)
}
