import { readFile, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { BerthError, messageOf } from '../../lib/error.ts'
import { type Digest, digestAlgorithm, digestHex } from '../../oci/digest.ts'
import type { Reference } from '../../oci/reference.ts'
import type { ProxyRules } from '../../registry/proxy-rules.ts'

/** An OpenPGP signature has a few hundred bytes. */
const SIGNATURE_LIMIT_BYTES = 1024 * 1024
/** Signatures of one image; each is fetched and verified. */
const COUNT_LIMIT = 128
const LIMIT_MS = 30_000

/**
 * The OpenPGP signatures of a document, from a tree of files: `BASE/PATH@ALGORITHM=HEX/signature-N`, counted from 1 until one is not there.
 * Source: containers-registries.d(5), containers-signature(5) › Using signatures.
 * @throws {BerthError} unavailable: the place does not answer; invalidArgument: it is no URL, or has too many or too large ones
 */
export async function fetchLookaside(
  base: string,
  reference: Reference,
  digest: Digest,
  proxies: ProxyRules,
  signal?: AbortSignal,
): Promise<readonly Uint8Array[]> {
  if (!URL.canParse(base)) throw unusable(base, 'it is no URL')
  const found: Uint8Array[] = []
  for (let number = 1; number <= COUNT_LIMIT; number++) {
    const url = new URL(base)
    const name = `${reference.path}@${digestAlgorithm(digest)}=${digestHex(digest)}/signature-${number}`
    url.pathname = `${url.pathname.replace(/\/$/, '')}/${name}`
    const signature = await fetchOne(url, proxies, signal)
    if (signature === null) return found
    found.push(signature)
  }
  throw unusable(base, `it has more than ${COUNT_LIMIT} signatures of ${digest}`)
}

async function fetchOne(url: URL, proxies: ProxyRules, signal?: AbortSignal): Promise<Uint8Array | null> {
  switch (url.protocol) {
    case 'file:':
      return await readOne(fileURLToPath(url))
    case 'http:':
    case 'https:':
      return await download(url, proxies, signal)
    default:
      throw unusable(url.href, 'expected a URL of file, http or https')
  }
}

async function readOne(path: string): Promise<Uint8Array | null> {
  try {
    const { size } = await stat(path)
    if (size > SIGNATURE_LIMIT_BYTES) throw unusable(path, `it is larger than ${SIGNATURE_LIMIT_BYTES} bytes`)
    return await readFile(path)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw error
  }
}

async function download(url: URL, proxies: ProxyRules, signal?: AbortSignal): Promise<Uint8Array | null> {
  const limit = AbortSignal.timeout(LIMIT_MS)
  let answer: Response
  try {
    const proxy = proxies.proxyOf(url)
    answer = await fetch(url, {
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
      ...(proxy === null ? { proxy: false } : { proxy }),
    } as RequestInit)
  } catch (error) {
    signal?.throwIfAborted()
    throw unanswered(url, messageOf(error), error)
  }
  if (answer.status === 404) {
    await answer.body?.cancel()
    return null
  }
  if (answer.status !== 200) {
    await answer.body?.cancel()
    throw unanswered(url, `status ${answer.status}`)
  }
  const pieces: Uint8Array[] = []
  let total = 0
  for await (const piece of answer.body ?? []) {
    total += piece.length
    if (total > SIGNATURE_LIMIT_BYTES) throw unusable(url.href, `it is larger than ${SIGNATURE_LIMIT_BYTES} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

function unusable(place: string, why: string): BerthError {
  return new BerthError('invalidArgument', `Cannot fetch signatures from "${place}": ${why}`)
}

function unanswered(url: URL, why: string, cause?: unknown): BerthError {
  return new BerthError('unavailable', `Cannot fetch signature "${url.origin}${url.pathname}": ${why}`, { cause })
}
