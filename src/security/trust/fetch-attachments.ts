import { BerthError } from '../../lib/error.ts'
import type { Descriptor } from '../../oci/descriptor.ts'
import { type Digest, digestAlgorithm, digestHex } from '../../oci/digest.ts'
import { DOCUMENT_LIMIT_BYTES } from '../../oci/document.ts'
import { parseManifest } from '../../oci/manifest.ts'
import { isManifestType } from '../../oci/media-types.ts'
import type { Reference } from '../../oci/reference.ts'
import { COSIGN_ANNOTATIONS } from './attached-signature.ts'
import type { AttachedParts, AttachedSignature, BundleSignature } from './image-signature.ts'

/** What fetching attachments needs of a registry's client. */
export interface AttachmentSource {
  fetchDocument(
    reference: Reference,
    signal?: AbortSignal,
  ): Promise<{ readonly descriptor: Descriptor; readonly bytes: Uint8Array }>
  openBlob(
    reference: Reference,
    descriptor: Descriptor,
    options?: { readonly signal?: AbortSignal },
  ): AsyncIterable<Uint8Array>
  referrers(
    reference: Reference,
    digest: Digest,
    artifactType: string | null,
    signal?: AbortSignal,
  ): Promise<readonly Descriptor[]>
}

/** A payload of cosign. */
const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json'
const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json'
/** Signatures of one document; each is fetched and verified. */
const COUNT_LIMIT = 128

/** The signatures in cosign's image of signatures, `ALGORITHM-HEX.sig` beside the image. Source: Cosign Signature Specification › Storage. */
export async function fetchAttached(
  source: AttachmentSource,
  reference: Reference,
  digest: Digest,
  signal?: AbortSignal,
): Promise<readonly AttachedSignature[]> {
  const tag = `${digestAlgorithm(digest)}-${digestHex(digest)}.sig`
  const document = await ifThere(() => source.fetchDocument({ ...reference, tag, digest: null }, signal))
  if (document === null) return []
  const layers = layersOf(document, tag).filter(({ mediaType }) => mediaType === SIMPLE_SIGNING)
  const signatures: AttachedSignature[] = []
  for (const layer of layers.slice(0, COUNT_LIMIT)) {
    const { annotations = {} } = layer
    const kept = Object.values(COSIGN_ANNOTATIONS).flatMap(name => {
      const value = annotations[name]
      return value === undefined ? [] : [[name, value] as const]
    })
    const payload = await readBlob(source, reference, layer, signal)
    const parts: AttachedParts = { payload: payload.toString('base64'), annotations: Object.fromEntries(kept) }
    signatures.push({ kind: 'attached', subject: digest, bytes: Buffer.from(JSON.stringify(parts)) })
  }
  return signatures
}

/** The sigstore bundles that refer to the document. Source: Cosign Bundle Specification; distribution-spec › Listing Referrers. */
export async function fetchBundles(
  source: AttachmentSource,
  reference: Reference,
  digest: Digest,
  signal?: AbortSignal,
): Promise<readonly BundleSignature[]> {
  const bundles = (await source.referrers(reference, digest, BUNDLE, signal)).slice(0, COUNT_LIMIT)
  const signatures: BundleSignature[] = []
  for (const each of bundles) {
    const document = await ifThere(() => source.fetchDocument({ ...reference, tag: null, digest: each.digest }, signal))
    if (document === null) continue
    for (const layer of layersOf(document, each.digest).filter(({ mediaType }) => mediaType === BUNDLE))
      signatures.push({ kind: 'bundle', subject: digest, bytes: await readBlob(source, reference, layer, signal) })
  }
  return signatures
}

function layersOf(
  { descriptor: { mediaType }, bytes }: { readonly descriptor: Descriptor; readonly bytes: Uint8Array },
  name: string,
): readonly Descriptor[] {
  return isManifestType(mediaType) ? parseManifest(bytes, `signatures ${name}`, mediaType).layers : []
}

/** That there are no signatures is no error; whether it is a refusal is for the policy to say. */
async function ifThere<T>(fetch: () => Promise<T>): Promise<T | null> {
  try {
    return await fetch()
  } catch (error) {
    if (error instanceof BerthError && error.category === 'notFound') return null
    throw error
  }
}

/** Not compared with its digest: what counts is the signature on it. */
async function readBlob(
  source: AttachmentSource,
  reference: Reference,
  descriptor: Descriptor,
  signal?: AbortSignal,
): Promise<Buffer> {
  const { digest, sizeBytes } = descriptor
  if (sizeBytes > DOCUMENT_LIMIT_BYTES)
    throw new BerthError(
      'invalidArgument',
      `Cannot fetch signature "${digest}": it has ${sizeBytes} bytes, expected at most ${DOCUMENT_LIMIT_BYTES}`,
    )
  const pieces: Uint8Array[] = []
  for await (const piece of source.openBlob(reference, descriptor, signal === undefined ? {} : { signal }))
    pieces.push(piece)
  return Buffer.concat(pieces)
}
