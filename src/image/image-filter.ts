import { BerthError } from '../lib/error.ts'
import { matchesGlob } from '../lib/glob.ts'
import { familiarReference, parseReference } from '../oci/reference.ts'
import { findImage } from './find-image.ts'
import { type ImageRecord, ownManifest } from './image-record.ts'
import type { ImageRecords } from './image-records.ts'

/** Whether an image is listed. */
export type ImageTest = (image: ImageRecord) => boolean

/** What `--filter` can ask for where images are listed. */
const LIST_FILTERS: ReadonlySet<string> = new Set([
  'dangling',
  'label',
  'label!',
  'before',
  'since',
  'reference',
  'until',
])

/** What `--filter` can ask for where images are pruned. */
export const PRUNE_FILTERS: ReadonlySet<string> = new Set(['dangling', 'label', 'label!', 'until'])

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
/** Go's durations, `1h30m`. */
const DURATION = /^(?:\d+(?:\.\d+)?(?:ms|[smh]))+$/

/**
 * Reads `--filter name=value` as docker does: of one name any of its values must hold (of `label` all), and all names.
 * @throws {BerthError} invalidArgument: no such filter or value; notFound: `before` and `since` name no image
 */
export function imageFilter(
  texts: readonly string[],
  records: ImageRecords,
  nowMs: number,
  allowed: ReadonlySet<string> = LIST_FILTERS,
): ImageTest {
  const groups = Map.groupBy(texts.map(readFilter), ([name]) => name)
  const tests = [...groups].map(([name, pairs]): ImageTest => {
    if (!allowed.has(name)) {
      throw new BerthError('invalidArgument', `Cannot filter images by "${name}": expected ${[...allowed].join(', ')}`)
    }
    const each = pairs.map(([, value]) => testOf(name, value, records, nowMs))
    return name.startsWith('label') ? image => each.every(test => test(image)) : image => each.some(test => test(image))
  })
  return image => tests.every(test => test(image))
}

/** The names of an image that `reference` filters let through; without such a filter all. */
export function shownNames(names: readonly string[], texts: readonly string[]): readonly string[] {
  const patterns = texts.map(readFilter).flatMap(([name, value]) => (name === 'reference' ? [value] : []))
  return patterns.length === 0 ? names : names.filter(name => patterns.some(pattern => matchesName(name, pattern)))
}

/** Name and value of `--filter`. @throws {BerthError} invalidArgument */
export function readFilter(text: string): readonly [name: string, value: string] {
  const [, name, value] = /^(label!|[^=!]+)=(.*)$/s.exec(text) ?? []
  if (name === undefined || value === undefined) {
    throw new BerthError('invalidArgument', `Cannot use filter "${text}": expected NAME=VALUE`)
  }
  return [name.trim().toLowerCase(), value.trim()]
}

function testOf(name: string, value: string, records: ImageRecords, nowMs: number): ImageTest {
  switch (name) {
    case 'dangling': {
      const wanted = isTruth(value)
      return image => (image.names.length === 0) === wanted
    }
    case 'label':
      return image => matchesLabel(labelsOf(image), value)
    case 'label!':
      return image => !matchesLabel(labelsOf(image), value)
    case 'before': {
      const limit = createdMs(findImage(value, records).image)
      return image => createdMs(image) < limit
    }
    case 'since': {
      const limit = createdMs(findImage(value, records).image)
      return image => createdMs(image) > limit
    }
    case 'until': {
      const limit = momentMs(value, nowMs)
      return image => createdMs(image) < limit
    }
    default:
      return image => image.names.some(each => matchesName(each, value))
  }
}

function isTruth(value: string): boolean {
  if (['1', 't', 'true'].includes(value.toLowerCase())) return true
  if (['0', 'f', 'false'].includes(value.toLowerCase())) return false
  throw new BerthError('invalidArgument', `Cannot use filter "dangling=${value}": expected true or false`)
}

function labelsOf(image: ImageRecord): Readonly<Record<string, string>> {
  return ownManifest(image)?.labels ?? {}
}

/** Whether there is a label as `--filter label=…` names it: `KEY` or `KEY=VALUE`. */
export function matchesLabel(labels: Readonly<Record<string, string>>, value: string): boolean {
  const equals = value.indexOf('=')
  const key = equals < 0 ? value : value.slice(0, equals)
  return Object.hasOwn(labels, key) && (equals < 0 || labels[key] === value.slice(equals + 1))
}

function createdMs(image: ImageRecord): number {
  return ownManifest(image)?.createdMs ?? 0
}

/** A name matches with its tag or without: `debian`, `debian:*`, `example.com/*\/app`. */
function matchesName(name: string, pattern: string): boolean {
  const reference = parseReference(name)
  const familiar = familiarReference(reference)
  const repository = familiarReference({ ...reference, tag: null, digest: null })
  return [familiar, repository, name].some(text => matchesGlob(text, pattern))
}

/**
 * The value of `--filter until=…` in milliseconds since 1970: a duration before now, seconds since 1970, or an RFC 3339 date, with or
 * without a time.
 * @throws {BerthError} invalidArgument
 */
export function momentMs(value: string, nowMs: number): number {
  if (DURATION.test(value)) {
    const parts = value.matchAll(/(\d+(?:\.\d+)?)(ms|[smh])/g)
    return nowMs - [...parts].reduce((sum, [, count, unit = '']) => sum + Number(count) * (UNITS_MS[unit] ?? 0), 0)
  }
  if (/^\d+(?:\.\d+)?$/.test(value)) return Number(value) * 1000
  const date = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?$/.test(value)
    ? Date.parse(value)
    : Number.NaN
  if (!Number.isNaN(date)) return date
  throw new BerthError(
    'invalidArgument',
    `Cannot use filter "until=${value}": expected a duration such as 24h, seconds since 1970, or an RFC 3339 date`,
  )
}
