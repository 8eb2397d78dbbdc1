import type { GivenRoots } from '../engine/data-root.ts'
import { type ListedContainer, listContainers } from '../engine/list-containers.ts'
import { openEngine } from '../engine/open-engine.ts'
import { warnOnStderr } from './failure.ts'
import { type Grammar, helpText, parseOptions } from './options.ts'
import { formatTable, tableOptionsOf } from './table.ts'

const grammar: Grammar = {
  name: 'ps',
  operands: '',
  help: 'Lists the containers that run.',
  options: [
    { name: 'all', short: 'a', kind: 'flag', help: 'those that have ended too' },
    { name: 'quiet', short: 'q', kind: 'flag', help: 'ids only' },
    { name: 'no-trunc', kind: 'flag', help: 'whole ids and commands' },
    { name: 'json', kind: 'flag', help: 'as JSON, with labels' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

const SHORT_ID = 12
const SHORT_COMMAND = 30

/** `berth ps`. */
export async function psCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const all = listContainers(openEngine(roots, warnOnStderr))
  const rows = parsed.flag('all') ? all : all.filter(({ status }) => status !== 'stopped')
  const whole = parsed.flag('no-trunc')
  const id = (row: ListedContainer): string => (whole ? row.id : row.id.slice(0, SHORT_ID))
  if (parsed.flag('json')) console.log(JSON.stringify(rows, null, 2))
  else if (parsed.flag('quiet')) for (const row of rows) console.log(id(row))
  else process.stdout.write(table(rows, id, whole))
  return 0
}

function table(rows: readonly ListedContainer[], id: (row: ListedContainer) => string, whole: boolean): string {
  const columns = ['CONTAINER ID', 'IMAGE', 'COMMAND', 'CREATED', 'STATUS', 'NAME'].map(title => ({ title }))
  const cells = rows.map(row => {
    const command = row.command.join(' ')
    const status = row.exitCode === null ? row.status : `exited (${row.exitCode})`
    return [id(row), row.image, whole ? command : command.slice(0, SHORT_COMMAND), row.created, status, row.name]
  })
  return formatTable(columns, cells, tableOptionsOf(process.stdout))
}
