import { createContainer } from '../../runtime/create.ts'
import type { Grammar } from '../options.ts'
import { CREATE_OPTIONS, readCreateOptions } from './create-options.ts'
import { idOperand, type RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime create',
  operands: 'ID',
  help: 'Creates a container; its process waits for "start".',
  options: CREATE_OPTIONS,
}

/** `berth runtime create`. */
export const createVerb: RuntimeVerb = {
  grammar,
  async run(call) {
    await createContainer(idOperand(call, grammar), {
      ...call.options,
      ...readCreateOptions(call),
      start: 'on request',
      ending: { kind: 'exit' },
    })
    return 0
  },
}
