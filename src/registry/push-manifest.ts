import { BerthError } from '../lib/error.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import { DOCUMENT_LIMIT_BYTES } from '../oci/document.ts'
import { type Manifest, parseIndex, parseManifest } from '../oci/manifest.ts'
import { isIndexType, isManifestType, OCI_INDEX } from '../oci/media-types.ts'
import { printReference, type Reference } from '../oci/reference.ts'
import type { EndpointConnection } from './endpoint-connection.ts'
import { digestIn, digestOf } from './fetch-manifest.ts'
import { fetchReferrersTag, referrersTag } from './list-referrers.ts'
import { RegistryError } from './registry-error.ts'

/** A document to push, as it is to be stored. */
export interface PushedDocument {
  readonly mediaType: string
  readonly bytes: Uint8Array
}

/**
 * Stores a manifest or index. One with a subject becomes a referrer of it, through a tag where the registry has no such list.
 * Source: distribution-spec › Pushing Manifests, Pushing Manifests with Subject.
 * @throws {RegistryError} invalidArgument also when the registry says it has stored something else
 */
export async function pushManifest(
  connection: EndpointConnection,
  reference: Reference,
  document: PushedDocument,
  signal?: AbortSignal,
): Promise<Descriptor> {
  const { mediaType, bytes } = document
  const name = reference.digest ?? reference.tag
  const action = `push manifest "${printReference(reference)}"`
  if (name === null) throw new BerthError('invalidArgument', `Cannot ${action}: it has no tag and no digest`)
  if (bytes.length > DOCUMENT_LIMIT_BYTES)
    throw new BerthError('invalidArgument', `Cannot ${action}: it has more than ${DOCUMENT_LIMIT_BYTES} bytes`)
  const digest = digestOf(bytes, reference.digest)
  if (reference.digest !== null && digest !== reference.digest)
    throw new BerthError('invalidArgument', `Cannot ${action}: its digest is ${digest}`)
  const { path } = reference
  const { headers } = await connection.askHeaders(
    {
      action,
      method: 'PUT',
      target: `/${path}/manifests/${name}`,
      headers: { 'content-type': mediaType },
      body: bytes,
      grant: { repository: path, scopes: [`repository:${path}:pull,push`] },
      accept: [201, 200, 202],
    },
    signal,
  )
  const stored = digestIn(headers)
  if (stored !== null && stored !== digestOf(bytes, stored))
    throw new RegistryError(
      'invalidArgument',
      `Cannot ${action}: the registry has stored ${stored}, expected ${digest}`,
    )
  const pushed: Descriptor = { mediaType, digest, sizeBytes: bytes.length }
  const subject = subjectOf(document)
  if (subject !== null && !headers.has('oci-subject')) await addReferrer(connection, reference, subject, pushed, signal)
  return pushed
}

interface Subject {
  readonly subject: Descriptor
  readonly artifactType: string | null
  readonly annotations: Readonly<Record<string, string>> | null
}

function subjectOf({ mediaType, bytes }: PushedDocument): Subject | null {
  const text = new TextDecoder().decode(bytes)
  if (isIndexType(mediaType)) {
    const index = parseIndex(text, 'the pushed index', mediaType)
    if (index.subject === undefined) return null
    return { subject: index.subject, artifactType: index.artifactType ?? null, annotations: index.annotations ?? null }
  }
  if (!isManifestType(mediaType)) return null
  const manifest: Manifest = parseManifest(text, 'the pushed manifest', mediaType)
  if (manifest.subject === undefined) return null
  const artifactType = manifest.artifactType ?? manifest.config.mediaType
  return { subject: manifest.subject, artifactType, annotations: manifest.annotations ?? null }
}

// Two clients at once may lose one of two entries: the specification has no lock, and tells clients to live with that.
async function addReferrer(
  connection: EndpointConnection,
  reference: Reference,
  { subject, artifactType, annotations }: Subject,
  pushed: Descriptor,
  signal: AbortSignal | undefined,
): Promise<void> {
  const known = await fetchReferrersTag(connection, reference, subject.digest, signal)
  const manifests =
    known === null
      ? []
      : parseIndex(new TextDecoder().decode(known.bytes), 'the referrers', known.descriptor.mediaType).manifests
  if (manifests.some(({ digest }) => digest === pushed.digest)) return
  const entry = {
    ...pushed,
    ...(artifactType !== null && { artifactType }),
    ...(annotations !== null && { annotations }),
  }
  const index = {
    schemaVersion: 2,
    mediaType: OCI_INDEX,
    manifests: [...manifests, entry].map(({ sizeBytes, ...rest }) => ({ ...rest, size: sizeBytes })),
  }
  const bytes = new TextEncoder().encode(JSON.stringify(index))
  const tagged = { ...reference, tag: referrersTag(subject.digest), digest: null }
  await pushManifest(connection, tagged, { mediaType: OCI_INDEX, bytes }, signal)
}
