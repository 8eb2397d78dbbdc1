import { messageOf } from '../../lib/error.ts'
import type { Digest } from '../../oci/digest.ts'
import { publicKeys, verifyByKeys } from './attached-signature.ts'
import { GpgVerifier } from './gpg-signature.ts'
import type { ImageSignature } from './image-signature.ts'
import { readKeys } from './key-material.ts'
import { matchesIdentity } from './signed-identity.ts'
import { parseSigningPayload, type SigningPayload } from './signing-payload.ts'
import type { SignedBy, SignedIdentity, SigstoreSigned, TrustRequirement } from './trust-policy.ts'

/** An image that somebody wants, and what is known about it. */
export interface JudgedImage {
  /** Its canonical name; null: it has none that a signature could be for. */
  readonly reference: string | null
  /** Of its documents, each naming the next: the signature of one vouches for those after it. */
  readonly digests: readonly Digest[]
  readonly signatures: readonly ImageSignature[]
}

/** The first requirement that an image does not meet. */
export interface UnmetRequirement {
  readonly requirement: TrustRequirement
  readonly why: string
}

/** Reasons that one refusal names; more would only hide the first. */
const REASONS_LIMIT = 3

/**
 * Judges an image by requirements, all of which have to be met. Null: they are.
 * @throws {BerthError} keys that the policy names are not there or are none; there is no gpg
 */
export async function evaluateRequirements(
  requirements: readonly TrustRequirement[],
  image: JudgedImage,
): Promise<UnmetRequirement | null> {
  for (const requirement of requirements) {
    const why = await unmet(requirement, image)
    if (why !== null) return { requirement, why }
  }
  return null
}

async function unmet(requirement: TrustRequirement, image: JudgedImage): Promise<string | null> {
  switch (requirement.type) {
    case 'insecureAcceptAnything':
      return null
    case 'reject':
      return 'it rejects every image'
    case 'signedBy':
      return await unmetByGpg(requirement, image)
    case 'sigstoreSigned':
      return await unmetBySigstore(requirement, image)
  }
}

async function unmetByGpg({ keys, signedIdentity }: SignedBy, image: JudgedImage): Promise<string | null> {
  const signatures = image.signatures.filter(({ kind }) => kind === 'simple')
  const keyrings = await readKeys(keys)
  if (signatures.length === 0) return 'no OpenPGP signature of it was found'
  await using gpg = await GpgVerifier.open(keyrings)
  return await firstAccepted(signatures, image, signedIdentity, async ({ bytes }) =>
    parseSigningPayload(await gpg.payloadOf(bytes), 'atomic container signature'),
  )
}

async function unmetBySigstore(requirement: SigstoreSigned, image: JudgedImage): Promise<string | null> {
  const { signer, rekorKeys, signedIdentity } = requirement
  const signatures = image.signatures.filter(({ kind }) => kind !== 'simple')
  const keys = signer.kind === 'keys' ? publicKeys(await readKeys(signer.keys)) : null
  const logKeys = rekorKeys === null ? null : publicKeys(await readKeys(rekorKeys))
  const authorities = signer.kind === 'fulcio' ? await readKeys(signer.authority) : []
  if (signatures.length === 0) return 'no sigstore signature of it was found'
  // The packages of sigstore are loaded when something of theirs is to be verified.
  const load = async () => {
    const { SigstoreVerifier } = await import('./sigstore-verifier.ts')
    const fulcio = signer.kind === 'fulcio' ? { ...signer, authorities } : null
    return new SigstoreVerifier({ keys, fulcio, logKeys })
  }
  return await firstAccepted(signatures, image, signedIdentity, async signature => {
    if (signature.kind === 'bundle') return (await load()).bundle(signature)
    if (signature.kind === 'simple') throw new Error('not of sigstore')
    return keys !== null && logKeys === null ? verifyByKeys(signature, keys) : (await load()).attached(signature)
  })
}

/** Why none of the signatures is accepted; null: one is. */
async function firstAccepted(
  signatures: readonly ImageSignature[],
  { digests, reference }: JudgedImage,
  identity: SignedIdentity,
  verify: (signature: ImageSignature) => Promise<SigningPayload>,
): Promise<string | null> {
  const reasons = new Set<string>()
  for (const signature of signatures) {
    let signed: SigningPayload
    try {
      signed = await verify(signature)
    } catch (error) {
      // One that is not right takes nothing from the others; why it is not is told if none is.
      reasons.add(`a signature is not accepted: ${messageOf(error)}`)
      continue
    }
    if (!digests.includes(signed.digest)) reasons.add(`a signature is for ${signed.digest}`)
    else if (matchesIdentity(identity, reference, signed.reference)) return null
    else if (signed.reference === '') reasons.add('a signature names no image')
    else reasons.add(`a signature is for the name "${signed.reference}"`)
  }
  return [...reasons].slice(0, REASONS_LIMIT).join('; ')
}
