import { BerthError } from '../lib/error.ts'
import { list, object, text } from '../lib/json-shape.ts'
import { type Descriptor, descriptor } from '../oci/descriptor.ts'
import { type Digest, digestAlgorithm, digestHex } from '../oci/digest.ts'
import { parseIndex } from '../oci/manifest.ts'
import { OCI_INDEX } from '../oci/media-types.ts'
import { printRepository, type Reference } from '../oci/reference.ts'
import type { EndpointConnection } from './endpoint-connection.ts'
import { type FetchedDocument, fetchManifest } from './fetch-manifest.ts'
import { pagesOf } from './pages.ts'
import { RegistryError } from './registry-error.ts'

/** Whose referrers, and of which type; null: of any. */
export interface ReferrersQuery {
  readonly digest: Digest
  readonly artifactType: string | null
}

/** More referrers of one manifest than this are nobody's signatures and attestations. */
const REFERRERS_LIMIT = 10_000

// Strict where it matters: each descriptor; what else an index may say is of no use here.
const page = object<{ readonly manifests?: readonly Descriptor[]; readonly mediaType?: string }>({
  manifests: list(descriptor),
  mediaType: text,
})

/** The manifests that refer to a digest. Source: distribution-spec › Listing Referrers, Unavailable Referrers API. */
export async function listReferrers(
  connection: EndpointConnection,
  reference: Reference,
  { digest, artifactType }: ReferrersQuery,
  signal?: AbortSignal,
): Promise<readonly Descriptor[]> {
  const found =
    (await byApi(connection, reference, { digest, artifactType }, signal)) ??
    (await byTag(connection, reference, digest, signal))
  // A registry may not filter, and a tag can't.
  return artifactType === null ? found : found.filter(each => each.artifactType === artifactType)
}

async function byApi(
  connection: EndpointConnection,
  reference: Reference,
  { digest, artifactType }: ReferrersQuery,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[] | null> {
  const { path } = reference
  const query = artifactType === null ? '' : `?${new URLSearchParams({ artifactType })}`
  const action = `list referrers of ${digest} in "${printRepository(reference)}"`
  const question = {
    action,
    target: `/${path}/referrers/${digest}${query}`,
    headers: { accept: OCI_INDEX },
    grant: { repository: path, scopes: [`repository:${path}:pull`] },
  }
  const found: Descriptor[] = []
  try {
    for await (const { page: each } of pagesOf(connection, question, page, signal)) {
      found.push(...(each.manifests ?? []))
      if (found.length > REFERRERS_LIMIT)
        throw new RegistryError('invalidArgument', `Cannot ${action}: there are more than ${REFERRERS_LIMIT}`)
    }
  } catch (error) {
    // A registry that has the API answers with an empty list when there is nothing: these say that it has none.
    if (error instanceof RegistryError && found.length === 0 && [404, 405, 400].includes(error.status ?? 0)) return null
    throw error
  }
  return found
}

async function byTag(
  connection: EndpointConnection,
  reference: Reference,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<readonly Descriptor[]> {
  const document = await fetchReferrersTag(connection, reference, digest, signal)
  if (document === null) return []
  const { bytes, descriptor } = document
  return parseIndex(new TextDecoder().decode(bytes), `the referrers of ${digest}`, descriptor.mediaType).manifests
}

/** The document under the tag that stands for the referrers of a digest where there is no API; null: there is none. */
export async function fetchReferrersTag(
  connection: EndpointConnection,
  reference: Reference,
  digest: Digest,
  signal?: AbortSignal,
): Promise<FetchedDocument | null> {
  try {
    return await fetchManifest(connection, { ...reference, tag: referrersTag(digest), digest: null }, signal)
  } catch (error) {
    if (error instanceof BerthError && error.category === 'notFound') return null
    throw error
  }
}

/** Source: distribution-spec › Referrers Tag Schema: at most 32 characters of the algorithm, 64 of the digest. */
export function referrersTag(digest: Digest): string {
  return `${digestAlgorithm(digest).slice(0, 32)}-${digestHex(digest).slice(0, 64)}`
}
