import type { OciLayout } from '../content/oci-layout.ts'
import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { type Manifest, parseIndex, parseManifest } from '../oci/manifest.ts'
import { isManifestType } from '../oci/media-types.ts'
import type { Platform } from '../oci/platform.ts'
import { chooseManifest, INDEX_DEPTH_LIMIT, listed } from './choose-manifest.ts'
import { REF_NAME } from './image-index.ts'

/**
 * The manifest of the image that a layout has under a tag for a platform. Without a tag the layout must hold one image.
 * @throws {BerthError} notFound: no such tag, or nothing for the platform; conflict: several images and no tag;
 * invalidArgument: a damaged document
 */
export async function resolveManifest(layout: OciLayout, tag: string | null, platform: Platform): Promise<Manifest> {
  let candidates: readonly Descriptor[] = tagged(layout, tag)
  for (let depth = 0; depth <= INDEX_DEPTH_LIMIT; depth++) {
    const chosen = chooseManifest(candidates, platform, `"${layout.path}"`)
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
    throw new BerthError(
      'conflict',
      `Cannot choose an image of "${layout.path}": it holds ${listedTags(names)}; add :TAG`,
    )
  }
  const found = manifests.filter(each => each.annotations?.[REF_NAME] === tag)
  if (found.length > 0) return found
  throw new BerthError('notFound', `Cannot find tag "${tag}" in "${layout.path}": it holds ${listedTags(names)}`)
}

function listedTags(names: readonly (string | undefined)[]): string {
  if (names.length === 0) return 'nothing'
  return listed(names.map(name => (name === undefined ? 'one without a tag' : `"${name}"`)))
}
