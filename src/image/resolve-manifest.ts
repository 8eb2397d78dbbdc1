import type { OciLayout } from '../content/oci-layout.ts'
import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { type Manifest, parseIndex, parseManifest } from '../oci/manifest.ts'
import { isIndexType, isManifestType } from '../oci/media-types.ts'
import { bestMatch, type Platform, printPlatform } from '../oci/platform.ts'

const REF_NAME = 'org.opencontainers.image.ref.name'
/** An index may name indexes; real ones do so once. */
const INDEX_DEPTH_LIMIT = 4
const LISTED_LIMIT = 10

/**
 * The manifest of the image that a layout has under a tag for a platform. Without a tag the layout must hold one image.
 * @throws {BerthError} notFound: no such tag, or nothing for the platform; conflict: several images and no tag;
 * invalidArgument: a damaged document
 */
export async function resolveManifest(layout: OciLayout, tag: string | null, platform: Platform): Promise<Manifest> {
  let candidates: readonly Descriptor[] = tagged(layout, tag)
  for (let depth = 0; depth <= INDEX_DEPTH_LIMIT; depth++) {
    const chosen = choose(layout, candidates, platform)
    const name = `blob ${chosen.digest} of ${layout.path}`
    const json = await layout.readDocument(chosen)
    if (isManifestType(chosen.mediaType)) return parseManifest(json, name, chosen.mediaType)
    candidates = parseIndex(json, name, chosen.mediaType).manifests
  }
  throw new BerthError(
    'invalidArgument',
    `Cannot use image layout "${layout.path}": its indexes nest deeper than ${INDEX_DEPTH_LIMIT}`,
  )
}

function tagged(layout: OciLayout, tag: string | null): readonly Descriptor[] {
  const { manifests } = layout.index
  const names = [...new Set(manifests.map(each => each.annotations?.[REF_NAME]))]
  if (tag === null) {
    if (names.length <= 1) return manifests
    throw new BerthError('conflict', `Cannot choose an image of "${layout.path}": it holds ${listed(names)}; add :TAG`)
  }
  const found = manifests.filter(each => each.annotations?.[REF_NAME] === tag)
  if (found.length > 0) return found
  throw new BerthError('notFound', `Cannot find tag "${tag}" in "${layout.path}": it holds ${listed(names)}`)
}

function listed(names: readonly (string | undefined)[]): string {
  if (names.length === 0) return 'nothing'
  const shown = names.slice(0, LISTED_LIMIT).map(name => (name === undefined ? 'one without a tag' : `"${name}"`))
  return `${shown.join(', ')}${names.length > LISTED_LIMIT ? ` and ${names.length - LISTED_LIMIT} more` : ''}`
}

/** One that fits the platform, else the only one that does not say what it is for. */
function choose(layout: OciLayout, all: readonly Descriptor[], platform: Platform): Descriptor {
  const candidates = all.filter(({ mediaType }) => isManifestType(mediaType) || isIndexType(mediaType))
  const best = bestMatch(platform, candidates)
  const silent = candidates.filter(each => each.platform === undefined)
  const chosen = best ?? (silent.length === 1 ? silent[0] : undefined)
  if (chosen !== undefined) return chosen
  const offered = [...new Set(candidates.flatMap(each => (each.platform ? [printPlatform(each.platform)] : [])))]
  const holds =
    offered.length > 0 ? offered.slice(0, LISTED_LIMIT).join(', ') : `${silent.length} manifests of no platform`
  throw new BerthError(
    'notFound',
    `Cannot find an image for ${printPlatform(platform)} in "${layout.path}": it holds ${holds}`,
  )
}
