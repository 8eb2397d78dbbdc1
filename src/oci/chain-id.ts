import { createHash } from 'node:crypto'
import { type Digest, parseDigest } from './digest.ts'

/**
 * The name of a stack of layers, from their diffIDs, lowest first; null for no layers.
 * Source: image-spec › OCI Image Configuration › Layer ChainID.
 */
export function chainIdOf(diffIds: readonly Digest[]): Digest | null {
  const [first, ...rest] = diffIds
  if (first === undefined) return null
  return rest.reduce(
    (below, diffId) => parseDigest(`sha256:${createHash('sha256').update(`${below} ${diffId}`).digest('hex')}`),
    first,
  )
}
