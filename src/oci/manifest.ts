/**
 * Manifests and indexes, OCI and Docker schema 2.
 * Source: image-spec › Image Manifest, Image Index. Unknown properties are ignored, as the specification demands; what could be read
 * in two ways is refused.
 */
import { BerthError } from '../lib/error.ts'
import { exactObject, integer, list, required, type Shape, shapeError } from '../lib/json-shape.ts'
import { annotations, type Descriptor, descriptor, mediaType } from './descriptor.ts'
import { parseDocument } from './document.ts'
import { isIndexType, isManifestType, isSchema1Type } from './media-types.ts'

/** One image: its config and its layers, the lowest first. Or an artifact: its config and its blobs. */
export interface Manifest {
  readonly schemaVersion: number
  readonly mediaType?: string
  /** What an artifact is; without it the media type of `config` says so. */
  readonly artifactType?: string
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
  /** Another manifest that this one is about; it need not be there. */
  readonly subject?: Descriptor
  readonly annotations?: Readonly<Record<string, string>>
}

/** Images by platform (or, in a layout, by name). */
export interface Index {
  readonly schemaVersion: number
  readonly mediaType?: string
  readonly artifactType?: string
  readonly manifests: readonly Descriptor[]
  readonly subject?: Descriptor
  readonly annotations?: Readonly<Record<string, string>>
}

/** More layers than any store allows (Docker 127, overlayfs 500 lower directories). */
const LAYERS_LIMIT = 500

/**
 * Thousands of times the platforms there are, and the names that a layout's index has. Their size is bounded by that of the document; this
 * bounds what is done for each of them.
 */
const INDEX_LIMIT = 20_000

// A document that can be read as both kinds has had two meanings for two readers (CVE-2021-41190).
const refused: Shape<NonNullable<unknown>> = (value, place) => {
  throw shapeError(value, place, 'it to be absent in a document of this kind')
}

interface NoIndex {
  readonly manifests?: unknown
  readonly fsLayers?: unknown
}

interface NoManifest {
  readonly config?: unknown
  readonly layers?: unknown
  readonly fsLayers?: unknown
}

const manifest = exactObject<Manifest & NoIndex>({
  schemaVersion: required(integer(2, 2)),
  mediaType,
  artifactType: mediaType,
  config: required(descriptor),
  layers: required(limited(list(descriptor, 1), LAYERS_LIMIT)),
  subject: descriptor,
  annotations,
  manifests: refused,
  fsLayers: refused,
})

const index = exactObject<Index & NoManifest>({
  schemaVersion: required(integer(2, 2)),
  mediaType,
  artifactType: mediaType,
  manifests: required(limited(list(descriptor), INDEX_LIMIT)),
  subject: descriptor,
  annotations,
  config: refused,
  layers: refused,
  fsLayers: refused,
})

function limited<T>(shape: Shape<readonly T[]>, limit: number): Shape<readonly T[]> {
  return (value, place) => {
    if (Array.isArray(value) && value.length > limit) {
      throw shapeError(value, place, `an array of at most ${limit}, not ${value.length}`)
    }
    return shape(value, place)
  }
}

/**
 * Parses the manifest that a descriptor of `mediaType` names; `name` is its name in errors.
 * @throws {BerthError} invalidArgument: of another shape, or saying it is something else than the descriptor says; notImplemented:
 * of Docker's schema 1
 */
export function parseManifest(document: string | Uint8Array, name: string, mediaType: string): Manifest {
  checkType(name, mediaType, isManifestType)
  return sameType(parseDocument(document, name, manifest), name, mediaType)
}

/** Parses an index. See {@link parseManifest}. */
export function parseIndex(document: string | Uint8Array, name: string, mediaType: string): Index {
  checkType(name, mediaType, isIndexType)
  return sameType(parseDocument(document, name, index), name, mediaType)
}

function checkType(name: string, mediaType: string, isKind: (mediaType: string) => boolean): void {
  if (isKind(mediaType)) return
  if (isSchema1Type(mediaType)) {
    throw new BerthError(
      'notImplemented',
      `Cannot parse ${name}: it is a manifest of Docker's schema 1, which nobody can verify layers by, expected the image to be pushed anew`,
    )
  }
  const expected = isKind === isIndexType ? 'an index' : 'a manifest'
  throw new BerthError('invalidArgument', `Cannot parse ${name}: it is ${mediaType}, expected ${expected} of an image`)
}

function sameType<T extends { readonly mediaType?: string }>(document: T, name: string, expected: string): T {
  // The OCI's documents may leave it out; Docker's never do, but say nothing else then either.
  const actual = document.mediaType ?? expected
  if (actual === expected) return document
  throw new BerthError('invalidArgument', `Cannot parse ${name}: mediaType is ${actual}, expected ${expected}`)
}
