/** The shape of the `linux` section of config.json. Source: runtime-spec, schema/config-linux.json and defs-linux.json. */

import {
  flag,
  int64,
  integer,
  keyOf,
  list,
  map,
  matching,
  object,
  oneOf,
  pathOf,
  required,
  type Shape,
  text,
  texts,
  uint32,
  uint64,
} from '../lib/json-shape.ts'
import type { IdMapping } from '../linux/id-map.ts'
import { MPOL_FLAG, MPOL_MODE } from '../linux/memory-policy.ts'
import { NAMESPACES } from '../linux/namespaces.ts'
import { PERSONALITY_DOMAIN } from '../linux/personality.ts'
import {
  SECCOMP_ACTIONS,
  SECCOMP_FLAGS,
  SECCOMP_OPERATORS,
  type SeccompArgument,
  type SeccompSyscall,
} from '../linux/seccomp/config.ts'
import {
  type Device,
  type IntelRdt,
  type Linux,
  type MemoryPolicy,
  type Namespace,
  type NetDevice,
  type Personality,
  ROOTFS_PROPAGATIONS,
  SECCOMP_ARCHITECTURES,
  type Seccomp,
  type TimeOffset,
  type TimeOffsets,
} from './runtime-spec-linux.ts'
import { deviceNumber, resourcesShape } from './runtime-spec-resources-parser.ts'

/** A list of id mappings, of the user namespace or of a mount. */
export const idMappings: Shape<readonly IdMapping[]> = list(
  object<IdMapping>({ containerID: required(uint32), hostID: required(uint32), size: required(uint32) }),
)

const modeBits = integer(0, 0o177777)

/** The schema ends at 0777. Engines that copy a host device's mode send its type bits too, which runc drops as well. */
const fileMode: Shape<number> = (value, place) => {
  const mode = modeBits(value, place)
  if (mode > 0o777) {
    place.document.warnings.push(`${place.document.name}: bits of ${pathOf(place)} above 0777 are ignored`)
  }
  return mode & 0o777
}

const device: Shape<Device> = object<Device>({
  type: required(oneOf(['c', 'b', 'u', 'p'])),
  path: required(text),
  major: deviceNumber,
  minor: deviceNumber,
  fileMode,
  uid: uint32,
  gid: uint32,
})

/** `linux.seccomp`, also the form of a seccomp profile file. */
const seccompShape: Shape<Seccomp> = object<Seccomp>({
  defaultAction: required(oneOf(SECCOMP_ACTIONS)),
  defaultErrnoRet: uint32,
  architectures: list(oneOf(SECCOMP_ARCHITECTURES)),
  flags: list(oneOf(SECCOMP_FLAGS)),
  listenerPath: text,
  listenerMetadata: text,
  syscalls: list(
    object<SeccompSyscall>({
      names: required(list(text, 1)),
      action: required(oneOf(SECCOMP_ACTIONS)),
      errnoRet: uint32,
      args: list(
        object<SeccompArgument>({
          index: required(uint32),
          value: required(uint64),
          valueTwo: uint64,
          op: required(oneOf(SECCOMP_OPERATORS)),
        }),
      ),
    }),
  ),
})

const timeOffset: Shape<TimeOffset> = object<TimeOffset>({ secs: int64, nanosecs: uint32 })

/** `linux` of config.json. */
export const linuxShape: Shape<Linux> = object<Linux>({
  devices: list(device),
  netDevices: map(object<NetDevice>({ name: text })),
  uidMappings: idMappings,
  gidMappings: idMappings,
  namespaces: list(
    object<Namespace>({ type: required(oneOf(NAMESPACES.map(namespace => namespace.type))), path: text }),
  ),
  resources: resourcesShape,
  cgroupsPath: text,
  rootfsPropagation: oneOf(ROOTFS_PROPAGATIONS),
  seccomp: seccompShape,
  sysctl: map(text),
  maskedPaths: texts,
  readonlyPaths: texts,
  mountLabel: text,
  intelRdt: object<IntelRdt>({
    closID: text,
    schemata: texts,
    l3CacheSchema: text,
    memBwSchema: matching(/^MB:[^\n]*$/),
    enableMonitoring: flag,
  }),
  memoryPolicy: object<MemoryPolicy>({
    mode: keyOf(MPOL_MODE),
    nodes: text,
    flags: list(keyOf(MPOL_FLAG)),
  }),
  personality: object<Personality>({ domain: keyOf(PERSONALITY_DOMAIN), flags: texts }),
  timeOffsets: object<TimeOffsets>({ boottime: timeOffset, monotonic: timeOffset }),
})
