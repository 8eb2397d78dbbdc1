import type { GivenRoots } from '../engine/data-root.ts'
import { keepSpace } from '../engine/keep-space.ts'
import { removeContainer } from '../engine/list-containers.ts'
import { openEngine } from '../engine/open-engine.ts'
import { withReserve } from '../engine/space-reserve.ts'
import { fail, warnOnStderr } from './failure.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'

const grammar: Grammar = {
  name: 'rm',
  operands: 'CONTAINER...',
  help: 'Removes containers with all that is their own.',
  options: [
    { name: 'force', short: 'f', kind: 'flag', help: 'end those that run first' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth rm`: all that can be removed are; the status is 1 when one could not. */
export async function rmCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  if (parsed.operands.length === 0) throw new UsageError(grammar, 'Cannot remove: no container given')
  const engine = openEngine(roots, warnOnStderr)
  let status = 0
  for (const name of parsed.operands) {
    try {
      await withReserve(engine.roots.data, () => removeContainer(name, parsed.flag('force'), engine))
      console.log(name)
    } catch (error) {
      fail(error)
      status = 1
    }
  }
  await keepSpace(engine)
  return status
}
