import { BerthError } from '../../lib/error.ts'

/** The kernel's largest CONFIG_NR_CPUS and MAX_NUMNODES: what a list may name at most. */
const MAX_BIT = 8191

/**
 * Reads a list of CPUs or memory nodes such as `0-3,7`; blanks around a range and empty ranges are allowed, as in the kernel.
 * Gives the numbers, ascending and each once.
 * @throws {BerthError} invalidArgument
 * Source: cpuset(7) › FORMATS › List format.
 */
export function parseCpuList(text: string): readonly number[] {
  const found = new Set<number>()
  for (const part of text.split(',')) {
    const range = part.trim()
    if (range === '') continue
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(range)
    const first = Number(match?.[1])
    const last = Number(match?.[2] ?? match?.[1])
    if (match === null || first > last || last > MAX_BIT) {
      throw new BerthError(
        'invalidArgument',
        `Cannot use list "${text}": malformed range "${range}", expected N or N-M`,
      )
    }
    for (let bit = first; bit <= last; bit++) found.add(bit)
  }
  return [...found].sort((a, b) => a - b)
}

/** Writes numbers as the shortest list: the inverse of {@link parseCpuList}. */
export function formatCpuList(numbers: readonly number[]): string {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b)
  const ranges: string[] = []
  for (let i = 0; i < sorted.length; ) {
    let end = i
    while (end + 1 < sorted.length && sorted[end + 1] === (sorted[end] ?? 0) + 1) end++
    ranges.push(end === i ? `${sorted[i]}` : `${sorted[i]}-${sorted[end]}`)
    i = end + 1
  }
  return ranges.join(',')
}

/** A list as a bit mask, bit 0 of byte 0 first: what systemd's AllowedCPUs takes and what sched_setaffinity(2) takes. */
export function cpuListMask(text: string): Uint8Array {
  const numbers = parseCpuList(text)
  const mask = new Uint8Array(Math.floor((numbers.at(-1) ?? 0) / 8) + 1)
  for (const bit of numbers) mask[bit >> 3] = (mask[bit >> 3] ?? 0) | (1 << (bit & 7))
  return mask
}
