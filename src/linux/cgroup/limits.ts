import { ENOENT } from '../../lib/errno.ts'
import type { HugepageLimit, Int64, NetworkResources, RdmaLimit } from './resources.ts'
import { type CgroupSetting, invalid, isSet, setting, unsupported } from './setting.ts'

/** `pids.max`, the same on both versions. A limit of 0 becomes 1, as systemd and runc have it; a negative one lifts it. */
export function pidsSettings(limit: Int64 | undefined): readonly CgroupSetting[] {
  if (limit === undefined) return []
  const value = limit < 0 ? 'max' : isSet(limit) ? limit : 1
  return [setting('pids', 'pids.max', value, 'processes and threads')]
}

/** Limits on huge pages in use and, where the kernel has them (5.7), on reserved ones. */
export function hugetlbSettings(limits: readonly HugepageLimit[], version: 1 | 2): readonly CgroupSetting[] {
  const suffix = version === 1 ? 'limit_in_bytes' : 'max'
  return limits.flatMap(({ pageSize, limit }) => {
    if (!/^[1-9][0-9]*[KMG]B$/.test(pageSize)) {
      throw invalid('hugepageLimits.pageSize', pageSize, 'malformed, expected a size such as 2MB')
    }
    return [
      setting('hugetlb', `hugetlb.${pageSize}.${suffix}`, limit, `huge pages of ${pageSize} in use`),
      setting('hugetlb', `hugetlb.${pageSize}.rsvd.${suffix}`, limit, `huge pages of ${pageSize} reserved`, {
        tolerate: [ENOENT],
      }),
    ]
  })
}

/** `rdma.max`, one write per device, the same on both versions. */
export function rdmaSettings(limits: Readonly<Record<string, RdmaLimit>>): readonly CgroupSetting[] {
  return Object.entries(limits).map(([device, { hcaHandles, hcaObjects }]) => {
    if (!/^[\w.-]+$/.test(device)) throw invalid('rdma', device, 'malformed device name')
    const words = [device]
    if (hcaHandles !== undefined) words.push(`hca_handle=${hcaHandles}`)
    if (hcaObjects !== undefined) words.push(`hca_object=${hcaObjects}`)
    return setting('rdma', 'rdma.max', words.join(' '), `resources of the RDMA device ${device}`)
  })
}

/** cgroup v1's `net_cls` and `net_prio`. */
export function networkSettingsV1(network: NetworkResources): readonly CgroupSetting[] {
  const settings: CgroupSetting[] = []
  if (isSet(network.classID)) {
    settings.push(setting('net_cls', 'net_cls.classid', network.classID, 'traffic class of its packets'))
  }
  for (const { name, priority } of network.priorities ?? []) {
    if (!/^[^\s/]{1,15}$/.test(name)) throw invalid('network.priorities.name', name, 'malformed interface name')
    settings.push(
      setting('net_prio', 'net_prio.ifpriomap', `${name} ${priority}`, `priority of its packets on ${name}`),
    )
  }
  return settings
}

/** @throws {BerthError} notImplemented when something is asked for: cgroup v2 has neither controller */
export function refuseNetworkV2(network: NetworkResources): void {
  if (isSet(network.classID)) {
    throw unsupported('network.classID', network.classID, 'cgroup v2 has no net_cls controller')
  }
  const first = network.priorities?.[0]
  if (first !== undefined) {
    throw unsupported('network.priorities', first.name, 'cgroup v2 has no net_prio controller')
  }
}
