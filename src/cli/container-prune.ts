import type { GivenRoots } from '../engine/data-root.ts'
import { keepSpace } from '../engine/keep-space.ts'
import { openEngine } from '../engine/open-engine.ts'
import { containerFilter, type PrunedContainer, pruneContainers } from '../engine/prune-containers.ts'
import { withReserve } from '../engine/space-reserve.ts'
import { humanSize } from '../lib/human-size.ts'
import { confirm } from './confirm.ts'
import { warnOnStderr } from './failure.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'

const grammar: Grammar = {
  name: 'container prune',
  operands: '',
  help: 'Removes the containers that have ended.',
  options: [
    { name: 'filter', kind: 'values', value: 'NAME=VALUE', help: 'only those with: until, label, label!' },
    { name: 'force', short: 'f', kind: 'flag', help: 'do not ask' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth container prune`. */
export async function containerPruneCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  if (parsed.operands.length > 0)
    throw new UsageError(grammar, `Cannot prune "${parsed.operands[0]}": expected no containers, see "berth rm"`)
  const filter = containerFilter(parsed.values('filter'), Date.now())
  if (!parsed.flag('force') && !(await confirm('This will remove all stopped containers.'))) return 0
  const engine = openEngine(roots, warnOnStderr)
  const pruned = await withReserve(engine.roots.data, () => pruneContainers(engine, { filter }))
  await keepSpace(engine)
  for (const line of prunedContainers(pruned)) console.log(line)
  const freedBytes = pruned.reduce((sum, { diskBytes }) => sum + diskBytes, 0)
  console.log(`Total reclaimed space: ${humanSize(freedBytes, 4)}`)
  return 0
}

/** What docker prints of pruned containers; nothing when there were none. */
export function prunedContainers(pruned: readonly PrunedContainer[]): readonly string[] {
  return pruned.length === 0 ? [] : ['Deleted Containers:', ...pruned.map(({ id }) => id), '']
}
