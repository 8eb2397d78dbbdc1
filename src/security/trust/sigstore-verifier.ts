import { createHash, type KeyObject } from 'node:crypto'
import { type Bundle, bundleFromJSON } from '@sigstore/bundle'
import { X509Certificate } from '@sigstore/core'
import { type TrustMaterial, toSignedEntity, Verifier } from '@sigstore/verify'
import { exactObject, integer, matching, object, parseJson, required, type Shape, text } from '../../lib/json-shape.ts'
import { parseDocument } from '../../oci/document.ts'
import { attachedParts, COSIGN_ANNOTATIONS, signatureBytes } from './attached-signature.ts'
import { type AttachedSignature, type BundleSignature, SignatureRefusal } from './image-signature.ts'
import { parseStatement } from './signed-statement.ts'
import { parseSigningPayload, type SigningPayload } from './signing-payload.ts'

/** Whose signatures are accepted. */
export interface AcceptedSigners {
  /** Public keys; null: certificates instead. */
  readonly keys: readonly KeyObject[] | null
  /** Of authorities, with the one who has to have got the certificate. */
  readonly fulcio: {
    /** PEM, each of any number of certificates; those of them that are self-signed are the roots. */
    readonly authorities: readonly Uint8Array[]
    readonly oidcIssuer: string
    readonly subjectEmail: string
  } | null
  /** Of transparency logs; null: none is asked for. */
  readonly logKeys: readonly KeyObject[] | null
}

/** A chain in an annotation is from whoever signed: a few are enough, and each costs the search for a path. */
const CHAIN_LIMIT = 4
/** Code signing, which is what such certificates are for (RFC 5280 › 4.2.1.12). */
const CODE_SIGNING = '1.3.6.1.5.5.7.3.3'
/** Authorities and logs are believed for as long as the policy names them. */
const ALWAYS = { start: new Date(0), end: new Date(8.64e15) }

/** Verifies sigstore's signatures by keys, certificates and logs that are given; nothing is asked of the network. */
export class SigstoreVerifier {
  readonly #signers: AcceptedSigners

  constructor(signers: AcceptedSigners) {
    this.#signers = signers
  }

  /** A signature in cosign's image of signatures. @throws {Error} it is not accepted */
  attached(signature: AttachedSignature): SigningPayload {
    const { payload, annotations } = attachedParts(signature)
    const certificates = this.#signers.fulcio === null ? [] : certificatesOf(annotations)
    this.#verify(attachedBundle(payload, annotations, certificates), payload, certificates.slice(1))
    return parseSigningPayload(payload, 'cosign container image signature')
  }

  /** A bundle whose content is a statement about the image. @throws {Error} it is not accepted */
  bundle({ bytes }: BundleSignature): SigningPayload {
    const json: Shape<NonNullable<unknown>> = value => value ?? {}
    const bundle = bundleFromJSON(parseDocument(bytes, 'sigstore bundle', json))
    if (bundle.content.$case !== 'dsseEnvelope')
      throw new SignatureRefusal('it signs something without saying what, expected a statement')
    const { payloadType, payload } = bundle.content.dsseEnvelope
    if (payloadType !== 'application/vnd.in-toto+json')
      throw new SignatureRefusal(`it signs ${payloadType}, expected a statement of in-toto`)
    this.#verify(bundle, null, [])
    return parseStatement(payload)
  }

  #verify(bundle: Bundle, artifact: Uint8Array | null, untrusted: readonly X509Certificate[]): void {
    const { keys, fulcio, logKeys } = this.#signers
    const isByKey = bundle.verificationMaterial.content.$case === 'publicKey'
    if (isByKey !== (fulcio === null))
      throw new SignatureRefusal(
        isByKey ? 'it is by a key, expected a certificate' : 'it is by a certificate, expected a key',
      )
    const entity = toSignedEntity(bundle, artifact === null ? undefined : Buffer.from(artifact))
    // What logs and authorities nobody asked about say is not read at all.
    const tlogEntries = logKeys === null ? [] : entity.tlogEntries
    const timestamps = logKeys === null ? [] : entity.timestamps.filter(each => each.$case === 'transparency-log')
    const tlogThreshold = logKeys === null ? 0 : 1
    const options = { ctlogThreshold: 0, tlogThreshold, timestampThreshold: fulcio === null ? 0 : 1 }
    const verifyWith = (material: Pick<TrustMaterial, 'certificateAuthorities' | 'publicKey'>): void => {
      const tlogs = (logKeys ?? []).map(logOf)
      const verifier = new Verifier({ timestampAuthorities: [], ctlogs: [], tlogs, ...material }, options)
      verifier.verify({ ...entity, tlogEntries, timestamps })
    }
    if (fulcio === null) {
      verifyWithOne(keys ?? [], key =>
        verifyWith({ certificateAuthorities: [], publicKey: () => ({ publicKey: key, validFor: () => true }) }),
      )
      return
    }
    const certChain = [...fulcio.authorities.flatMap(certificatesIn), ...untrusted.filter(each => !isSelfIssued(each))]
    verifyWith({ certificateAuthorities: [{ certChain, validFor: ALWAYS }], publicKey: noKey })
    if (entity.key.$case === 'certificate') checkHolder(entity.key.certificate, fulcio)
  }
}

/** @throws {Error} what was said of the last key */
function verifyWithOne(keys: readonly KeyObject[], verify: (key: KeyObject) => void): void {
  let last: unknown = new SignatureRefusal('the policy accepts no key')
  for (const key of keys) {
    try {
      verify(key)
      return
    } catch (error) {
      last = error
    }
  }
  throw last
}

