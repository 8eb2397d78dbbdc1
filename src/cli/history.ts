import type { GivenRoots } from '../engine/data-root.ts'
import { openEngineWithImages } from '../engine/open-images.ts'
import { findImage } from '../image/find-image.ts'
import { type HistoryStep, imageHistory } from '../image/image-history.ts'
import { chosenManifest } from '../image/inspect-image.ts'
import { humanDuration } from '../lib/human-duration.ts'
import { humanSize } from '../lib/human-size.ts'
import { parsePlatform } from '../oci/platform.ts'
import { warnOnStderr } from './failure.ts'
import { formatRows, type Listing, type ListingRow } from './format.ts'
import { rfc3339 } from './go-time.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'

const grammar: Grammar = {
  name: 'history',
  operands: 'IMAGE',
  help: 'Shows how an image was made, the last step first.',
  options: [
    { name: 'format', kind: 'value', value: 'FORMAT', help: 'table, table TEMPLATE, json, or a Go template' },
    { name: 'human', short: 'H', kind: 'flag', help: 'sizes and dates for people (default: true)' },
    { name: 'no-trunc', kind: 'flag', help: 'whole ids and commands' },
    {
      name: 'platform',
      kind: 'value',
      value: 'PLATFORM',
      help: 'this one of the image (default: that of this machine)',
    },
    { name: 'quiet', short: 'q', kind: 'flag', help: 'ids only' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

const LISTING: Listing = {
  typeName: 'history',
  columns: [
    { field: 'ID', title: 'IMAGE' },
    { field: 'CreatedSince', title: 'CREATED' },
    { field: 'CreatedAt', title: 'CREATED AT' },
    { field: 'CreatedBy', title: 'CREATED BY' },
    { field: 'Size', title: 'SIZE' },
    { field: 'Comment', title: 'COMMENT' },
  ],
  shown: ['ID', 'CreatedSince', 'CreatedBy', 'Size', 'Comment'],
}
const FOR_PROGRAMS: Listing = { ...LISTING, shown: ['ID', 'CreatedAt', 'CreatedBy', 'Size', 'Comment'] }

const MISSING = '<missing>'
const SHORT_ID = 12
const SHORT_COMMAND = 45
const SHORT_COMMENT = 45

/** `berth history`. */
export async function historyCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [text, ...more] = parsed.operands
  if (text === undefined || more.length > 0) {
    throw new UsageError(grammar, `Cannot show the history of ${parsed.operands.length} images: expected one`)
  }
  const { images } = await openEngineWithImages(roots, warnOnStderr)
  const found = findImage(text, images.records)
  const platform = parsed.value('platform')
  const manifest =
    platform === undefined && found.manifest !== null
      ? found.manifest
      : chosenManifest(found.image, platform === undefined ? null : parsePlatform(platform))
  const whole = parsed.flag('no-trunc')
  const id = whole ? manifest.configDigest : manifest.configDigest.slice('sha256:'.length).slice(0, SHORT_ID)
  const steps = await imageHistory(manifest, images)
  if (parsed.flag('quiet')) {
    for (const [index] of steps.entries()) console.log(index === 0 ? id : MISSING)
    return 0
  }
  const human = parsed.value('human') === undefined || parsed.flag('human')
  const rows = steps.map((step, index) => rowOf(step, index === 0 ? id : MISSING, human, whole))
  process.stdout.write(formatRows(rows, human ? LISTING : FOR_PROGRAMS, parsed.value('format')))
  return 0
}

function rowOf(step: HistoryStep, id: string, human: boolean, whole: boolean): ListingRow {
  const { createdMs, createdBy, comment, sizeBytes } = step
  return {
    Comment: clipped(comment, whole ? Number.POSITIVE_INFINITY : SHORT_COMMENT),
    CreatedAt: createdMs === null ? 'N/A' : rfc3339(createdMs),
    CreatedBy: clipped(createdBy.replaceAll('\t', ' '), whole ? Number.POSITIVE_INFINITY : SHORT_COMMAND),
    CreatedSince: createdMs === null ? 'N/A' : `${humanDuration(Date.now() - createdMs)} ago`,
    ID: id,
    Size: human ? humanSize(sizeBytes) : String(sizeBytes),
  }
}

function clipped(text: string, length: number): string {
  const chars = [...text]
  return chars.length <= length ? text : `${chars.slice(0, length - 1).join('')}…`
}
