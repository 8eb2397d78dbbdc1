import { formatContainerState } from '../../oci/runtime-state.ts'
import { containerState } from '../../runtime/state.ts'
import type { Grammar } from '../options.ts'
import { idOperand, type RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime state',
  operands: 'ID',
  help: 'Prints the state of a container as JSON.',
  options: [],
}

/** `berth runtime state`. */
export const stateVerb: RuntimeVerb = {
  grammar,
  async run(call) {
    process.stdout.write(formatContainerState(containerState(idOperand(call, grammar), call.options)))
    return 0
  },
}
