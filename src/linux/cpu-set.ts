/** Lists of CPUs or memory nodes such as `0-3,7`, and bit masks. Source: cpuset(7) › List format, sched_setaffinity(2). */

import { BerthError } from '../lib/error.ts'

/** The most CPUs any Linux is built for (CONFIG_NR_CPUS on x86-64). */
const CPU_LIMIT = 8192

/** What a list is of; it words errors. */
export type ListedKind = 'CPU' | 'memory node'

/**
 * Parses a list into its numbers, ascending, each once. Blanks around items and empty items are allowed, as in the
 * kernel's own parser; the list of nothing is the empty array.
 * @throws {BerthError} invalidArgument for other characters, a range that runs backwards or a number from 8192 on.
 */
export function parseCpuList(text: string, kind: ListedKind = 'CPU'): readonly number[] {
  const numbers = new Set<number>()
  for (const item of text.split(',')) {
    if (item.trim() === '') continue
    const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(item.trim())
    if (match === null) throw listError(text, kind, `${JSON.stringify(item)} is no number and no range`)
    const first = Number(match[1])
    const last = match[2] === undefined ? first : Number(match[2])
    if (last < first) throw listError(text, kind, `range ${first}-${last} runs backwards`)
    if (last >= CPU_LIMIT) throw listError(text, kind, `${last} is too large, expected less than ${CPU_LIMIT}`)
    for (let number = first; number <= last; number += 1) numbers.add(number)
  }
  return [...numbers].sort((a, b) => a - b)
}

/** The mask as system calls take it: bit n of byte n/8, as many bytes as whole 64-bit words are needed for. */
export function cpuMask(numbers: Iterable<number>): Uint8Array {
  const list = [...numbers]
  const largest = list.reduce((most, number) => Math.max(most, number), -1)
  const mask = new Uint8Array(Math.ceil((largest + 1) / 64) * 8)
  for (const number of list) mask[number >> 3] = (mask[number >> 3] ?? 0) | (1 << (number & 7))
  return mask
}

function listError(text: string, kind: ListedKind, state: string): BerthError {
  return new BerthError('invalidArgument', `Cannot parse ${kind} list ${JSON.stringify(text)}: ${state}`)
}
