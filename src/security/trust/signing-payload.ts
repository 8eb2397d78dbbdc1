import { BerthError } from '../../lib/error.ts'
import { exactObject, oneOf, type Properties, required, type Shape, text } from '../../lib/json-shape.ts'
import { type Digest, digest } from '../../oci/digest.ts'
import { DOCUMENT_LIMIT_BYTES, parseDocument } from '../../oci/document.ts'

/** What a signature says: this content is to be known by this name. */
export interface SigningPayload {
  readonly digest: Digest
  /** As the signer wrote it; not parsed. */
  readonly reference: string
}

/** The two dialects: of OpenPGP signatures (containers-signature(5)) and of cosign (Cosign Signature Specification › Payload). */
export type PayloadDialect = 'atomic container signature' | 'cosign container image signature'

interface WirePayload {
  readonly critical: {
    readonly type: string
    readonly image: { readonly 'docker-manifest-digest': Digest }
    readonly identity: { readonly 'docker-reference': string }
  }
  readonly optional?: NonNullable<unknown>
}

/**
 * Parses what was signed, after the signature has been verified. What is critical must be understood entirely.
 * @throws {BerthError} invalidArgument
 */
export function parseSigningPayload(bytes: Uint8Array, dialect: PayloadDialect): SigningPayload {
  const { critical } = parseDocument(bytes, 'signed payload', payload(dialect))
  return { digest: critical.image['docker-manifest-digest'], reference: critical.identity['docker-reference'] }
}

/** Larger payloads are not even verified: a few names and a digest are much less. */
export const PAYLOAD_LIMIT_BYTES: number = DOCUMENT_LIMIT_BYTES

function payload(dialect: PayloadDialect): Shape<WirePayload> {
  return strict<WirePayload>({
    critical: required(
      strict<WirePayload['critical']>({
        type: required(oneOf([dialect])),
        image: required(strict<WirePayload['critical']['image']>({ 'docker-manifest-digest': required(digest) })),
        identity: required(strict<WirePayload['critical']['identity']>({ 'docker-reference': required(text) })),
      }),
    ),
    optional: anything,
  })
}

/** An object without properties that are unknown. */
function strict<T>(properties: Properties<T>): Shape<T> {
  const shape = exactObject(properties)
  return (value, place) => {
    const { warnings } = place.document
    const before = warnings.length
    const result = shape(value, place)
    const unknown = warnings[before]
    if (unknown === undefined) return result
    throw new BerthError('invalidArgument', `Cannot parse ${unknown.replace(' is ignored', '')}, expected none`)
  }
}

const anything: Shape<NonNullable<unknown>> = value => value ?? {}
