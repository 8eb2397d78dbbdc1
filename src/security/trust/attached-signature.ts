import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { BerthError, messageOf } from '../../lib/error.ts'
import { map, object, parseJson, required, type Shape, text } from '../../lib/json-shape.ts'
import { type AttachedParts, type AttachedSignature, SignatureRefusal } from './image-signature.ts'
import { parseSigningPayload, type SigningPayload } from './signing-payload.ts'

/** The annotations of a signature in cosign's image of signatures. Source: Cosign Signature Specification › Storage, Properties. */
export const COSIGN_ANNOTATIONS = {
  signature: 'dev.cosignproject.cosign/signature',
  certificate: 'dev.sigstore.cosign/certificate',
  chain: 'dev.sigstore.cosign/chain',
  bundle: 'dev.sigstore.cosign/bundle',
} as const

const parts: Shape<AttachedParts> = object<AttachedParts>({
  payload: required(text),
  annotations: required(map(text)),
})

/** The payload and annotations of a signature that was kept. */
export function attachedParts({ bytes }: AttachedSignature): {
  readonly payload: Uint8Array
  readonly annotations: Readonly<Record<string, string>>
} {
  const { payload, annotations } = parseJson(Buffer.from(bytes).toString('utf8'), 'kept signature', parts).value
  return { payload: Buffer.from(payload, 'base64'), annotations }
}

/** Verifies a signature by keys. @throws {SignatureRefusal} it is of none of them */
export function verifyByKeys(signature: AttachedSignature, keys: readonly KeyObject[]): SigningPayload {
  const { payload, annotations } = attachedParts(signature)
  const signed = signatureBytes(annotations)
  if (!keys.some(key => isSignedBy(payload, signed, key)))
    throw new SignatureRefusal('it is of none of the keys that the policy accepts')
  return parseSigningPayload(payload, 'cosign container image signature')
}

/** The signature of a payload. @throws {SignatureRefusal} there is none */
export function signatureBytes(annotations: Readonly<Record<string, string>>): Buffer {
  const encoded = annotations[COSIGN_ANNOTATIONS.signature]
  if (encoded === undefined) throw new SignatureRefusal('it has no signature')
  return Buffer.from(encoded, 'base64')
}

/** Public keys in PEM. @throws {BerthError} invalidArgument: one is no public key */
export function publicKeys(documents: readonly Uint8Array[]): readonly KeyObject[] {
  return documents.map(document => {
    const pem = Buffer.from(document).toString('utf8')
    // createPublicKey would as well derive one from a private key or a certificate, which was not meant to be there.
    if (!/-----BEGIN (?:RSA )?PUBLIC KEY-----/.test(pem) || /PRIVATE KEY/.test(pem))
      throw new BerthError('invalidArgument', 'Cannot use a key of the trust policy: it is no public key in PEM')
    try {
      return createPublicKey(pem)
    } catch (error) {
      throw new BerthError('invalidArgument', `Cannot use a key of the trust policy: ${messageOf(error)}`, {
        cause: error,
      })
    }
  })
}

function isSignedBy(payload: Uint8Array, signature: Uint8Array, key: KeyObject): boolean {
  // Edwards curves hash by themselves (RFC 8032).
  const hash = key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  try {
    return verify(hash, payload, key, signature)
  } catch {
    // What is no signature at all, or not of this kind of key.
    return false
  }
}
