import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { isIndexType, isManifestType } from '../oci/media-types.ts'
import { bestMatch, type Platform, printPlatform } from '../oci/platform.ts'
import { isForNoPlatform } from './image-documents.ts'

/** An index may name indexes; real ones do so once. */
export const INDEX_DEPTH_LIMIT = 4
const LISTED_LIMIT = 10

/**
 * Of an index's entries the one that fits a platform best, else the only one that does not say what it is for. `where` is what
 * offers them, for errors.
 * @throws {BerthError} notFound: nothing fits
 */
export function chooseManifest(entries: readonly Descriptor[], platform: Platform, where: string): Descriptor {
  const candidates = entries.filter(
    entry => (isManifestType(entry.mediaType) || isIndexType(entry.mediaType)) && !isForNoPlatform(entry),
  )
  const best = bestMatch(platform, candidates)
  const silent = candidates.filter(each => each.platform === undefined)
  const chosen = best ?? (silent.length === 1 ? silent[0] : undefined)
  if (chosen !== undefined) return chosen
  const offered = [...new Set(candidates.flatMap(each => (each.platform ? [printPlatform(each.platform)] : [])))]
  const holds = offered.length > 0 ? listed(offered) : `${silent.length} manifests of no platform`
  throw new BerthError('notFound', `Cannot find an image for ${printPlatform(platform)} in ${where}: it holds ${holds}`)
}

/** The first few of many, for an error. */
export function listed(names: readonly string[]): string {
  const rest = names.length - LISTED_LIMIT
  return `${names.slice(0, LISTED_LIMIT).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`
}
