/** Descriptors: what refers to content. Source: image-spec › OCI Content Descriptors. */
import { integer, map, matching, object, required, type Shape, text, texts } from '../lib/json-shape.ts'
import { type Digest, digest } from './digest.ts'
import { type Platform, platform } from './platform.ts'

/** Names a blob and says what it is and how large; nothing else about it is believed before both are verified. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly sizeBytes: number
  readonly urls?: readonly string[]
  /** The content itself, in base64. */
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

const wire: Shape<WireDescriptor> = object<WireDescriptor>({
  mediaType: required(mediaType),
  digest: required(digest),
  size: required(integer(0, Number.MAX_SAFE_INTEGER)),
  urls: texts,
  data: matching(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/),
  artifactType: mediaType,
  annotations,
  platform,
})

/** The shape of a descriptor. */
export const descriptor: Shape<Descriptor> = (value, place) => {
  const { size, ...rest } = wire(value, place)
  return { ...rest, sizeBytes: size }
}
