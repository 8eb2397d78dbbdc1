import type { Descriptor } from '../oci/descriptor.ts'
import type { EndpointConnection } from './endpoint-connection.ts'
import { RegistryError, shortUrl } from './registry-error.ts'
import type { HttpAnswer } from './transport.ts'

/** What is fetched from where, and how far it has come. */
export interface BlobFetch {
  /** In errors: `fetch blob sha256:… of "example.com/app"`. */
  readonly action: string
  /** Below the endpoint, or a whole URL; the next place, when one has failed. */
  target: string
  readonly grant: { readonly repository: string; readonly scopes: readonly string[] }
  readonly descriptor: Pick<Descriptor, 'sizeBytes'>
  /** The position of the next byte; moves while pieces are given. */
  offset: number
}

/**
 * The bytes of a blob from `fetch.offset` on. A connection that breaks is made anew where it broke (distribution-spec › Pulling
 * blobs, RFC 9110 section 14); from a server without ranges the beginning comes again and is dropped.
 * Gives exactly the size of the descriptor or throws; whether it is the right content is for who knows its digest.
 * @throws {RegistryError} also when the server's size is another
 */
export async function* fetchBlob(
  connection: EndpointConnection,
  fetch: BlobFetch,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { attempts, connections } = connection.limits
  const { sizeBytes } = fetch.descriptor
  const state: RangeState = { isTrusted: true, etag: null }
  let failures = 0
  for (let count = 1; fetch.offset < sizeBytes; count++) {
    const before = fetch.offset
    try {
      yield* once(connection, fetch, state, signal)
      if (fetch.offset < sizeBytes) throw broken(fetch, `ended after ${fetch.offset} of ${sizeBytes} bytes`)
    } catch (error) {
      failures = fetch.offset > before ? 1 : failures + 1
      if (failures >= attempts || count >= connections) throw error
      await connection.pauseAfter(error, failures, signal)
    }
  }
}

interface RangeState {
  /** Until an answer to a range did not fit. */
  isTrusted: boolean
  /** Of the first answer: what the bytes that were given belong to. */
  etag: string | null
}

async function* once(
  connection: EndpointConnection,
  fetch: BlobFetch,
  state: RangeState,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const { action, target, grant } = fetch
  const { sizeBytes } = fetch.descriptor
  const isRanged = fetch.offset > 0 && state.isTrusted
  const headers = isRanged ? { range: `bytes=${fetch.offset}-` } : {}
  const question = { action, method: 'GET', target, headers, grant, accept: isRanged ? [200, 206] : [200] } as const
  await using answer = await connection.askOnce(question, signal)
  let skip = answer.status === 206 ? checkRange(answer, fetch, state) : checkWhole(answer, fetch, state)
  for await (const piece of answer.read()) {
    const rest = piece.subarray(Math.min(skip, piece.length))
    skip -= piece.length - rest.length
    if (rest.length > sizeBytes - fetch.offset) throw wrong(fetch, answer, `it has more than ${sizeBytes} bytes`)
    if (rest.length === 0) continue
    fetch.offset += rest.length
    yield rest
  }
}

/** A part: it must be the one that was asked for, of the same content. Returns how many bytes of it are known already. */
function checkRange(answer: HttpAnswer, fetch: BlobFetch, state: RangeState): number {
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(answer.headers.get('content-range') ?? '') ?? []
  if (total !== undefined && total !== '*' && Number(total) !== fetch.descriptor.sizeBytes)
    throw wrong(fetch, answer, `it has ${total} bytes, expected ${fetch.descriptor.sizeBytes}`)
  const etag = answer.headers.get('etag')
  const isOther = etag !== null && state.etag !== null && etag !== state.etag
  if (Number(first) === fetch.offset && !isOther) return 0
  // Mirrors of a store may tag the same content differently, so that it has changed is not certain: the whole of it decides.
  state.isTrusted = false
  throw broken(fetch, isOther ? 'has other content than before' : 'answered another range than was asked for')
}

function checkWhole(answer: HttpAnswer, fetch: BlobFetch, state: RangeState): number {
  const { sizeBytes } = fetch.descriptor
  const length = answer.headers.get('content-length')
  if (length !== null && Number(length) !== sizeBytes)
    throw wrong(fetch, answer, `it has ${length} bytes, expected ${sizeBytes}`)
  state.etag = answer.headers.get('etag')
  return fetch.offset
}

function broken({ action }: BlobFetch, why: string): RegistryError {
  return new RegistryError('unavailable', `Cannot ${action}: the registry ${why}`, { isTransient: true })
}

function wrong({ action }: BlobFetch, answer: HttpAnswer, why: string): RegistryError {
  return new RegistryError('invalidArgument', `Cannot ${action}: ${shortUrl(answer.url)}: ${why}`)
}
