/** NUMA memory policies. Source: set_mempolicy(2), include/uapi/linux/mempolicy.h. */

import { cpuMask, parseCpuList } from './cpu-set.ts'

export const MPOL_MODE = {
  MPOL_DEFAULT: 0,
  MPOL_PREFERRED: 1,
  MPOL_BIND: 2,
  MPOL_INTERLEAVE: 3,
  MPOL_LOCAL: 4,
  MPOL_PREFERRED_MANY: 5,
  MPOL_WEIGHTED_INTERLEAVE: 6,
} as const

export type MemoryPolicyMode = keyof typeof MPOL_MODE

export const MPOL_FLAG = {
  MPOL_F_STATIC_NODES: 1 << 15,
  MPOL_F_RELATIVE_NODES: 1 << 14,
  MPOL_F_NUMA_BALANCING: 1 << 13,
} as const

export type MemoryPolicyFlag = keyof typeof MPOL_FLAG

/** How many nodes a mode wants; the others take any number, MPOL_PREFERRED none too. */
export const MODES_WITHOUT_NODES: readonly MemoryPolicyMode[] = ['MPOL_DEFAULT', 'MPOL_LOCAL']
export const MODES_WITH_NODES: readonly MemoryPolicyMode[] = [
  'MPOL_BIND',
  'MPOL_INTERLEAVE',
  'MPOL_WEIGHTED_INTERLEAVE',
  'MPOL_PREFERRED_MANY',
]

/** The three arguments of set_mempolicy(2). */
export interface MemoryPolicyArguments {
  readonly mode: number
  readonly nodes: Uint8Array
  /** The bits in `nodes`. The `maxnode` of the call is one more, since the kernel takes one off; berth-init adds it. */
  readonly nodeCount: number
}

/**
 * Mode, flags and a node list such as `0-1,3` as set_mempolicy(2) takes them.
 * @throws {BerthError} invalidArgument for a malformed list.
 */
export function memoryPolicyArguments(
  mode: MemoryPolicyMode,
  flags: readonly MemoryPolicyFlag[],
  nodeList: string,
): MemoryPolicyArguments {
  let value: number = MPOL_MODE[mode]
  for (const flag of flags) value |= MPOL_FLAG[flag]
  const nodes = cpuMask(parseCpuList(nodeList, 'memory node'))
  return { mode: value, nodes, nodeCount: nodes.length * 8 }
}
