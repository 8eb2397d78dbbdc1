import type { GivenRoots } from '../engine/data-root.ts'
import { openEngineWithImages } from '../engine/open-images.ts'
import { withReserve } from '../engine/space-reserve.ts'
import { imageFilter, PRUNE_FILTERS } from '../image/image-filter.ts'
import { pruneImages } from '../image/prune-images.ts'
import type { RemovedImage } from '../image/remove-image.ts'
import { humanSize } from '../lib/human-size.ts'
import { confirm } from './confirm.ts'
import { warnOnStderr } from './failure.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'

const grammar: Grammar = {
  name: 'image prune',
  operands: '',
  help: 'Removes images without a name; pinned ones, and those that containers were made of, stay.',
  options: [
    { name: 'all', short: 'a', kind: 'flag', help: 'also images with a name' },
    { name: 'filter', kind: 'values', value: 'NAME=VALUE', help: 'only those with: until, label, label!' },
    { name: 'force', short: 'f', kind: 'flag', help: 'do not ask' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth image prune`. */
export async function imagePruneCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  if (parsed.operands.length > 0) {
    throw new UsageError(
      grammar,
      `Cannot prune "${parsed.operands[0]}": expected no images, they are found by what uses them`,
    )
  }
  const engine = await openEngineWithImages(roots, warnOnStderr)
  const { images, roots: places } = engine
  // The filter is read before the question, so that a mistake in it is told first. `dangling=false` means --all.
  const filters = parsed.values('filter')
  const isAll = parsed.flag('all') || filters.some(text => /^dangling=(?:false|0|f)$/i.test(text))
  const others = filters.filter(text => !/^dangling=/i.test(text))
  imageFilter(filters, images.records, Date.now(), PRUNE_FILTERS)
  const filter = imageFilter(others, images.records, Date.now(), PRUNE_FILTERS)
  const what = isAll ? 'all images without at least one container associated to them' : 'all dangling images'
  if (!parsed.flag('force') && !(await confirm(`This will remove ${what}.`))) return 0
  const removed = await withReserve(places.data, () => pruneImages(images, { all: isAll, filter }))
  for (const line of prunedImages(removed)) console.log(line)
  const freedBytes = removed.reduce((sum, each) => sum + each.freedBytes, 0)
  console.log(`Total reclaimed space: ${humanSize(freedBytes, 4)}`)
  return 0
}

/** What docker prints of pruned images; nothing when there were none. */
export function prunedImages(removed: readonly RemovedImage[]): readonly string[] {
  if (removed.length === 0) return []
  const lines = removed.flatMap(({ untagged, deleted }) => [
    ...untagged.map(name => `untagged: ${name}`),
    ...deleted.map(digest => `deleted: ${digest}`),
  ])
  return ['Deleted Images:', ...lines, '']
}
