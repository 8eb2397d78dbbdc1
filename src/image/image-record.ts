import type { Digest } from '../oci/digest.ts'
import { bestMatch, linuxPlatform, parsePlatform } from '../oci/platform.ts'

/** One layer of an image: its blob, and the digest of what is in it, by which it is unpacked. */
export interface ImageLayer {
  readonly digest: Digest
  /** Of the blob, compressed as it came. */
  readonly sizeBytes: number
  readonly diffId: Digest
}

/** One platform of an image, of which everything is here. */
export interface ImageManifest {
  readonly digest: Digest
  /** As printPlatform() writes it: `linux/arm64/v8`. */
  readonly platform: string
  readonly configDigest: Digest
  /** When the image was made, in milliseconds since 1970; null: its config does not say. */
  readonly createdMs: number | null
  /** The lowest first. */
  readonly layers: readonly ImageLayer[]
  readonly labels: Readonly<Record<string, string>>
}

/** An image as the engine remembers it. */
export interface ImageRecord {
  /** Of the target: the index, or the only manifest. */
  readonly digest: Digest
  readonly mediaType: string
  /** Of the target document. */
  readonly sizeBytes: number
  /** Canonical references, each with a tag or a digest, sorted; none: the image is dangling. */
  readonly names: readonly string[]
  /** At least one, sorted by platform. */
  readonly manifests: readonly ImageManifest[]
  /** When it came, and when a container was last made of it; milliseconds since 1970. */
  readonly pulledMs: number
  readonly usedMs: number
  /** No garbage collector may take it. */
  readonly pinned: boolean
}

/** The manifest that fits this machine best, else the first: what is shown of an image where only one can be. */
export function ownManifest({ manifests }: Pick<ImageRecord, 'manifests'>): ImageManifest | null {
  const candidates = manifests.map(manifest => ({ manifest, platform: parsePlatform(manifest.platform) }))
  return bestMatch(linuxPlatform(process.arch), candidates)?.manifest ?? manifests[0] ?? null
}

/** The id that users see: the digest of the config, as with docker and podman; without a manifest that of the target. */
export function imageId(record: Pick<ImageRecord, 'digest' | 'manifests'>): Digest {
  return ownManifest(record)?.configDigest ?? record.digest
}
