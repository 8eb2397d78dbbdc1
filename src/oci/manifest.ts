/**
 * Manifests and indexes, OCI and Docker schema 2.
 * Source: image-spec › Image Manifest, Image Index. Unknown properties are ignored, as the specification demands.
 */
import { BerthError } from '../lib/error.ts'
import { integer, list, object, parseJson, required, type Shape, shapeError } from '../lib/json-shape.ts'
import { annotations, type Descriptor, descriptor, mediaType } from './descriptor.ts'
import { isIndexType, isManifestType } from './media-types.ts'

/** One image: its config and its layers, the lowest first. */
export interface Manifest {
  readonly schemaVersion: number
  readonly mediaType?: string
  readonly artifactType?: string
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
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

/** No document of a registry or a layout is larger; registries themselves accept no larger manifests. */
export const DOCUMENT_LIMIT_BYTES = 4 * 1024 * 1024

/** More layers than any store allows (Docker 127, overlayfs 500 lower directories). */
const LAYERS_LIMIT = 500

// A document that can be read as both kinds has had two meanings for two readers (CVE-2021-41190).
const refused: Shape<NonNullable<unknown>> = (value, place) => {
  throw shapeError(value, place, 'it to be absent in a document of this kind')
}

const manifest = object<Manifest & { readonly manifests?: unknown }>({
  schemaVersion: required(integer(2, 2)),
  mediaType,
  artifactType: mediaType,
  config: required(descriptor),
  layers: required(limited(list(descriptor, 1), LAYERS_LIMIT)),
  subject: descriptor,
  annotations,
  manifests: refused,
})

const index = object<Index & { readonly config?: unknown; readonly layers?: unknown }>({
  schemaVersion: required(integer(2, 2)),
  mediaType,
  artifactType: mediaType,
  manifests: required(list(descriptor)),
  subject: descriptor,
  annotations,
  config: refused,
  layers: refused,
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
 * @throws {BerthError} invalidArgument: of another shape, or saying it is something else than the descriptor says
 */
export function parseManifest(json: string, name: string, mediaType: string): Manifest {
  return sameType(parseJson(json, name, manifest).value, name, mediaType, isManifestType)
}

/** Parses an index. See {@link parseManifest}. */
export function parseIndex(json: string, name: string, mediaType: string): Index {
  return sameType(parseJson(json, name, index).value, name, mediaType, isIndexType)
}

function sameType<T extends { readonly mediaType?: string }>(
  document: T,
  name: string,
  expected: string,
  isKind: (mediaType: string) => boolean,
): T {
  // The OCI's documents may leave it out; Docker's never do, but say nothing else then either.
  const actual = document.mediaType ?? expected
  if (actual === expected && isKind(actual)) return document
  throw new BerthError('invalidArgument', `Cannot parse ${name}: mediaType is ${actual}, expected ${expected}`)
}
