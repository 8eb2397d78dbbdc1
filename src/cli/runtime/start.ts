import { startContainer } from '../../runtime/start.ts'
import type { Grammar } from '../options.ts'
import { idOperand, type RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime start',
  operands: 'ID',
  help: 'Starts the process of a created container.',
  options: [],
}

/** `berth runtime start`. */
export const startVerb: RuntimeVerb = {
  grammar,
  async run(call) {
    await startContainer(idOperand(call, grammar), call.options)
    return 0
  },
}
