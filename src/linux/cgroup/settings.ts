import { blockIoSettingsV1, blockIoSettingsV2 } from './block-io.ts'
import { cpuSettingsV1, cpuSettingsV2, cpusetSettings } from './cpu.ts'
import { hugetlbSettings, networkSettingsV1, pidsSettings, rdmaSettings, refuseNetworkV2 } from './limits.ts'
import { memorySettingsV1, memorySettingsV2 } from './memory.ts'
import type { Int64, LinuxResources } from './resources.ts'
import { type CgroupSetting, unsupported } from './setting.ts'
import { unifiedSettings } from './unified.ts'

/** What v1 needs to know besides the resources. */
export interface V1Options {
  /** memory.limit_in_bytes as it stands, when the cgroup is not new: decides the order of limit and swap. */
  readonly currentMemoryLimitBytes?: Int64 | undefined
}

/** What v2 is told besides the resources. */
export interface V2Options {
  /** Kill the whole container when it is out of memory; `unified["memory.oom.group"]` overrides it. */
  readonly oomGroup?: boolean | undefined
}

/**
 * What cgroup v1 has to be told, in order; devices apart (`deviceLines`).
 * @throws {BerthError} notImplemented for what v1 does not have, `unified` among it; invalidArgument for bad values
 */
export function v1Settings(resources: LinuxResources, options: V1Options = {}): readonly CgroupSetting[] {
  const unified = Object.keys(resources.unified ?? {})[0]
  if (unified !== undefined) throw unsupported('unified', unified, 'the host has cgroup v1, expected cgroup v2')
  return [
    ...cpusetSettings(resources.cpu ?? {}),
    ...cpuSettingsV1(resources.cpu ?? {}),
    ...memorySettingsV1(resources.memory ?? {}, options.currentMemoryLimitBytes),
    ...pidsSettings(resources.pids?.limit),
    ...blockIoSettingsV1(resources.blockIO ?? {}),
    ...hugetlbSettings(resources.hugepageLimits ?? [], 1),
    ...rdmaSettings(resources.rdma ?? {}),
    ...networkSettingsV1(resources.network ?? {}),
  ]
}

/**
 * What cgroup v2 has to be told, in order; devices apart (`deviceProgram`). `unified` comes last, so it has the last word.
 * @throws {BerthError} notImplemented for what v2 does not have; invalidArgument for bad values
 */
export function v2Settings(resources: LinuxResources, options: V2Options = {}): readonly CgroupSetting[] {
  const { unified = {} } = resources
  const oomGroup = (options.oomGroup ?? false) && unified['memory.oom.group'] === undefined
  refuseNetworkV2(resources.network ?? {})
  return [
    ...cpusetSettings(resources.cpu ?? {}),
    ...cpuSettingsV2(resources.cpu ?? {}),
    ...memorySettingsV2(resources.memory ?? {}, oomGroup),
    ...pidsSettings(resources.pids?.limit),
    ...blockIoSettingsV2(resources.blockIO ?? {}),
    ...hugetlbSettings(resources.hugepageLimits ?? [], 2),
    ...rdmaSettings(resources.rdma ?? {}),
    ...unifiedSettings(unified),
  ]
}

/** The settings of a hybrid host, where controllers lie on v1 except those in `unifiedControllers`. */
export function hybridSettings(
  resources: LinuxResources,
  unifiedControllers: ReadonlySet<string>,
  options: V1Options & V2Options = {},
): readonly CgroupSetting[] {
  const v1: Record<string, unknown> = {}
  const v2: Record<string, unknown> = {}
  for (const [field, controller] of FIELD_CONTROLLERS) {
    if (resources[field] === undefined) continue
    const side = unifiedControllers.has(controller) ? v2 : v1
    side[field] = resources[field]
  }
  const oomGroup = unifiedControllers.has('memory') && options.oomGroup
  const onV2 = Object.keys(v2).length === 0 && !oomGroup ? [] : v2Settings(v2, { oomGroup })
  return [...v1Settings(v1, options), ...onV2]
}

/** Which controller decides on which side of a hybrid host a field belongs; `cpuset` follows `cpu` there in practice. */
const FIELD_CONTROLLERS = [
  ['cpu', 'cpu'],
  ['memory', 'memory'],
  ['pids', 'pids'],
  ['blockIO', 'io'],
  ['hugepageLimits', 'hugetlb'],
  ['rdma', 'rdma'],
  ['network', 'net_cls'],
  ['unified', 'unified'],
] as const satisfies readonly (readonly [keyof LinuxResources, string])[]
