import { deleteContainer } from '../../runtime/delete.ts'
import type { Grammar } from '../options.ts'
import { idOperand, type RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime delete',
  operands: 'ID',
  help: 'Removes a container that has stopped.',
  options: [{ name: 'force', short: 'f', kind: 'flag', help: 'kill it first; no error when it does not exist' }],
}

/** `berth runtime delete`. */
export const deleteVerb: RuntimeVerb = {
  grammar,
  async run(call) {
    await deleteContainer(idOperand(call, grammar), { ...call.options, force: call.parsed.flag('force') })
    return 0
  },
}
