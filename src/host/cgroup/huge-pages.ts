import { readdirSync } from 'node:fs'
import { isGone } from './cgroup-file.ts'

/** The huge page sizes of the machine as cgroup file names have them: `2MB`, `1GB`. */
export function hugePageSizes(): readonly string[] {
  try {
    return readdirSync('/sys/kernel/mm/hugepages')
      .map(name => /^hugepages-(\d+)kB$/.exec(name)?.[1])
      .filter(size => size !== undefined)
      .map(size => formatPageSize(Number(size)))
  } catch (error) {
    if (isGone(error)) return []
    throw error
  }
}

function formatPageSize(kilobytes: number): string {
  if (kilobytes >= 1 << 20) return `${kilobytes >> 20}GB`
  return kilobytes >= 1 << 10 ? `${kilobytes >> 10}MB` : `${kilobytes}KB`
}