function noKey(): never {
  throw new SignatureRefusal('it is by a key, expected a certificate')
}

function checkHolder(
  certificate: X509Certificate,
  { oidcIssuer, subjectEmail }: NonNullable<AcceptedSigners['fulcio']>,
): void {
  const usages = certificate.extension('2.5.29.37')?.valueObj.subs[0]?.subs.map(each => each.toOID()) ?? []
  if (!usages.includes(CODE_SIGNING)) throw new SignatureRefusal('its certificate is not for signing code')
  const email = certificate.extSubjectAltName?.rfc822Name
  if (email !== subjectEmail)
    throw new SignatureRefusal(`its certificate is for ${email ?? 'no e-mail address'}, expected ${subjectEmail}`)
  const issuer = issuerOf(certificate)
  if (issuer !== oidcIssuer)
    throw new SignatureRefusal(`who signed was identified by ${issuer ?? 'nobody'}, expected ${oidcIssuer}`)
}

/** Who identified the holder: Fulcio's extensions 8 (a text of DER) and, older, 1 (bare). Source: Fulcio › OID information. */
function issuerOf(certificate: X509Certificate): string | undefined {
  const issuer = certificate.extension('1.3.6.1.4.1.57264.1.8')
  if (issuer !== undefined) return issuer.valueObj.subs[0]?.value.toString('utf8')
  return certificate.extension('1.3.6.1.4.1.57264.1.1')?.value.toString('utf8')
}

/** Roots are the policy's only: one that a signer brings along would make him his own authority. */
function isSelfIssued(certificate: X509Certificate): boolean {
  return certificate.subject.equals(certificate.issuer)
}

function certificatesIn(pem: Uint8Array): readonly X509Certificate[] {
  const blocks = Buffer.from(pem)
    .toString('utf8')
    .match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)
  return (blocks ?? []).map(block => X509Certificate.parse(block))
}

/** The holder's certificate, then those between it and a root. */
function certificatesOf(annotations: Readonly<Record<string, string>>): readonly X509Certificate[] {
  const { certificate = '', chain = '' } = {
    certificate: annotations[COSIGN_ANNOTATIONS.certificate],
    chain: annotations[COSIGN_ANNOTATIONS.chain],
  }
  const [leaf] = certificatesIn(Buffer.from(certificate))
  if (leaf === undefined) throw new SignatureRefusal('it has no certificate')
  return [leaf, ...certificatesIn(Buffer.from(chain)).slice(0, CHAIN_LIMIT)]
}

function logOf(key: KeyObject): TrustMaterial['tlogs'][number] {
  const der = key.export({ type: 'spki', format: 'der' })
  return { logID: createHash('sha256').update(der).digest(), baseURL: '', publicKey: key, validFor: ALWAYS }
}

interface LogPromise {
  readonly SignedEntryTimestamp: string
  readonly Payload: {
    readonly body: string
    readonly integratedTime: number
    readonly logIndex: number
    readonly logID: string
  }
}

const seconds = integer(0, Number.MAX_SAFE_INTEGER)
/** What a log answers when it takes an entry. Source: Cosign Signature Specification › Properties › bundle. */
const logPromise: Shape<LogPromise> = exactObject<LogPromise>({
  SignedEntryTimestamp: required(text),
  Payload: required(
    exactObject<LogPromise['Payload']>({
      body: required(text),
      integratedTime: required(seconds),
      logIndex: required(seconds),
      logID: required(matching(/^[0-9a-f]{64}$/)),
    }),
  ),
})
const entryKind = object<{ readonly kind: string; readonly apiVersion: string }>({
  kind: required(text),
  apiVersion: required(text),
})

/** The same signature in the form that sigstore's packages verify: bundle 0.1, whose log entries have a promise. */
function attachedBundle(
  payload: Uint8Array,
  annotations: Readonly<Record<string, string>>,
  certificates: readonly X509Certificate[],
): Bundle {
  const rawBytes = certificates.map(each => ({ rawBytes: each.root.toDER().toString('base64') }))
  const promise = annotations[COSIGN_ANNOTATIONS.bundle]
  const serialized = {
    mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1',
    verificationMaterial: {
      ...(rawBytes.length === 0
        ? { publicKey: { hint: '' } }
        : { x509CertificateChain: { certificates: rawBytes.slice(0, 1) } }),
      tlogEntries: promise === undefined ? [] : [logEntry(promise)],
    },
    messageSignature: {
      messageDigest: { algorithm: 'SHA2_256', digest: createHash('sha256').update(payload).digest('base64') },
      signature: signatureBytes(annotations).toString('base64'),
    },
  }
  return bundleFromJSON(serialized)
}

function logEntry(annotation: string): NonNullable<unknown> {
  const { SignedEntryTimestamp, Payload } = parseJson(annotation, 'promise of the log', logPromise).value
  const body = Buffer.from(Payload.body, 'base64').toString('utf8')
  const { kind, apiVersion } = parseJson(body, 'entry of the log', entryKind).value
  return {
    logIndex: String(Payload.logIndex),
    logId: { keyId: Buffer.from(Payload.logID, 'hex').toString('base64') },
    kindVersion: { kind, version: apiVersion },
    integratedTime: String(Payload.integratedTime),
    inclusionPromise: { signedEntryTimestamp: SignedEntryTimestamp },
    canonicalizedBody: Payload.body,
  }
}
