import type { Descriptor } from '../oci/descriptor.ts'
import type { Grant } from './authorizer.ts'
import type { EndpointConnection } from './endpoint-connection.ts'
import { RegistryError } from './registry-error.ts'
import type { HttpAnswer, HttpBody } from './transport.ts'

/** A blob on its way into a repository. */
export interface BlobPush {
  /** In errors: `push blob sha256:… to "example.com/app"`. */
  readonly action: string
  readonly repository: string
  /** A repository of the same registry that has the blob already; null: none is known. */
  readonly mountFrom: string | null
  readonly grant: Grant
  readonly descriptor: Pick<Descriptor, 'digest' | 'sizeBytes'>
  /** The content from a position on. */
  readonly open: (offset: number) => AsyncIterable<Uint8Array>
  /** How many bytes have been handed over; goes back when some have to be sent again. */
  readonly onProgress?: (currentBytes: number) => void
}

/** What was necessary for the blob to be there. */
export type BlobPushResult = 'exists' | 'mounted' | 'uploaded'

/** Where an upload is, and how much of it the registry has. */
interface Upload {
  readonly location: string
  readonly offset: number
  /** The least that the registry takes in one chunk which is not the last. */
  readonly chunkMinBytes: number
}

type Facts = Pick<HttpAnswer, 'status' | 'headers' | 'url'>

/**
 * Brings a blob into a repository: nothing when it is there, by mounting it from another repository, else by an upload that
 * goes on where it broke. Source: distribution-spec › Pushing blobs.
 * @throws {RegistryError}
 */
export async function pushBlob(
  connection: EndpointConnection,
  push: BlobPush,
  signal?: AbortSignal,
): Promise<BlobPushResult> {
  if (await isThere(connection, push, signal)) return 'exists'
  const begun = await begin(connection, push, signal)
  if (begun === 'mounted') return begun
  await upload(connection, push, begun, signal)
  return 'uploaded'
}

async function isThere(connection: EndpointConnection, push: BlobPush, signal?: AbortSignal): Promise<boolean> {
  const { action, repository, grant, descriptor } = push
  const target = `/${repository}/blobs/${descriptor.digest}`
  const question = { action, method: 'HEAD', target, grant, accept: [200, 404] } as const
  return (await connection.askHeaders(question, signal)).status === 200
}

async function begin(
  connection: EndpointConnection,
  push: BlobPush,
  signal?: AbortSignal,
): Promise<Upload | 'mounted'> {
  const { action, repository, mountFrom, grant, descriptor } = push
  const uploads = `/${repository}/blobs/uploads/`
  if (mountFrom !== null) {
    const query = new URLSearchParams({ mount: descriptor.digest, from: mountFrom })
    const scopes = [...grant.scopes, `repository:${mountFrom}:pull`]
    const mount = { action, method: 'POST', target: `${uploads}?${query}`, grant: { ...grant, scopes } } as const
    // Whoever may not read the other repository can still upload.
    const answer = await connection.askHeaders({ ...mount, accept: [201, 202, 401, 403, 404, 405] }, signal)
    if (answer.status === 201) return 'mounted'
    if (answer.status === 202) return begunAt(connection, push, answer)
  }
  const question = { action, method: 'POST', target: uploads, grant, accept: [202] } as const
  return begunAt(connection, push, await connection.askHeaders(question, signal))
}

// distribution-spec › Pushing a blob in chunks.
function begunAt(connection: EndpointConnection, { action }: BlobPush, answer: Facts): Upload {
  const least = answer.headers.get('oci-chunk-min-length') ?? ''
  const chunkMinBytes = /^\d{1,15}$/.test(least) ? Number(least) : 0
  return { location: connection.locationOf(answer, action), offset: 0, chunkMinBytes }
}

