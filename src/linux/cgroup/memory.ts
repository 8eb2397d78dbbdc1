import { ENOENT } from '../../lib/errno.ts'
import type { Int64, MemoryResources } from './resources.ts'
import { type CgroupSetting, invalid, isSet, setting, unsupported } from './setting.ts'

/** How Go callers write "no swappiness" into an unsigned field. */
const UNSET_SWAPPINESS = 18_446_744_073_709_551_615n

const LIMIT_V1 = 'memory.limit_in_bytes'
const SWAP_V1 = 'memory.memsw.limit_in_bytes'

function isUnlimited(value: Int64 | undefined): boolean {
  return value !== undefined && value < 0
}

function checkHierarchy(memory: MemoryResources): void {
  if (memory.useHierarchy === false) {
    throw unsupported('memory.useHierarchy', false, 'the kernel always accounts hierarchically since Linux 5.11')
  }
}

/** The files of cgroup v1's `memory`. `currentLimitBytes` is the limit now in force, none on a cgroup just made. */
export function memorySettingsV1(memory: MemoryResources, currentLimitBytes?: Int64): readonly CgroupSetting[] {
  checkHierarchy(memory)
  const settings = [...limitsV1(memory, currentLimitBytes)]
  if (isSet(memory.reservation)) {
    settings.push(
      setting('memory', 'memory.soft_limit_in_bytes', memory.reservation, 'shrink to this when memory is short'),
    )
  }
  if (memory.disableOOMKiller) {
    settings.push(setting('memory', 'memory.oom_control', '1', 'wait instead of kill when out of memory'))
  }
  const swappiness = memory.swappiness
  if (swappiness !== undefined && swappiness >= 0 && BigInt(swappiness) !== UNSET_SWAPPINESS) {
    if (swappiness > 100) throw invalid('memory.swappiness', swappiness, 'out of range, expected 0 to 100')
    settings.push(setting('memory', 'memory.swappiness', swappiness, 'swap rather than drop caches'))
  }
  return settings
}

function limitsV1(memory: MemoryResources, currentLimitBytes: Int64 | undefined): readonly CgroupSetting[] {
  const limit = isSet(memory.limit) ? memory.limit : undefined
  const swap = isSet(memory.swap) ? memory.swap : undefined
  const limitSetting = limit === undefined ? [] : [setting('memory', LIMIT_V1, limit, 'memory')]
  // Unlimited memory means unlimited swap too, where the kernel accounts swap.
  if (isUnlimited(limit) && swap === undefined) {
    return [setting('memory', SWAP_V1, -1, 'memory and swap, before memory', { tolerate: [ENOENT] }), ...limitSetting]
  }
  const swapSetting = swap === undefined ? [] : [setting('memory', SWAP_V1, swap, 'memory and swap together')]
  // The kernel keeps limit ≤ memsw at every moment: when rising, memsw goes first, when falling, the limit does.
  const rises = isUnlimited(swap) || (currentLimitBytes !== undefined && swap !== undefined && currentLimitBytes < swap)
  return rises ? [...swapSetting, ...limitSetting] : [...limitSetting, ...swapSetting]
}

/**
 * memory.swap of the configuration (memory and swap together) → memory.swap.max (swap alone); undefined: leave it.
 * @throws {BerthError} invalidArgument: a swap limit without or below a memory limit
 */
export function swapMaxV2(memory: MemoryResources): Int64 | 'max' | undefined {
  const { limit, swap } = memory
  if (!isSet(swap)) return isUnlimited(limit) ? 'max' : undefined
  if (swap < 0) return 'max'
  if (isUnlimited(limit)) return swap
  if (!isSet(limit)) throw invalid('memory.swap', swap, 'no memory.limit given, expected both')
  if (swap < limit)
    throw invalid('memory.swap', swap, `below memory.limit ${limit}, expected the sum of memory and swap`)
  return typeof swap === 'bigint' || typeof limit === 'bigint' ? BigInt(swap) - BigInt(limit) : swap - limit
}

/**
 * The files of cgroup v2's `memory`. `oomGroup`: kill the whole cgroup when it runs out of memory, not one process of it.
 * @throws {BerthError} notImplemented for swappiness and disableOOMKiller, which v2 does not have
 */
export function memorySettingsV2(memory: MemoryResources, oomGroup: boolean): readonly CgroupSetting[] {
  checkHierarchy(memory)
  const { swappiness } = memory
  if (swappiness !== undefined && swappiness >= 0 && BigInt(swappiness) !== UNSET_SWAPPINESS) {
    throw unsupported('memory.swappiness', swappiness, 'cgroup v2 has no swappiness per cgroup')
  }
  if (memory.disableOOMKiller) {
    throw unsupported('memory.disableOOMKiller', true, 'cgroup v2 always kills when out of memory')
  }
  const settings: CgroupSetting[] = []
  const swap = swapMaxV2(memory)
  if (swap !== undefined) {
    // A kernel without swap accounting has no such file; unlimited or no swap is then what it does anyway.
    const tolerate = swap === 'max' || BigInt(swap) === 0n ? [ENOENT] : []
    settings.push(setting('memory', 'memory.swap.max', swap, 'swap', { tolerate }))
  }
  const max = (value: Int64) => (value < 0 ? 'max' : value)
  if (isSet(memory.limit)) settings.push(setting('memory', 'memory.max', max(memory.limit), 'memory'))
  if (isSet(memory.reservation)) {
    settings.push(
      setting('memory', 'memory.low', max(memory.reservation), 'memory not reclaimed while others have some'),
    )
  }
  if (oomGroup) {
    const note = 'out of memory ends all of it, not a part'
    settings.push(setting('memory', 'memory.oom.group', '1', note, { tolerate: [ENOENT] }))
  }
  return settings
}
