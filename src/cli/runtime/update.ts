import { existsSync, readFileSync } from 'node:fs'
import { parseByteSize } from '../../lib/byte-size.ts'
import { BerthError, messageOf } from '../../lib/error.ts'
import type { CpuResources, LinuxResources, MemoryResources } from '../../linux/cgroup/resources.ts'
import { parseResources } from '../../oci/runtime-spec-resources-parser.ts'
import { updateContainer } from '../../runtime/update.ts'
import { type Grammar, type Option, type ParsedOptions, UsageError } from '../options.ts'
import { idOperand, type RuntimeCall, type RuntimeVerb, readStdin } from './verb.ts'

/** Options with a whole number, and the field of `linux.resources.cpu` that each is. */
const CPU_NUMBERS = [
  ['cpu-period', 'period', 'MICROSECONDS', 'length of a bandwidth period'],
  ['cpu-quota', 'quota', 'MICROSECONDS', 'CPU time in each period; -1: no limit'],
  ['cpu-burst', 'burst', 'MICROSECONDS', 'unused CPU time that may be kept'],
  ['cpu-share', 'shares', 'N', 'share of the CPU time when it is short, 2 to 262144'],
  ['cpu-rt-period', 'realtimePeriod', 'MICROSECONDS', 'length of a real-time period'],
  ['cpu-rt-runtime', 'realtimeRuntime', 'MICROSECONDS', 'real-time CPU time in each period'],
  ['cpu-idle', 'idle', '0|1', '1: run only when nothing else wants to'],
] as const satisfies readonly (readonly [string, keyof CpuResources, string, string])[]

const CPU_LISTS = [
  ['cpuset-cpus', 'cpus', 'LIST', 'CPUs it may run on'],
  ['cpuset-mems', 'mems', 'LIST', 'memory nodes it may allocate from'],
] as const satisfies readonly (readonly [string, keyof CpuResources, string, string])[]

const MEMORY_SIZES = [
  ['memory', 'limit', 'SIZE', 'limit on memory; -1: none'],
  ['memory-reservation', 'reservation', 'SIZE', 'shrink to this when memory is short'],
  ['memory-swap', 'swap', 'SIZE', 'limit on memory and swap together; -1: none'],
] as const satisfies readonly (readonly [string, keyof MemoryResources, string, string])[]

const RDT = ['l3-cache-schema', 'mem-bw-schema'] as const

const VALUES: readonly Option[] = [
  ...[...CPU_NUMBERS, ...CPU_LISTS, ...MEMORY_SIZES].map(
    ([name, , value, help]): Option => ({ name, kind: 'value', value, help }),
  ),
  { name: 'blkio-weight', kind: 'value', value: 'N', help: 'share of the disk time, 10 to 1000' },
  { name: 'pids-limit', kind: 'value', value: 'N', help: 'limit on processes and threads; -1: none' },
  ...RDT.map((name): Option => ({ name, kind: 'value', value: 'SCHEMA', help: 'Intel RDT: refused, see intelRdt' })),
]

const grammar: Grammar = {
  name: 'runtime update',
  operands: 'ID',
  help: 'Changes limits of a container; those not named stay. Sizes may end in k, m, g.',
  options: [
    {
      name: 'resources',
      short: 'r',
      kind: 'value',
      value: 'FILE|-',
      help: 'read them from a JSON file, or from standard input, in the form of linux.resources',
    },
    ...VALUES,
  ],
}

/** `berth runtime update`. */
export const updateVerb: RuntimeVerb = {
  grammar,
  async run(call) {
    const id = idOperand(call, grammar)
    await updateContainer(id, readChanges(call), call.options)
    return 0
  },
}

function readChanges({ parsed, options }: RuntimeCall): LinuxResources {
  refuseRdt(parsed)
  const file = parsed.value('resources')
  if (file === undefined) return readOptions(parsed)
  const other = VALUES.find(({ name }) => parsed.value(name) !== undefined)
  if (other !== undefined)
    throw new UsageError(grammar, `Cannot use "--${other.name}" with "--resources": expected one of them`)
  const { value, warnings } = parseResources(read(file), file === '-' ? 'standard input' : file)
  for (const warning of warnings) options.warn(warning)
  return value
}

/** No container has a resctrl group to change: `create` makes none. */
function refuseRdt(parsed: ParsedOptions): void {
  const name = RDT.find(each => (parsed.value(each) ?? '') !== '')
  if (name === undefined) return
  const state = existsSync('/sys/fs/resctrl/schemata')
    ? 'the container has no resctrl group'
    : 'the host has no /sys/fs/resctrl'
  throw new BerthError('notImplemented', `Cannot set intelRdt by "--${name}": ${state}`)
}

function read(file: string): string {
  if (file === '-') return readStdin()
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new BerthError('notFound', `Cannot read resources "${file}": ${messageOf(error)}`, { cause: error })
  }
}

function readOptions(parsed: ParsedOptions): LinuxResources {
  const cpu: { -readonly [K in keyof CpuResources]: CpuResources[K] } = {}
  for (const [name, field] of CPU_NUMBERS) {
    const value = numberOf(parsed, name)
    if (value !== undefined) cpu[field] = value
  }
  for (const [name, field] of CPU_LISTS) {
    const value = parsed.value(name)
    if (value !== undefined) cpu[field] = value
  }
  const memory: { -readonly [K in keyof MemoryResources]: MemoryResources[K] } = {}
  for (const [name, field] of MEMORY_SIZES) {
    const value = parsed.value(name)
    if (value !== undefined) memory[field] = value === '-1' ? -1n : parseByteSize(value, `"--${name}"`)
  }
  const weight = numberOf(parsed, 'blkio-weight')
  const limit = numberOf(parsed, 'pids-limit')
  return {
    ...(Object.keys(cpu).length > 0 && { cpu }),
    ...(Object.keys(memory).length > 0 && { memory }),
    ...(weight !== undefined && { blockIO: { weight: Number(weight) } }),
    ...(limit !== undefined && { pids: { limit } }),
  }
}

function numberOf(parsed: ParsedOptions, name: string): bigint | undefined {
  const text = parsed.value(name)
  if (text === undefined) return undefined
  if (!/^-?\d{1,18}$/.test(text))
    throw new UsageError(grammar, `Cannot use option "--${name}": "${text}" is no whole number`)
  return BigInt(text)
}
