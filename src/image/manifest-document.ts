import { BerthError } from '../lib/error.ts'
import { object, parseJson } from '../lib/json-shape.ts'
import { type Descriptor, mediaType } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { type ImageDocument, parseImageConfig } from '../oci/image-config.ts'
import { OCI_MANIFEST } from '../oci/media-types.ts'
import type { ImageManifest } from './image-record.ts'
import type { ImageStore } from './image-store.ts'

/** The config of an image, parsed and as it is written. */
export interface ManifestDocument {
  readonly document: ImageDocument
  readonly json: string
}

/** Reads the config of a platform of an image. @throws {BerthError} notFound; invalidArgument: damaged */
export async function readManifestDocument(
  { configDigest }: Pick<ImageManifest, 'configDigest'>,
  content: ImageStore['content'],
): Promise<ManifestDocument> {
  const sizeBytes = await content.find(configDigest)
  if (sizeBytes === null) {
    throw new BerthError(
      'notFound',
      `Cannot read config ${configDigest}: it is not there; "berth image verify" says more`,
    )
  }
  const json = Buffer.from(await content.readDocument({ digest: configDigest, sizeBytes })).toString()
  return { document: parseImageConfig(json, `config ${configDigest}`), json }
}

const typed = object<{ readonly mediaType?: string }>({ mediaType })

/**
 * The descriptor of a manifest that is here. It says itself what it is, but those of the OCI may leave it out.
 * @throws {BerthError} notFound; invalidArgument: damaged
 */
export async function manifestDescriptor(digest: Digest, content: ImageStore['content']): Promise<Descriptor> {
  const sizeBytes = await content.find(digest)
  if (sizeBytes === null) throw new BerthError('notFound', `Cannot read manifest ${digest}: it is not there`)
  const json = Buffer.from(await content.readDocument({ digest, sizeBytes })).toString()
  const { value } = parseJson(json, `manifest ${digest}`, typed)
  return { mediaType: value.mediaType ?? OCI_MANIFEST, digest, sizeBytes }
}
