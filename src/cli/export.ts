import type { GivenRoots } from '../engine/data-root.ts'
import { exportContainer } from '../engine/export-container.ts'
import { openEngine } from '../engine/open-engine.ts'
import { warnOnStderr } from './failure.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { outputFile } from './output-file.ts'

const grammar: Grammar = {
  name: 'export',
  operands: 'CONTAINER',
  help: 'Writes all that a container sees, without what is mounted in it, as a tar archive.',
  options: [
    { name: 'output', short: 'o', kind: 'value', value: 'FILE', help: 'write to a file instead of standard output' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth export`. */
export async function exportCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [container, ...more] = parsed.operands
  if (container === undefined || more.length > 0) throw new UsageError(grammar, 'Cannot export: expected one container')
  const engine = openEngine(roots, warnOnStderr)
  const output = parsed.value('output') ?? null
  return await interruptible(async signal => {
    await outputFile(output, write => exportContainer(container, engine, write, signal), signal)
  })
}
