import { list, map, object, oneOf, required, text } from '../../lib/json-shape.ts'
import { parseDigest } from '../../oci/digest.ts'
import { parseDocument } from '../../oci/document.ts'
import { SignatureRefusal } from './image-signature.ts'
import type { SigningPayload } from './signing-payload.ts'

interface Statement {
  readonly _type: string
  readonly predicateType: string
  readonly subject: readonly Subject[]
}

interface Subject {
  readonly name?: string
  readonly digest: Readonly<Record<string, string>>
}

const statement = object<Statement>({
  _type: required(oneOf(['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'])),
  predicateType: required(text),
  subject: required(list(object<Subject>({ name: text, digest: required(map(text)) }), 1)),
})

/** Says no more than "this is mine". A bill of materials, say, is signed too, but to sign what is in an image is not to approve of it. */
const SIGNING_PREDICATE = 'https://sigstore.dev/cosign/sign/v1'

/**
 * What a signed statement says of an image. Its name is the subject's: cosign leaves it out, and such a statement meets no identity.
 * @throws {SignatureRefusal} it is about something else; {BerthError} invalidArgument: it is none
 */
export function parseStatement(bytes: Uint8Array): SigningPayload {
  const { predicateType, subject } = parseDocument(bytes, 'signed statement', statement)
  if (predicateType !== SIGNING_PREDICATE)
    throw new SignatureRefusal(`it states ${predicateType}, expected ${SIGNING_PREDICATE}`)
  const [first, ...more] = subject
  const hex = first?.digest['sha256']
  if (first === undefined || more.length > 0 || hex === undefined)
    throw new SignatureRefusal('it is about several things or none, expected one with a sha256')
  return { digest: parseDigest(`sha256:${hex}`), reference: first.name ?? '' }
}
