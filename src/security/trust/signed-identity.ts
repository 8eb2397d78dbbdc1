import { parseReference, printReference, printRepository, type Reference } from '../../oci/reference.ts'
import type { SignedIdentity } from './trust-policy.ts'

/**
 * Whether a signature that claims the name `signed` is for the image that is wanted, by the policy's rule. `wanted` is its
 * canonical name; null: it has none.
 */
export function matchesIdentity(rule: SignedIdentity, wanted: string | null, signed: string): boolean {
  const claim = parsed(signed)
  if (claim === null) return false
  switch (rule.type) {
    case 'exactReference':
      return isSame(parsed(rule.dockerReference), claim)
    case 'exactRepository':
      return isSameRepository(parsed(rule.dockerRepository), claim)
    case 'matchExact':
      return isSame(parsed(wanted), claim)
    case 'matchRepository':
      return isSameRepository(parsed(wanted), claim)
    case 'matchRepoDigestOrExact':
      return isSameByTag(parsed(wanted), claim)
    case 'remapIdentity':
      return wanted !== null && isSameByTag(parsed(remapped(wanted, rule.prefix, rule.signedPrefix)), claim)
  }
}

function parsed(text: string | null): Reference | null {
  if (text === null) return null
  try {
    return parseReference(text)
  } catch {
    // What is no name matches none.
    return null
  }
}

/** The same name with the same tag or digest. A bare name is none of a single image. */
function isSame(wanted: Reference | null, claim: Reference): boolean {
  if (wanted === null || (wanted.tag === null && wanted.digest === null)) return false
  return printReference(wanted) === printReference(claim)
}

function isSameRepository(wanted: Reference | null, claim: Reference): boolean {
  return wanted !== null && printRepository(wanted) === printRepository(claim)
}

/** By digest the content is certain already, so that the repository is enough; by tag the tag must be the signed one. */
function isSameByTag(wanted: Reference | null, claim: Reference): boolean {
  if (wanted?.tag === null && wanted.digest !== null) return isSameRepository(wanted, claim)
  return isSame(wanted, claim)
}

/** A prefix ends where a part of the name does. */
function remapped(wanted: string, prefix: string, signedPrefix: string): string {
  if (!wanted.startsWith(prefix)) return wanted
  const rest = wanted.slice(prefix.length)
  return rest === '' || /^[/]|^:[^/]*$|^@/.test(rest) ? `${signedPrefix}${rest}` : wanted
}
