/** Descriptors: what refers to content. Source: image-spec › OCI Content Descriptors. */
import {
  exactObject,
  integer,
  map,
  matching,
  required,
  type Shape,
  shapeError,
  text,
  texts,
} from '../lib/json-shape.ts'
import { type Digest, digest, parseDigest } from './digest.ts'
import { OCI_EMPTY } from './media-types.ts'
import { type Platform, platform } from './platform.ts'

/** Names a blob and says what it is and how large; nothing else about it is believed before both are verified. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly sizeBytes: number
  readonly urls?: readonly string[]
  /** The content itself, in base64 and `sizeBytes` long; as unverified as any other. */
  readonly data?: string
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
  /** In an index: what the manifest is for. */
  readonly platform?: Platform
}

interface WireDescriptor extends Omit<Descriptor, 'sizeBytes'> {
  readonly size: number
}

/** The shape of a media type. Source: RFC 6838, section 4.2. */
export const mediaType: Shape<string> = matching(
  /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/,
)

/** The shape of annotations. */
export const annotations: Shape<Readonly<Record<string, string>>> = map(text)

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

const base64: Shape<string> = (value, place) => {
  const found = text(value, place)
  if (found.length % 4 !== 0 || !BASE64.test(found)) throw shapeError(value, place, 'base64')
  return found
}

const wire: Shape<WireDescriptor> = exactObject<WireDescriptor>({
  mediaType: required(mediaType),
  digest: required(digest),
  size: required(integer(0, Number.MAX_SAFE_INTEGER)),
  urls: texts,
  data: base64,
  artifactType: mediaType,
  annotations,
  platform,
})

/** The shape of a descriptor. */
export const descriptor: Shape<Descriptor> = (value, place) => {
  const { size, ...rest } = wire(value, place)
  if (rest.data !== undefined && decodedLength(rest.data) !== size) {
    throw shapeError(value, place, `data of ${size} bytes as size says, not ${decodedLength(rest.data)}`)
  }
  return { ...rest, sizeBytes: size }
}

function decodedLength(base64: string): number {
  return (base64.length / 4) * 3 - (/=*$/.exec(base64)?.[0].length ?? 0)
}

/** What an artifact names where it has nothing to name. Source: image-spec › Guidance for an Empty Descriptor. */
export const EMPTY_DESCRIPTOR: Descriptor = {
  mediaType: OCI_EMPTY,
  digest: parseDigest('sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'),
  sizeBytes: 2,
  data: 'e30=',
}
