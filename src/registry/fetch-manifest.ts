import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { type Digest, digestAlgorithm, parseDigest } from '../oci/digest.ts'
import { DOCUMENT_LIMIT_BYTES } from '../oci/document.ts'
import { DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../oci/media-types.ts'
import { printReference, type Reference } from '../oci/reference.ts'
import type { Ask, EndpointConnection, ReceivedDocument } from './endpoint-connection.ts'
import { RegistryError } from './registry-error.ts'

/** A document and what names it; the bytes have been verified against the descriptor's digest. */
export interface FetchedDocument {
  readonly descriptor: Descriptor
  readonly bytes: Uint8Array
}

/** What Berth understands; a registry that has something else should say so and not convert. */
const ACCEPT = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST].join(', ')
const MEDIA_TYPE = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/
/** What servers and proxies answer for any JSON: then the document speaks for itself. */
const GENERIC: readonly string[] = ['', 'application/json', 'application/octet-stream', 'text/plain']

/**
 * What a reference stands for, without fetching it where the registry tells enough (distribution-spec › Checking if content
 * exists in the registry).
 */
export async function resolveManifest(
  connection: EndpointConnection,
  reference: Reference,
  signal?: AbortSignal,
): Promise<Descriptor> {
  const question = { ...askFor(reference, 'resolve'), method: 'HEAD' } as const
  // A refusal of HEAD has no body that would explain it, so all but "not there" and "too often" is asked again by GET.
  const accept = [200, 400, 401, 403, 405, 406, 501]
  const { status, headers } = await connection.askHeaders({ ...question, accept }, signal)
  const described = status === 200 ? describedBy(headers) : null
  if (described === null) return (await fetchManifest(connection, reference, signal)).descriptor
  if (reference.digest !== null && described.digest !== reference.digest)
    throw other(reference, 'resolve', described.digest)
  return described
}

/** The document that a reference names, verified. @throws {RegistryError} invalidArgument: another digest, or too large */
export async function fetchManifest(
  connection: EndpointConnection,
  reference: Reference,
  signal?: AbortSignal,
): Promise<FetchedDocument> {
  const question = { ...askFor(reference, 'fetch'), method: 'GET', accept: [200] } as const
  const { bytes, headers } = await connection.askDocument(question, signal)
  const said = digestIn(headers)
  const expected = reference.digest ?? said
  const digest = digestOf(bytes, expected)
  if (expected !== null && digest !== expected) throw other(reference, 'fetch', digest)
  return { descriptor: { mediaType: mediaTypeOf(headers, bytes, reference), digest, sizeBytes: bytes.length }, bytes }
}

function askFor(reference: Reference, verb: 'fetch' | 'resolve'): Omit<Ask, 'method' | 'accept'> {
  const { path, tag, digest } = reference
  const name = digest ?? tag
  if (name === null)
    throw new BerthError(
      'invalidArgument',
      `Cannot ${verb} "${printReference(reference)}": it has no tag and no digest`,
    )
  return {
    action: `${verb} manifest "${printReference(reference)}"`,
    target: `/${path}/manifests/${name}`,
    headers: { accept: ACCEPT },
    grant: { repository: path, scopes: [`repository:${path}:pull`] },
  }
}

/** The digest of bytes, by the algorithm of the one that they should have. */
export function digestOf(bytes: Uint8Array, expected: Digest | null): Digest {
  const algorithm = expected === null ? 'sha256' : digestAlgorithm(expected)
  return parseDigest(`${algorithm}:${new Bun.CryptoHasher(algorithm).update(bytes).digest('hex')}`)
}

/** What the headers of an answer say of the digest; null: nothing that can be used. */
export function digestIn(headers: Headers): Digest | null {
  const text = headers.get('docker-content-digest')
  if (text === null) return null
  try {
    return parseDigest(text)
  } catch (error) {
    // An algorithm that is not computed here, or none: the document's own bytes decide.
    if (error instanceof BerthError) return null
    throw error
  }
}

function describedBy(headers: Headers): Descriptor | null {
  const digest = digestIn(headers)
  const mediaType = bareType(headers)
  const length = headers.get('content-length') ?? ''
  const sizeBytes = /^\d+$/.test(length) ? Number(length) : 0
  if (digest === null || GENERIC.includes(mediaType) || !MEDIA_TYPE.test(mediaType)) return null
  return sizeBytes === 0 || sizeBytes > DOCUMENT_LIMIT_BYTES ? null : { mediaType, digest, sizeBytes }
}

function bareType(headers: Headers): string {
  return (headers.get('content-type')?.split(';')[0] ?? '').trim()
}

function mediaTypeOf(headers: Headers, bytes: Uint8Array, reference: Reference): string {
  const said = bareType(headers)
  if (!GENERIC.includes(said) && MEDIA_TYPE.test(said)) return said
  const own = ownMediaType(bytes)
  if (own !== null && MEDIA_TYPE.test(own)) return own
  throw new RegistryError(
    'invalidArgument',
    `Cannot fetch manifest "${printReference(reference)}": neither the registry nor the document says its media type`,
  )
}

function ownMediaType(bytes: Uint8Array): string | null {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    // No JSON has no media type either.
    return null
  }
  const mediaType = typeof value === 'object' && value !== null && 'mediaType' in value ? value.mediaType : null
  return typeof mediaType === 'string' ? mediaType : null
}

function other(reference: Reference, verb: string, digest: Digest): RegistryError {
  const text = `Cannot ${verb} manifest "${printReference(reference)}": the registry gave one of digest ${digest}`
  return new RegistryError('invalidArgument', text)
}

/** Used by what reads documents that are not manifests: lists of tags, repositories, referrers. */
export function textOf({ bytes }: Pick<ReceivedDocument, 'bytes'>): string {
  return new TextDecoder().decode(bytes)
}
