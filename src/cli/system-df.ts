import type { GivenRoots } from '../engine/data-root.ts'
import {
  type ContainerSpace,
  type DiskUsage,
  diskUsage,
  type ImageSpace,
  type SpaceTotal,
} from '../engine/disk-usage.ts'
import { openEngineWithImages } from '../engine/open-images.ts'
import { imageId, ownManifest } from '../image/image-record.ts'
import { humanDuration } from '../lib/human-duration.ts'
import { humanSize } from '../lib/human-size.ts'
import { familiarReference, parseReference } from '../oci/reference.ts'
import { warnOnStderr } from './failure.ts'
import { formatRows, type Listing, type ListingRow } from './format.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'
import { formatTable, tableOptionsOf } from './table.ts'

const grammar: Grammar = {
  name: 'system df',
  operands: '',
  help: 'Shows what images, containers and the rest take of the disk, as du counts it.',
  options: [
    { name: 'format', kind: 'value', value: 'FORMAT', help: 'table, table TEMPLATE, json, or a Go template' },
    { name: 'json', kind: 'flag', help: 'everything, in bytes, as one JSON document' },
    { name: 'verbose', short: 'v', kind: 'flag', help: 'each image and container' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

const TOTALS: Listing = {
  typeName: 'disk usage',
  columns: ['Type', 'TotalCount', 'Active', 'Size', 'Reclaimable'].map(field => ({
    field,
    title: field === 'TotalCount' ? 'TOTAL' : field.toUpperCase(),
  })),
  shown: ['Type', 'TotalCount', 'Active', 'Size', 'Reclaimable'],
}
const NONE: SpaceTotal = { totalCount: 0, activeCount: 0, diskBytes: 0, reclaimableBytes: 0 }
const SHORT_ID = 12
const SHORT_COMMAND = 20
const IMAGE_TITLES = ['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED', 'SIZE', 'SHARED SIZE', 'UNIQUE SIZE', 'CONTAINERS']
const CONTAINER_TITLES = ['CONTAINER ID', 'IMAGE', 'COMMAND', 'LOCAL VOLUMES', 'SIZE', 'CREATED', 'STATUS', 'NAMES']

/** `berth system df`. */
export async function systemDfCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  if (parsed.operands.length > 0)
    throw new UsageError(grammar, `Cannot measure "${parsed.operands[0]}": expected no operand`)
  const format = parsed.value('format')
  if (parsed.flag('verbose') && format !== undefined)
    throw new UsageError(grammar, 'Cannot use --format with --verbose: expected --json for programs')
  const usage = await diskUsage(await openEngineWithImages(roots, warnOnStderr))
  if (parsed.flag('json')) console.log(JSON.stringify(usage, null, 2))
  else if (parsed.flag('verbose')) process.stdout.write(verbose(usage, Date.now()))
  else process.stdout.write(formatRows(totals(usage), TOTALS, format))
  return 0
}

function totals({ images, containers, logs, orphans, metadata }: DiskUsage): readonly ListingRow[] {
  return [
    row('Images', images),
    row('Containers', containers),
    row('Local Volumes', NONE),
    row('Build Cache', NONE),
    row('Logs', logs),
    row('Orphans', orphans),
    row('Metadata', metadata),
  ]
}

/** As docker prints it, where a part of nothing has no percentage. */
function row(type: string, { totalCount, activeCount, diskBytes, reclaimableBytes }: SpaceTotal): ListingRow {
  const percent = diskBytes === 0 ? '' : ` (${Math.floor((reclaimableBytes * 100) / diskBytes)}%)`
  return {
    Active: String(activeCount),
    Reclaimable: `${humanSize(reclaimableBytes, 4)}${percent}`,
    Size: humanSize(diskBytes, 4),
    TotalCount: String(totalCount),
    Type: type,
  }
}

function verbose(usage: DiskUsage, nowMs: number): string {
  const { images, containers, logs, orphans, metadata } = usage
  const other = Object.entries({ Logs: logs, Orphans: orphans, Metadata: metadata })
  return [
    'Images space usage:\n\n',
    tableOf(
      IMAGE_TITLES,
      images.each.map(each => imageRow(each, nowMs)),
    ),
    '\nContainers space usage:\n\n',
    tableOf(
      CONTAINER_TITLES,
      containers.each.map(each => containerRow(each, nowMs)),
    ),
    '\nLocal Volumes space usage:\n\n',
    tableOf(['VOLUME NAME', 'LINKS', 'SIZE'], []),
    '\nBuild cache usage: 0B\n\n',
    tableOf(['CACHE ID', 'CACHE TYPE', 'SIZE', 'CREATED', 'LAST USED', 'USAGE', 'SHARED'], []),
    ...other.map(([name, { diskBytes }]) => `\n${name} usage: ${humanSize(diskBytes, 4)}\n`),
  ].join('')
}

function imageRow({ image, sharedBytes, uniqueBytes, containerCount }: ImageSpace, nowMs: number): readonly string[] {
  const [name] = image.names
  const reference = name === undefined ? null : parseReference(name)
  const createdMs = ownManifest(image)?.createdMs ?? null
  return [
    reference === null ? '<none>' : familiarReference({ ...reference, tag: null, digest: null }),
    reference?.tag ?? '<none>',
    imageId(image).replace(/^\w+:/, '').slice(0, SHORT_ID),
    createdMs === null ? 'N/A' : `${humanDuration(nowMs - createdMs)} ago`,
    humanSize(sharedBytes + uniqueBytes),
    humanSize(sharedBytes),
    humanSize(uniqueBytes),
    String(containerCount),
  ]
}

function containerRow({ container, diskBytes }: ContainerSpace, nowMs: number): readonly string[] {
  const { id, image, command, created, status, exitCode, name } = container
  return [
    id.slice(0, SHORT_ID),
    image,
    `"${command.join(' ').slice(0, SHORT_COMMAND)}"`,
    '0',
    humanSize(diskBytes),
    `${humanDuration(nowMs - Date.parse(created))} ago`,
    exitCode === null ? status : `exited (${exitCode})`,
    name,
  ]
}

function tableOf(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  return formatTable(
    titles.map(title => ({ title })),
    rows,
    tableOptionsOf(process.stdout),
  )
}
