import manifest from '../../../package.json' with { type: 'json' }
import { formatJson } from '../../lib/json-shape.ts'
import { describeFeatures } from '../../runtime/features.ts'
import type { Grammar } from '../options.ts'
import type { RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime features',
  operands: '',
  help: 'Prints what this runtime can do, as JSON (runtime-spec, features.md).',
  options: [],
}

/** `berth runtime features`. */
export const featuresVerb: RuntimeVerb = {
  grammar,
  async run() {
    console.log(formatJson(describeFeatures(manifest.version), '    '))
    return 0
  },
}
