import { parseSignal } from '../../linux/signals.ts'
import { killContainer } from '../../runtime/kill.ts'
import type { Grammar } from '../options.ts'
import { idOperand, type RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime kill',
  operands: 'ID [SIGNAL]',
  help: 'Sends a signal (default: TERM) to the process of a container.',
  options: [{ name: 'all', short: 'a', kind: 'flag', help: 'to all processes of the container' }],
}

/** `berth runtime kill`. */
export const killVerb: RuntimeVerb = {
  grammar,
  async run(call) {
    const id = idOperand(call, grammar)
    const signal = parseSignal(call.parsed.operands[1] ?? 'TERM')
    await killContainer(id, signal, { ...call.options, all: call.parsed.flag('all') })
    return 0
  },
}
