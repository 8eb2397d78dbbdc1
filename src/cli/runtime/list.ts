import { formatJson } from '../../lib/json-shape.ts'
import { listContainers } from '../../runtime/list.ts'
import { stateDocument } from '../../runtime/state.ts'
import { type Grammar, UsageError } from '../options.ts'
import { printable } from '../table.ts'
import type { RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime list',
  operands: '',
  help: 'Lists the containers below the root directory.',
  options: [
    { name: 'format', short: 'f', kind: 'value', value: 'table|json', help: 'form of the output (default: table)' },
    { name: 'quiet', short: 'q', kind: 'flag', help: 'print only the ids' },
  ],
}

const TITLES = ['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER']

/** `berth runtime list`. */
export const listVerb: RuntimeVerb = {
  grammar,
  async run({ options, parsed }) {
    const format = parsed.value('format') ?? 'table'
    if (format !== 'table' && format !== 'json')
      throw new UsageError(grammar, `Cannot use format "${format}": expected table or json`)
    const found = listContainers(options)
    if (parsed.flag('quiet')) process.stdout.write(found.map(({ record }) => `${record.id}\n`).join(''))
    else if (format === 'json') console.log(formatJson(found.map(stateDocument)))
    else {
      const rows = found.map(({ record, status }) => [
        record.id,
        String(status === 'stopped' ? 0 : record.process.pid),
        status,
        record.bundle,
        record.created,
        record.ownerName,
      ])
      process.stdout.write(runcTable([TITLES, ...rows]))
    }
    return 0
  },
}

const GAP = 3
const MIN_WIDTH = 12

/** Lays out rows as runc's tables are: columns at least 12 wide with their gap of 3, the last one as it is. */
export function runcTable(rows: readonly (readonly string[])[]): string {
  const cells = rows.map(row => row.map(printable))
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(MIN_WIDTH, ...cells.map(row => (row[column]?.length ?? 0) + GAP)),
  )
  return cells
    .map(row => `${row.map((cell, i) => (i + 1 < row.length ? cell.padEnd(widths[i] ?? 0) : cell)).join('')}\n`)
    .join('')
}
