import { collectGarbage } from '../engine/collect-garbage.ts'
import type { GivenRoots } from '../engine/data-root.ts'
import { type EngineWithImages, openEngineWithImages } from '../engine/open-images.ts'
import { containerFilter, pruneContainers } from '../engine/prune-containers.ts'
import { withReserve } from '../engine/space-reserve.ts'
import { ContentUsage } from '../image/content-usage.ts'
import { imageFilter, PRUNE_FILTERS } from '../image/image-filter.ts'
import { imageId } from '../image/image-record.ts'
import { isPrunable, pruneImages } from '../image/prune-images.ts'
import { BerthError } from '../lib/error.ts'
import { humanSize } from '../lib/human-size.ts'
import { confirm } from './confirm.ts'
import { prunedContainers } from './container-prune.ts'
import { warnOnStderr } from './failure.ts'
import { prunedImages } from './image-prune.ts'
import { type Grammar, helpText, type ParsedOptions, parseOptions, UsageError } from './options.ts'

const grammar: Grammar = {
  name: 'system prune',
  operands: '',
  help: 'Removes containers that have ended, images that nobody needs, and what crashes have left. Pinned images stay.',
  options: [
    { name: 'all', short: 'a', kind: 'flag', help: 'also images with a name, if no container was made of them' },
    { name: 'dry-run', kind: 'flag', help: 'only show what would go' },
    { name: 'filter', kind: 'values', value: 'NAME=VALUE', help: 'only those with: until, label, label!' },
    { name: 'force', short: 'f', kind: 'flag', help: 'do not ask' },
    { name: 'volumes', kind: 'flag', help: 'volumes too; refused, as there are none yet' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

/** `berth system prune`. */
export async function systemPruneCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  if (parsed.operands.length > 0)
    throw new UsageError(grammar, `Cannot prune "${parsed.operands[0]}": expected no operand`)
  if (parsed.flag('volumes'))
    throw new BerthError('notImplemented', 'Cannot prune volumes: this engine has none yet, expected no --volumes')
  const engine = await openEngineWithImages(roots, warnOnStderr)
  // A mistake in a filter is told before the question.
  const choice = readChoice(parsed, engine)
  if (choice.isDry) {
    await showPrune(engine, choice)
    return 0
  }
  if (!parsed.flag('force') && !(await confirm(warning(parsed)))) return 0
  await prune(engine, choice)
  return 0
}

interface Choice {
  readonly all: boolean
  readonly isDry: boolean
  readonly passesContainer: ReturnType<typeof containerFilter>
  readonly passesImage: ReturnType<typeof imageFilter>
}

function readChoice(parsed: ParsedOptions, { images }: EngineWithImages): Choice {
  const filters = parsed.values('filter')
  const nowMs = Date.now()
  return {
    all: parsed.flag('all'),
    isDry: parsed.flag('dry-run'),
    passesContainer: containerFilter(filters, nowMs),
    passesImage: imageFilter(filters, images.records, nowMs, PRUNE_FILTERS),
  }
}

function warning(parsed: ParsedOptions): string {
  const filters = parsed.values('filter')
  const images = parsed.flag('all') ? 'images without at least one container associated to them' : 'dangling images'
  const lines = ['all stopped containers', `all ${images}`, 'content that nothing needs']
  return [
    'This will remove:',
    ...lines.map(line => `  - ${line}`),
    ...(filters.length === 0
      ? []
      : ['', '  Items to be pruned will be filtered with:', ...filters.map(filter => `  - ${filter}`)]),
    '',
  ].join('\n')
}

async function prune(engine: EngineWithImages, { all, passesContainer, passesImage }: Choice): Promise<void> {
  const { data } = engine.roots
  const containers = await withReserve(data, () => pruneContainers(engine, { filter: passesContainer }))
  for (const line of prunedContainers(containers)) console.log(line)
  const images = await withReserve(data, () => pruneImages(engine.images, { all, filter: passesImage }))
  for (const line of prunedImages(images)) console.log(line)
  const garbage = await collectGarbage(engine, { goal: null, minAgeMs: 0 })
  const freed = [
    ...[...containers, ...garbage].map(({ diskBytes }) => diskBytes),
    ...images.map(each => each.freedBytes),
  ]
  console.log(`Total reclaimed space: ${humanSize(sum(freed), 4)}`)
}

/** The same lists, and nothing removed. */
async function showPrune(engine: EngineWithImages, { all, passesContainer, passesImage }: Choice): Promise<void> {
  const containers = await pruneContainers(engine, { filter: passesContainer, isDry: true })
  const { records } = engine.images
  const gone = new Set(containers.map(({ id }) => id))
  const images = records.list().filter(image => isPrunable(image, all, engine.images, gone) && passesImage(image))
  const garbage = await collectGarbage(engine, { goal: null, minAgeMs: 0, isDry: true })
  const usage = await ContentUsage.of(engine.images)
  const imageBytes = usage.freedBy(new Set(images.map(({ digest }) => digest)), gone)
  if (containers.length > 0) console.log(`Containers:\n${containers.map(({ id }) => id).join('\n')}\n`)
  if (images.length > 0) console.log(`Images:\n${images.map(imageId).join('\n')}\n`)
  if (garbage.length > 0) console.log(`Left over:\n${garbage.map(({ kind, id }) => `${kind} ${id}`).join('\n')}\n`)
  const freed = [...containers, ...garbage].map(({ diskBytes }) => diskBytes)
  console.log(`Total reclaimable space: ${humanSize(sum([...freed, imageBytes]), 4)}`)
}

function sum(each: readonly number[]): number {
  return each.reduce((total, bytes) => total + bytes, 0)
}
