import { readStats, streamEvents } from '../../runtime/events.ts'
import { type Grammar, UsageError } from '../options.ts'
import { idOperand, type RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime events',
  operands: 'ID',
  help: 'Prints what a container uses at every interval, and when it is out of memory, as lines of JSON until it ends.',
  options: [
    { name: 'interval', kind: 'value', value: 'TIME', help: 'such as 500ms or 1m30s (default: 5s)' },
    { name: 'stats', kind: 'flag', help: 'print what it uses now, and end' },
  ],
}

const DEFAULT_INTERVAL = '5s'

/** `berth runtime events`. */
export const eventsVerb: RuntimeVerb = {
  grammar,
  async run(call) {
    const id = idOperand(call, grammar)
    const emit = (event: string): void => void process.stdout.write(`${event}\n`)
    if (call.parsed.flag('stats')) {
      emit(readStats(id, call.options))
      return 0
    }
    const intervalMs = parseDurationMs(call.parsed.value('interval') ?? DEFAULT_INTERVAL)
    await streamEvents(id, { ...call.options, intervalMs, emit })
    return 0
  },
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
/** More often than this the measuring is most of what is measured. */
const MIN_INTERVAL_MS = 1

/** Reads a duration as Go writes it: `5s`, `1m30s`, `1.5h`. @throws {UsageError} anything else, or less than 1 ms */
export function parseDurationMs(text: string): number {
  if (!/^(?:\d+(?:\.\d*)?(?:ms|s|m|h))+$/.test(text))
    throw new UsageError(grammar, `Cannot use interval "${text}": expected a time such as 5s`)
  let total = 0
  for (const [, amount = '', unit = ''] of text.matchAll(/(\d+(?:\.\d*)?)(ms|s|m|h)/g))
    total += Number(amount) * (UNIT_MS[unit] ?? 0)
  if (total < MIN_INTERVAL_MS)
    throw new UsageError(grammar, `Cannot use interval "${text}": expected at least ${MIN_INTERVAL_MS} ms`)
  return total
}
