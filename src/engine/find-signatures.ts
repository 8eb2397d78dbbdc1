import type { Digest } from '../oci/digest.ts'
import type { Reference } from '../oci/reference.ts'
import { ProxyRules, proxySettings } from '../registry/proxy-rules.ts'
import { type AttachmentSource, fetchAttached, fetchBundles } from '../security/trust/fetch-attachments.ts'
import { fetchLookaside } from '../security/trust/fetch-lookaside.ts'
import { registryOrigin } from '../security/trust/image-origin.ts'
import type { ImageSignature } from '../security/trust/image-signature.ts'
import { type SignaturePlaces, SignaturePlaceTable } from '../security/trust/signature-places.ts'
import { defaultLookaside, signaturePlacesDirectory } from '../security/trust/trust-files.ts'
import type { TrustRequirement } from '../security/trust/trust-policy.ts'

/** Where this machine's configuration says that the signatures of a reference are. */
export function signaturePlacesOf(reference: Reference): SignaturePlaces {
  const table = SignaturePlaceTable.read(signaturePlacesDirectory(), defaultLookaside())
  return table.placesOf(registryOrigin(reference).scopes)
}

/**
 * The signatures of an image of a registry, of all of its documents, as far as requirements ask for their kind.
 * @throws {BerthError} unavailable: a place of signatures does not answer, which is not the same as having none
 */
export async function findSignatures(
  reference: Reference,
  digests: readonly Digest[],
  requirements: readonly TrustRequirement[],
  source: AttachmentSource,
  signal?: AbortSignal,
): Promise<readonly ImageSignature[]> {
  const { lookaside, useAttachments } = signaturePlacesOf(reference)
  const wants = (type: TrustRequirement['type']): boolean => requirements.some(each => each.type === type)
  const found: ImageSignature[] = []
  for (const digest of new Set(digests)) {
    if (wants('signedBy') && lookaside !== null) {
      const proxies = new ProxyRules(proxySettings(process.env))
      const all = await fetchLookaside(lookaside, reference, digest, proxies, signal)
      found.push(...all.map(bytes => ({ kind: 'simple', subject: digest, bytes }) as const))
    }
    if (wants('sigstoreSigned') && useAttachments) {
      found.push(...(await fetchAttached(source, reference, digest, signal)))
      found.push(...(await fetchBundles(source, reference, digest, signal)))
    }
  }
  return found
}
