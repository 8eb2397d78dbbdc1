/**
 * Readers of the small text formats of cgroup files. Numbers are numbers as long as they are exact, else bigints.
 * Source: kernel admin-guide/cgroup-v2.rst › Interface Files › Format; accounting/psi.rst.
 */

/** A counter of the kernel: 64 bits, unsigned. */
export type Count = number | bigint

/** What "max" means as a number: no limit. */
export const UNLIMITED = 18_446_744_073_709_551_615n

/** Reads a decimal number or `max`; 0 for anything else, as an empty file. */
export function parseCount(text: string): Count {
  const word = text.trim()
  if (word === 'max') return UNLIMITED
  if (!/^-?\d+$/.test(word)) return 0
  const value = BigInt(word)
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
}

/** Sum of two counts. */
export function addCounts(a: Count, b: Count): Count {
  return parseCount(String(BigInt(a) + BigInt(b)))
}

/** `KEY VALUE` lines: memory.stat, cpu.stat, memory.events, cgroup.events, v1's oom_control. */
export function parseFlatKeyed(text: string): Readonly<Record<string, Count>> {
  const found: Record<string, Count> = {}
  for (const line of text.split('\n')) {
    const blank = line.indexOf(' ')
    if (blank > 0) found[line.slice(0, blank)] = parseCount(line.slice(blank + 1))
  }
  return found
}

/** `KEY K1=V1 K2=V2` lines: io.stat, io.max, rdma.max. */
export function parseNestedKeyed(text: string): ReadonlyMap<string, Readonly<Record<string, Count>>> {
  const found = new Map<string, Record<string, Count>>()
  for (const line of text.split('\n')) {
    const [key, ...pairs] = line.split(' ')
    if (!key) continue
    const values: Record<string, Count> = {}
    for (const pair of pairs) {
      const equals = pair.indexOf('=')
      if (equals > 0) values[pair.slice(0, equals)] = parseCount(pair.slice(equals + 1))
    }
    found.set(key, values)
  }
  return found
}

/** One entry of a blkio file as runc's `events --stats` prints it. */
export interface BlkioEntry {
  readonly major?: number
  readonly minor?: number
  readonly op?: string
  readonly value?: Count
}

/** cgroup v1's blkio files: `MAJ:MIN OP VALUE` and `MAJ:MIN VALUE` lines; totals over all devices are left out. */
export function parseBlkio(text: string): readonly BlkioEntry[] {
  const entries: BlkioEntry[] = []
  for (const line of text.split('\n')) {
    const match = /^(\d+):(\d+) (?:(\w+) )?(\d+)$/.exec(line)
    if (match === null) continue
    const op = match[3] === undefined ? {} : { op: match[3] }
    entries.push({ major: Number(match[1]), minor: Number(match[2]), ...op, value: parseCount(match[4] ?? '') })
  }
  return entries
}

/** One line of a pressure file: averages in percent, total in microseconds. */
export interface PressureLine {
  readonly avg10: number
  readonly avg60: number
  readonly avg300: number
  readonly total: Count
}

/** Pressure stall information of one resource. */
export interface Pressure {
  readonly some?: PressureLine
  readonly full?: PressureLine
}

/** cpu.pressure, memory.pressure, io.pressure. */
export function parsePressure(text: string): Pressure {
  const found: { some?: PressureLine; full?: PressureLine } = {}
  for (const line of text.split('\n')) {
    const match = /^(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)/.exec(line)
    if (match === null) continue
    const row = {
      avg10: Number(match[2]),
      avg60: Number(match[3]),
      avg300: Number(match[4]),
      total: parseCount(match[5] ?? ''),
    }
    if (match[1] === 'some') found.some = row
    else found.full = row
  }
  return found
}
