/**
 * What a trust policy says: which images are taken, by where they come from and who has signed them.
 * Source: containers-policy.json(5). Defined terms: a *transport* is a kind of place that images come from, a *scope* one of its places
 * or names, a *requirement* what an image of the scope has to meet; all requirements of the scope that fits best have to be met.
 */

/** A whole policy. */
export interface TrustPolicy {
  readonly default: readonly TrustRequirement[]
  /** Requirements by transport and scope; the scope `''` is the rest of the transport. */
  readonly transports: ReadonlyMap<string, ReadonlyMap<string, readonly TrustRequirement[]>>
}

/** One requirement. */
export type TrustRequirement =
  | { readonly type: 'insecureAcceptAnything' }
  | { readonly type: 'reject' }
  | SignedBy
  | SigstoreSigned

/** A signature by a key of an OpenPGP keyring, with the identity that it claims ("simple signing"). */
export interface SignedBy {
  readonly type: 'signedBy'
  readonly keys: KeySource
  readonly signedIdentity: SignedIdentity
}

/** A signature in sigstore's form. */
export interface SigstoreSigned {
  readonly type: 'sigstoreSigned'
  readonly signer: SigstoreSigner
  /** Keys of transparency logs, one of which has to have promised the entry; null: no log is asked for. */
  readonly rekorKeys: KeySource | null
  readonly signedIdentity: SignedIdentity
}

/** Whose signature it has to be. */
export type SigstoreSigner =
  | { readonly kind: 'keys'; readonly keys: KeySource }
  /** Somebody to whom a certificate authority has given a certificate for minutes; a log says that it was used in time. */
  | {
      readonly kind: 'fulcio'
      readonly authority: KeySource
      readonly oidcIssuer: string
      readonly subjectEmail: string
    }

/** Where keys or certificates are: absolute paths of files, or the policy itself. */
export type KeySource =
  | { readonly kind: 'files'; readonly paths: readonly string[] }
  | { readonly kind: 'data'; readonly data: readonly Uint8Array[] }

/** Which name a signature has to be for. */
export type SignedIdentity =
  | { readonly type: 'matchExact' }
  | { readonly type: 'matchRepoDigestOrExact' }
  | { readonly type: 'matchRepository' }
  | { readonly type: 'exactReference'; readonly dockerReference: string }
  | { readonly type: 'exactRepository'; readonly dockerRepository: string }
  | { readonly type: 'remapIdentity'; readonly prefix: string; readonly signedPrefix: string }

/** What holds where there is no policy file: every image whose digests are right is taken. */
export const PERMISSIVE_POLICY: TrustPolicy = { default: [{ type: 'insecureAcceptAnything' }], transports: new Map() }

/** Whether a requirement is met, or not, by what an image is, whatever signatures it has. */
export function needsSignature(requirement: TrustRequirement): requirement is SignedBy | SigstoreSigned {
  return requirement.type === 'signedBy' || requirement.type === 'sigstoreSigned'
}