/** Sends until the registry has all and confirms the digest. */
async function upload(
  connection: EndpointConnection,
  push: BlobPush,
  begun: Upload,
  signal?: AbortSignal,
): Promise<void> {
  const { attempts, connections } = connection.limits
  let current: Upload | 'done' = begun
  let chunkBytes = Number.POSITIVE_INFINITY
  let failures = 0
  for (let count = 1; current !== 'done'; count++) {
    const before: Upload = current
    try {
      current = await sendNext(connection, push, before, chunkBytes, signal)
      failures = 0
      // Parts that were taken are progress, however many there are.
      if (current !== 'done' && current.offset > before.offset) count--
    } catch (error) {
      failures++
      const smaller = Math.max(connection.limits.chunkBytes, before.chunkMinBytes)
      if (isTooLarge(error) && chunkBytes > smaller) chunkBytes = smaller
      else if (failures >= attempts || count >= connections) throw error
      else await connection.pauseAfter(error, failures, signal)
      // The last answer may be all that was lost.
      if (await isThere(connection, push, signal)) return
      current = await whereIs(connection, push, before, signal)
      if (current.offset > before.offset) failures = 0
    }
  }
}

function isTooLarge(error: unknown): boolean {
  return error instanceof RegistryError && error.status === 413
}

/** The whole in one request (POST then PUT), or the next chunk; after the last chunk the digest. */
async function sendNext(
  connection: EndpointConnection,
  push: BlobPush,
  { location, offset, chunkMinBytes }: Upload,
  chunkBytes: number,
  signal: AbortSignal | undefined,
): Promise<Upload | 'done'> {
  const { action, grant, descriptor } = push
  const { digest, sizeBytes } = descriptor
  const question = { action, grant } as const
  const closing = new URL(location)
  closing.searchParams.set('digest', digest)
  const put = { ...question, method: 'PUT', target: closing.href, accept: [201, 204] } as const
  if (offset === 0 && sizeBytes <= chunkBytes && sizeBytes > 0) {
    const headers = { 'content-type': 'application/octet-stream' }
    await finish(await connection.askOnce({ ...put, headers, body: bodyOf(push, 0, sizeBytes) }, signal))
    return 'done'
  }
  if (offset >= sizeBytes) {
    await finish(await connection.askOnce({ ...put, body: new Uint8Array() }, signal))
    return 'done'
  }
  const end = Math.min(sizeBytes, offset + chunkBytes)
  const headers = { 'content-type': 'application/octet-stream', 'content-range': `${offset}-${end - 1}` }
  const patch = {
    ...question,
    method: 'PATCH',
    target: location,
    headers,
    accept: [202],
    body: bodyOf(push, offset, end),
  } as const
  const answer = await finish(await connection.askOnce(patch, signal))
  return uploadOf(connection, push, answer, { location, offset: end, chunkMinBytes })
}

/** Asks how far an upload has come; begins another one when the registry has forgotten it. */
async function whereIs(
  connection: EndpointConnection,
  push: BlobPush,
  upload: Upload,
  signal?: AbortSignal,
): Promise<Upload> {
  const { action, grant } = push
  const question = { action, method: 'GET', target: upload.location, grant, accept: [204, 200, 202, 404, 405] } as const
  const answer = await connection.askHeaders(question, signal)
  const found = answer.status === 404 || answer.status === 405 ? null : uploadOf(connection, push, answer, upload)
  // Registries of Docker's line say "0-0" of one byte and of none; a new upload is certain to have none.
  if (found !== null && found.offset > 1) return found
  const again = await begin(connection, { ...push, mountFrom: null }, signal)
  return again === 'mounted' ? upload : again
}

function uploadOf(connection: EndpointConnection, push: BlobPush, answer: Facts, expected: Upload): Upload {
  const { action, descriptor } = push
  const [, last] = /^(?:bytes=)?0-(\d+)$/.exec(answer.headers.get('range') ?? '') ?? []
  const known = last === undefined ? expected.offset : Number(last) + 1
  if (known > descriptor.sizeBytes)
    throw new RegistryError('conflict', `Cannot ${action}: the registry has ${known} of ${descriptor.sizeBytes} bytes`)
  const location = answer.headers.has('location') ? connection.locationOf(answer, action) : answer.url
  return { ...expected, location, offset: known }
}

async function finish(answer: HttpAnswer): Promise<Facts> {
  await using received = answer
  await received.finish()
  return { status: received.status, headers: received.headers, url: received.url }
}

function bodyOf({ open, onProgress }: BlobPush, offset: number, end: number): HttpBody {
  return {
    contentBytes: end - offset,
    async *open() {
      let at = offset
      for await (const piece of open(offset)) {
        const part = piece.subarray(0, end - at)
        at += part.length
        yield part
        onProgress?.(at)
        if (at >= end) return
      }
    },
  }
}
