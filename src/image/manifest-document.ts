import { BerthError } from '../lib/error.ts'
import { type ImageDocument, parseImageConfig } from '../oci/image-config.ts'
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
