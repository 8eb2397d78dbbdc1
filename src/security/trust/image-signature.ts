import type { Digest } from '../../oci/digest.ts'

/** A signature as it was fetched: nothing of it is verified. */
export type ImageSignature = SimpleSignature | AttachedSignature | BundleSignature

/** An OpenPGP message around a payload (containers-signature(5)). */
export interface SimpleSignature {
  readonly kind: 'simple'
  /** Of the document that it was found for; what it is about stands in the payload. */
  readonly subject: Digest
  readonly bytes: Uint8Array
}

/** A layer of cosign's image of signatures: its payload and its annotations, as JSON of {@link AttachedParts}. */
export interface AttachedSignature {
  readonly kind: 'attached'
  readonly subject: Digest
  readonly bytes: Uint8Array
}

/** A sigstore bundle that refers to the document, as it is in the registry. */
export interface BundleSignature {
  readonly kind: 'bundle'
  readonly subject: Digest
  readonly bytes: Uint8Array
}

/** The parts of an {@link AttachedSignature}. */
export interface AttachedParts {
  /** In base64. */
  readonly payload: string
  readonly annotations: Readonly<Record<string, string>>
}

/** Why a signature does not count, told beside others; not an error as long as another does. */
export class SignatureRefusal extends Error {
  override readonly name = 'SignatureRefusal'
}
