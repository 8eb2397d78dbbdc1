import { containerPids, hostPs } from '../../runtime/ps.ts'
import { type Grammar, UsageError } from '../options.ts'
import { idOperand, type RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime ps',
  operands: 'ID [PS-OPTION...]',
  help: 'Shows the processes of a container: those lines of the host’s "ps -ef", or of ps with other options, that are its.',
  stopAtOperand: true,
  options: [
    { name: 'format', short: 'f', kind: 'value', value: 'table|json', help: 'json: only the process ids, without ps' },
  ],
}

/** `berth runtime ps`. */
export const psVerb: RuntimeVerb = {
  grammar,
  async run(call) {
    const format = call.parsed.value('format') ?? 'table'
    if (format !== 'table' && format !== 'json')
      throw new UsageError(grammar, `Cannot use format "${format}": expected table or json`)
    const pids = containerPids(idOperand(call, grammar), call.options)
    if (format === 'json') console.log(JSON.stringify(pids))
    else process.stdout.write(await hostPs(call.parsed.operands.slice(1), pids))
    return 0
  },
}
