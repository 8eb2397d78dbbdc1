import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BerthError, messageOf } from '../../lib/error.ts'
import { formatJson } from '../../lib/json-shape.ts'
import { defaultSpec } from '../../oci/default-spec.ts'
import type { Grammar } from '../options.ts'
import type { RuntimeVerb } from './verb.ts'

const grammar: Grammar = {
  name: 'runtime spec',
  operands: '',
  help: 'Writes a config.json to start from.',
  options: [
    { name: 'bundle', short: 'b', kind: 'value', value: 'DIR', help: 'the bundle (default: the working directory)' },
    { name: 'rootless', kind: 'flag', help: 'one for a user without privileges: you become root in the container' },
  ],
}

/** `berth runtime spec`. */
export const specVerb: RuntimeVerb = {
  grammar,
  async run({ parsed }) {
    const file = join(parsed.value('bundle') ?? process.cwd(), 'config.json')
    const ids = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }
    const spec = defaultSpec(parsed.flag('rootless') ? ids : null)
    try {
      writeFileSync(file, `${formatJson(spec, '\t')}\n`, { flag: 'wx' })
    } catch (error) {
      const exists = (error as NodeJS.ErrnoException).code === 'EEXIST'
      throw new BerthError(
        exists ? 'conflict' : 'unavailable',
        `Cannot write "${file}": ${exists ? 'it exists, expected to make it' : messageOf(error)}`,
        { cause: error },
      )
    }
    return 0
  },
}
