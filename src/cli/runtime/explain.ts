import { printPlan } from '../../plan/print.ts'
import { readBundle } from '../../runtime/bundle.ts'
import { prepareContainer } from '../../runtime/create.ts'
import type { Grammar } from '../options.ts'
import { CREATE_OPTIONS, readCreateOptions } from './create-options.ts'
import type { RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime explain',
  operands: '[BUNDLE]',
  help: 'Prints the plan of a bundle: every kernel call that makes the container, with its reason. Changes nothing.',
  options: CREATE_OPTIONS,
}

/** `berth runtime explain`. */
export const explainVerb: RuntimeVerb = {
  grammar,
  async run(call) {
    const shared = readCreateOptions(call)
    const bundle = readBundle(call.parsed.operands[0] ?? shared.bundle)
    const { plan } = await prepareContainer('explained', bundle, `${call.options.root}/explained`, {
      ...call.options,
      ...shared,
      start: 'on request',
      ending: { kind: 'exit' },
    })
    process.stdout.write(printPlan(plan))
    return 0
  },
}
