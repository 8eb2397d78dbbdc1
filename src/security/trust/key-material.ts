import { open } from 'node:fs/promises'
import { BerthError, messageOf } from '../../lib/error.ts'
import type { KeySource } from './trust-policy.ts'

/** Keyrings of whole distributions are tens of kilobytes. */
const KEY_LIMIT_BYTES = 1024 * 1024

/** The keys or certificates that a policy names, one item per file or datum. @throws {BerthError} notFound; invalidArgument: too large */
export async function readKeys(source: KeySource): Promise<readonly Uint8Array[]> {
  return source.kind === 'data' ? source.data : await Promise.all(source.paths.map(readKey))
}

async function readKey(path: string): Promise<Uint8Array> {
  try {
    await using file = await open(path, 'r')
    const { size } = await file.stat()
    if (size <= KEY_LIMIT_BYTES) return await file.readFile()
  } catch (error) {
    throw new BerthError('notFound', `Cannot read key "${path}" of the trust policy: ${messageOf(error)}`, {
      cause: error,
    })
  }
  throw new BerthError(
    'invalidArgument',
    `Cannot read key "${path}" of the trust policy: it is larger than ${KEY_LIMIT_BYTES} bytes`,
  )
}
