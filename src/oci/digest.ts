/**
 * Digests: `algorithm:encoded`, the name of content.
 * Source: image-spec › Content Descriptors › Digests, Registered Algorithms.
 */
import { BerthError } from '../lib/error.ts'
import type { Shape } from '../lib/json-shape.ts'
import { shapeError, text } from '../lib/json-shape.ts'

/** The registered algorithms that are computed here, and how many hexadecimal digits each has. */
const HEX_LENGTHS = { sha256: 64, sha512: 128 } as const

export type DigestAlgorithm = keyof typeof HEX_LENGTHS

declare const digestBrand: unique symbol
/** A digest whose algorithm is known and whose encoded part is well-formed, so that it may be part of a path. */
export type Digest = string & { readonly [digestBrand]: true }

// The specification's grammar; what it allows beyond the registered algorithms can be named, but not verified.
const GRAMMAR = /^([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)$/

/**
 * Parses a digest.
 * @throws {BerthError} invalidArgument: not a digest; notImplemented: of an algorithm that is not sha256 or sha512
 */
export function parseDigest(value: string): Digest {
  const problem = problemOf(value)
  if (problem !== null) throw new BerthError(problem.category, `Cannot parse digest "${value}": ${problem.text}`)
  return value as Digest
}

interface Problem {
  readonly category: 'invalidArgument' | 'notImplemented'
  readonly text: string
}

function problemOf(value: string): Problem | null {
  const [, algorithm = '', encoded = ''] = GRAMMAR.exec(value) ?? []
  if (algorithm === '') return { category: 'invalidArgument', text: 'it is no algorithm:encoded' }
  if (!isAlgorithm(algorithm)) {
    return { category: 'notImplemented', text: `the algorithm is ${algorithm}, expected sha256 or sha512` }
  }
  if (!/^[0-9a-f]+$/.test(encoded) || encoded.length !== HEX_LENGTHS[algorithm]) {
    return { category: 'invalidArgument', text: `expected ${HEX_LENGTHS[algorithm]} lower-case hexadecimal digits` }
  }
  return null
}

function isAlgorithm(value: string): value is DigestAlgorithm {
  return Object.hasOwn(HEX_LENGTHS, value)
}

/** The shape of a digest in a JSON document. */
export const digest: Shape<Digest> = (value, place) => {
  const found = text(value, place)
  const problem = problemOf(found)
  if (problem === null) return found as Digest
  if (problem.category === 'invalidArgument') throw shapeError(value, place, `a digest: ${problem.text}`)
  throw new BerthError(problem.category, shapeError(value, place, `another digest: ${problem.text}`).message)
}

/** The part before the colon. */
export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256'
}

/** The part after the colon: lower-case hexadecimal digits. */
export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1)
}
