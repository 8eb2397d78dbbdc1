import { collectGarbage, type Removal } from '../engine/collect-garbage.ts'
import type { GivenRoots } from '../engine/data-root.ts'
import { type DiskSpace, diskSpace, type FreeGoal, isFree, parseKeepFree, watermarksOf } from '../engine/disk-space.ts'
import { type EngineWithImages, openEngineWithImages } from '../engine/open-images.ts'
import { humanSize } from '../lib/human-size.ts'
import { warnOnStderr } from './failure.ts'
import { interruptible } from './interruptible.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { formatTable, tableOptionsOf } from './table.ts'

const grammar: Grammar = {
  name: 'system gc',
  operands: '',
  help: 'Removes what nothing needs: what crashes have left, content of no image and, when too little of the disk is free, images without a name, the least recently used first. Named and pinned images, and those of containers, stay.',
  options: [
    { name: 'dry-run', kind: 'flag', help: 'only show what would go, and why' },
    {
      name: 'free',
      kind: 'value',
      value: 'SIZE|PERCENT',
      help: 'remove such images until so much is free (default: if less than the low watermark is, up to the high one)',
    },
    { name: 'json', kind: 'flag', help: 'as JSON' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth system gc`. */
export async function systemGcCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  if (parsed.operands.length > 0)
    throw new UsageError(grammar, `Cannot collect "${parsed.operands[0]}": expected no operand, see "berth rmi"`)
  const isDry = parsed.flag('dry-run')
  const free = parsed.value('free')
  const wanted = free === undefined ? null : parseKeepFree(free, '--free')
  const engine = await openEngineWithImages(roots, warnOnStderr)
  const space = await diskSpace(engine.roots.data)
  const goal =
    wanted === null ? automaticGoal(space, engine) : { bytes: watermarksOf(space, wanted).low.bytes, inodes: 0 }
  return await interruptible(async signal => {
    const removals = await collectGarbage(engine, { isDry, goal, minAgeMs: 0, signal })
    const freedBytes = removals.reduce((sum, { diskBytes }) => sum + diskBytes, 0)
    if (parsed.flag('json')) {
      console.log(JSON.stringify({ isDry, freedBytes, removals }, null, 2))
      return
    }
    if (removals.length > 0) process.stdout.write(table(removals))
    console.log(`Total ${isDry ? 'reclaimable' : 'reclaimed'} space: ${humanSize(freedBytes, 4)}`)
  })
}

/** What is done without being asked for; null: there is enough. */
function automaticGoal(space: DiskSpace, { keepFree }: EngineWithImages): FreeGoal | null {
  const { low, high } = watermarksOf(space, keepFree)
  return isFree(space, low) ? null : high
}

function table(removals: readonly Removal[]): string {
  const columns = ['KIND', 'ID', 'SIZE', 'WHY'].map(title => ({ title }))
  const rows = removals.map(({ kind, id, why, diskBytes }) => [kind, id, humanSize(diskBytes), why])
  return formatTable(columns, rows, tableOptionsOf(process.stdout))
}
