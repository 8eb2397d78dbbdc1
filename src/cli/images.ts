import type { GivenRoots } from '../engine/data-root.ts'
import { openEngineWithImages } from '../engine/open-images.ts'
import { imageFilter, shownNames } from '../image/image-filter.ts'
import { type ImageManifest, type ImageRecord, imageId, ownManifest } from '../image/image-record.ts'
import { imageSize } from '../image/image-size.ts'
import type { ImageStore } from '../image/image-store.ts'
import { humanDuration } from '../lib/human-duration.ts'
import { humanSize } from '../lib/human-size.ts'
import { familiarReference, parseReference } from '../oci/reference.ts'
import { warnOnStderr } from './failure.ts'
import { formatRows, type Listing, type ListingRow } from './format.ts'
import { goTime } from './go-time.ts'
import { type Grammar, helpText, parseOptions, UsageError } from './options.ts'

const grammar: Grammar = {
  name: 'images',
  operands: '[REPOSITORY[:TAG]]',
  help: 'Lists the images of the store, the newest first.',
  options: [
    { name: 'all', short: 'a', kind: 'flag', help: 'also intermediate images, of which this engine has none' },
    { name: 'digests', kind: 'flag', help: 'the digests by which registries have them' },
    {
      name: 'filter',
      short: 'f',
      kind: 'values',
      value: 'NAME=VALUE',
      help: 'only those with: dangling, label, before, since, until, reference',
    },
    { name: 'format', kind: 'value', value: 'FORMAT', help: 'table, table TEMPLATE, json, or a Go template' },
    { name: 'no-trunc', kind: 'flag', help: 'whole ids' },
    { name: 'quiet', short: 'q', kind: 'flag', help: 'ids only' },
    { name: 'tree', kind: 'flag', help: 'with the platforms of each image that are here' },
    { name: 'help', kind: 'flag', help: 'show this text' },
  ],
}

const NONE = '<none>'
const SHORT_ID = 12
/** What Docker says of what it does not count. */
const UNKNOWN = 'N/A'

const LISTING: Listing = {
  typeName: 'image',
  columns: [
    { field: 'Repository', title: 'REPOSITORY' },
    { field: 'Tag', title: 'TAG' },
    { field: 'Digest', title: 'DIGEST' },
    { field: 'ID', title: 'IMAGE ID' },
    { field: 'CreatedSince', title: 'CREATED' },
    { field: 'CreatedAt', title: 'CREATED AT' },
    { field: 'Size', title: 'SIZE' },
    { field: 'Containers', title: 'CONTAINERS' },
    { field: 'SharedSize', title: 'SHARED SIZE' },
    { field: 'UniqueSize', title: 'UNIQUE SIZE' },
    { field: 'VirtualSize', title: 'SIZE' },
    { field: 'Platform', title: 'PLATFORM' },
  ],
  shown: ['Repository', 'Tag', 'ID', 'CreatedSince', 'Size'],
}
const WITH_DIGESTS: Listing = { ...LISTING, shown: ['Repository', 'Tag', 'Digest', 'ID', 'CreatedSince', 'Size'] }
const TREE: Listing = { ...LISTING, shown: ['Repository', 'Tag', 'Platform', 'ID', 'CreatedSince', 'Size'] }

/** `berth images`. */
export async function imagesCommand(args: readonly string[], roots: GivenRoots): Promise<number> {
  const parsed = parseOptions(grammar, args)
  if (parsed.flag('help')) {
    console.log(helpText(grammar, 'berth'))
    return 0
  }
  const [pattern, ...more] = parsed.operands
  if (more.length > 0) throw new UsageError(grammar, `Cannot list ${parsed.operands.length} names: expected one`)
  const { images } = await openEngineWithImages(roots, warnOnStderr)
  const filters = [...parsed.values('filter'), ...(pattern === undefined ? [] : [`reference=${pattern}`])]
  const nowMs = Date.now()
  const passes = imageFilter(filters, images.records, nowMs)
  const found = images.records.list().filter(passes).toSorted(byCreation)
  const options = { whole: parsed.flag('no-trunc'), tree: parsed.flag('tree'), filters, nowMs }
  const rows = (await Promise.all(found.map(image => rowsOf(image, images, options)))).flat()
  const format = parsed.value('format')
  if (parsed.flag('quiet') && format === undefined) {
    const ids = new Set(found.map(image => shownId(imageId(image), options.whole)))
    for (const id of ids) console.log(id)
    return 0
  }
  const listing = options.tree ? TREE : parsed.flag('digests') ? WITH_DIGESTS : LISTING
  process.stdout.write(formatRows(rows, listing, format))
  return 0
}

interface RowOptions {
  readonly whole: boolean
  readonly tree: boolean
  readonly filters: readonly string[]
  readonly nowMs: number
}

function byCreation(a: ImageRecord, b: ImageRecord): number {
  return (ownManifest(b)?.createdMs ?? 0) - (ownManifest(a)?.createdMs ?? 0)
}

function shownId(id: string, whole: boolean): string {
  return whole ? id : id.slice(id.indexOf(':') + 1).slice(0, SHORT_ID)
}

/** One row per name; in a tree a further one per platform. */
async function rowsOf(image: ImageRecord, { layers }: ImageStore, options: RowOptions): Promise<readonly ListingRow[]> {
  const own = ownManifest(image)
  const names = shownNames(image.names, options.filters)
  const sizeBytes = own === null ? 0 : await imageSize(own, layers)
  const common = fieldsOf(image, own, sizeBytes, options)
  const named = names.length === 0 ? [{ Repository: NONE, Tag: NONE }] : names.map(nameFields)
  const rows = named.map(name => ordered({ ...common, ...name }))
  if (!options.tree) return rows
  const platforms = image.manifests.map(async manifest =>
    ordered({
      ...fieldsOf(image, manifest, await imageSize(manifest, layers), options),
      Repository: `  └─ ${manifest.platform}`,
      Tag: '',
    }),
  )
  return [...rows, ...(await Promise.all(platforms))]
}

function nameFields(name: string): { readonly Repository: string; readonly Tag: string } {
  const reference = parseReference(name)
  return { Repository: familiarReference({ ...reference, tag: null, digest: null }), Tag: reference.tag ?? NONE }
}

function fieldsOf(
  image: ImageRecord,
  manifest: ImageManifest | null,
  sizeBytes: number,
  { whole, nowMs }: RowOptions,
): Readonly<Record<string, string>> {
  const createdMs = manifest?.createdMs ?? null
  return {
    Containers: UNKNOWN,
    CreatedAt: createdMs === null ? UNKNOWN : goTime(createdMs),
    CreatedSince: createdMs === null ? UNKNOWN : `${humanDuration(nowMs - createdMs)} ago`,
    Digest: image.names.length === 0 ? NONE : image.digest,
    ID: shownId(manifest?.configDigest ?? image.digest, whole),
    Platform: manifest?.platform ?? '',
    SharedSize: UNKNOWN,
    Size: humanSize(sizeBytes),
    UniqueSize: UNKNOWN,
    VirtualSize: humanSize(sizeBytes, 4),
  }
}

/** Docker's JSON has the fields by name. */
function ordered(row: Readonly<Record<string, string>>): ListingRow {
  return Object.fromEntries(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))
}
