import type { Descriptor } from '../oci/descriptor.ts'
import { ANONYMOUS } from './credentials.ts'
import { DEFAULT_TLS } from './endpoint.ts'
import { type ConnectionContext, EndpointConnection } from './endpoint-connection.ts'
import { type BlobFetch, fetchBlob } from './fetch-blob.ts'
import { RegistryError, shortUrl } from './registry-error.ts'

/** A manifest may name this many places for a blob; more are not tried. */
const URLS_LIMIT = 8

/**
 * The bytes of a blob from the URLs that its descriptor names. The manifest's author has chosen them, so they are asked as by a
 * stranger: without credentials, headers, certificates or answers to challenges, by https, and only when the configuration
 * of the registry allows it (CVE-2020-15157, GHSA-rp3h-jf77-q9p4).
 * @throws {RegistryError} forbidden: not allowed; what the last URL answered
 */
export async function* fetchForeignBlob(
  connection: EndpointConnection,
  blob: BlobFetch,
  { urls = [] }: Pick<Descriptor, 'urls'>,
  context: ConnectionContext,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { domain, allowsForeignUrls } = connection.endpoint
  const usable = urls.filter(url => URL.canParse(url) && new URL(url).protocol === 'https:').slice(0, URLS_LIMIT)
  if (!allowsForeignUrls)
    throw new RegistryError(
      'forbidden',
      `Cannot ${blob.action}: the registry has it not, and its other places are not allowed; set allow_foreign_urls = true in registries.d/${domain}/hosts.toml to fetch it from them`,
    )
  for (const [index, text] of usable.entries()) {
    const url = new URL(text)
    url.username = ''
    url.password = ''
    const endpoint = {
      domain: url.host,
      base: url.origin,
      capabilities: ['pull'],
      tls: DEFAULT_TLS,
      headers: {},
      isMirror: false,
      allowsForeignUrls: false,
    } as const
    // Anonymous, and never at a token server: a place that wants to know who asks is not for everybody.
    const place = new EndpointConnection(endpoint, { ...context, credentials: ANONYMOUS, answersChallenges: false })
    blob.target = url.href
    try {
      yield* fetchBlob(place, blob, signal)
      return
    } catch (error) {
      if (!(error instanceof RegistryError) || index === usable.length - 1) throw error
      context.warn(`${shortUrl(url.href)} was no help: ${error.message}`)
    }
  }
  throw new RegistryError('notFound', `Cannot ${blob.action}: the registry has it not, nor any place by https`)
}
