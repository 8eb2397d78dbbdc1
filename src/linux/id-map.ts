/** Id mappings of user namespaces and idmapped mounts. Source: user_namespaces(7), runtime-spec › User namespace mappings. */

import { BerthError } from '../lib/error.ts'

/** `size` ids: those from `containerID` on (inside) are those from `hostID` on (outside). All are 32-bit. */
export interface IdMapping {
  readonly containerID: number
  readonly hostID: number
  readonly size: number
}

/** The kernel takes at most this many lines (since Linux 4.15). */
const MAX_ID_MAPPINGS = 340

/** One id past the last: 4294967295 (-1) is never an id. */
const ID_LIMIT = 0xffff_ffff

/** The text for /proc/PID/uid_map or gid_map: a line per mapping. */
export function formatIdMap(mappings: readonly IdMapping[]): string {
  return mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join('')
}

/**
 * Parses /proc/PID/uid_map or gid_map.
 * @throws {BerthError} invalidArgument when a line has not three numbers.
 */
export function parseIdMap(text: string): readonly IdMapping[] {
  const mappings: IdMapping[] = []
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s*$/.exec(line)
    if (match === null) {
      throw new BerthError(
        'invalidArgument',
        `Cannot parse id map line ${JSON.stringify(line)}: expected three numbers`,
      )
    }
    mappings.push({ containerID: Number(match[1]), hostID: Number(match[2]), size: Number(match[3]) })
  }
  return mappings
}

/** The id outside for one inside; undefined when it is not mapped. */
export function mapToHost(mappings: readonly IdMapping[], containerID: number): number | undefined {
  const mapping = mappings.find(each => containerID >= each.containerID && containerID < each.containerID + each.size)
  return mapping === undefined ? undefined : mapping.hostID + (containerID - mapping.containerID)
}

/** Whether an id inside has one outside. */
export function idIsMapped(mappings: readonly IdMapping[], containerID: number): boolean {
  return mapToHost(mappings, containerID) !== undefined
}

/** What is wrong with a list of mappings, in the words of an error's state; undefined when the kernel would take it. */
export function idMapProblem(mappings: readonly IdMapping[]): string | undefined {
  if (mappings.length > MAX_ID_MAPPINGS) {
    return `${mappings.length} mappings, expected at most ${MAX_ID_MAPPINGS}`
  }
  for (const mapping of mappings) {
    const { containerID, hostID, size } = mapping
    if (size === 0) return `mapping ${describe(mapping)} is empty, expected a size of at least 1`
    if (containerID + size > ID_LIMIT || hostID + size > ID_LIMIT) {
      return `mapping ${describe(mapping)} goes beyond id ${ID_LIMIT - 1}`
    }
  }
  return overlapProblem(mappings, 'containerID') ?? overlapProblem(mappings, 'hostID')
}

function overlapProblem(mappings: readonly IdMapping[], side: 'containerID' | 'hostID'): string | undefined {
  const sorted = [...mappings].sort((a, b) => a[side] - b[side])
  for (const [index, mapping] of sorted.entries()) {
    const next = sorted[index + 1]
    if (next !== undefined && mapping[side] + mapping.size > next[side]) {
      return `mappings ${describe(mapping)} and ${describe(next)} overlap in ${side}`
    }
  }
  return undefined
}

function describe({ containerID, hostID, size }: IdMapping): string {
  return `${containerID}:${hostID}:${size}`
}
