import { dirname } from 'node:path'
import { printReference, printRepository, type Reference, withDefaultTag } from '../../oci/reference.ts'
import type { TrustPolicy, TrustRequirement } from './trust-policy.ts'

/** Where an image comes from, as policies name it. */
export interface ImageOrigin {
  /** `docker` is a registry. */
  readonly transport: 'docker' | 'docker-archive' | 'oci-archive' | 'oci' | 'containers-storage'
  /** The scopes that it belongs to, the narrowest first; not the transport's rest. */
  readonly scopes: readonly string[]
  /** Its canonical name where the place gives it one; null: identities that are compared with it never match. */
  readonly reference: string | null
}

/**
 * An image of a registry. Scopes: the reference in full, its repository, each namespace above, the host, and `*.` before each of
 * the host's parent domains (without port).
 */
export function registryOrigin(reference: Reference): ImageOrigin {
  const whole = reference.digest === null ? withDefaultTag(reference) : { ...reference, tag: null }
  const printed = printReference(whole)
  return { transport: 'docker', scopes: [printed, ...namespacesOf(reference)], reference: printed }
}

function namespacesOf(reference: Reference): readonly string[] {
  const scopes: string[] = []
  for (let name = printRepository(reference); ; name = name.slice(0, name.lastIndexOf('/'))) {
    scopes.push(name)
    if (!name.includes('/')) break
  }
  // An IPv6 address has no dots, or none that part domains.
  if (reference.domain.startsWith('[')) return scopes
  const labels = reference.domain.replace(/:\d+$/, '').split('.')
  return [...scopes, ...labels.slice(1).map((_, index) => `*.${labels.slice(index + 1).join('.')}`)]
}

/**
 * An image of an archive or a layout, at an absolute path without links; null: of a pipe. `names` are what it is called there.
 * Scopes: `path:name`, the path, each directory above.
 */
export function fileOrigin(
  transport: 'docker-archive' | 'oci-archive' | 'oci',
  path: string | null,
  names: readonly string[],
): ImageOrigin {
  if (path === null || transport === 'docker-archive') return { transport, scopes: [], reference: null }
  const scopes = names.map(name => `${path}:${name}`)
  for (let each = path; each !== '/'; each = dirname(each)) scopes.push(each)
  return { transport, scopes, reference: null }
}

/** An image that was made here: committed, imported, bootstrapped, or of a store that remembers nothing of it. */
export const LOCAL_ORIGIN: ImageOrigin = { transport: 'containers-storage', scopes: [], reference: null }

/** What a policy asks of images of an origin. */
export interface ApplicableRequirements {
  readonly requirements: readonly TrustRequirement[]
  /** As errors and `image trust show` name it: `docker: example.com/team`, `docker`, `default`. */
  readonly scope: string
}

/** The requirements of the narrowest scope that a policy has for an origin; others do not count then. */
export function requirementsFor(policy: TrustPolicy, { transport, scopes }: ImageOrigin): ApplicableRequirements {
  const known = policy.transports.get(transport)
  for (const scope of scopes) {
    const requirements = known?.get(scope)
    if (requirements !== undefined) return { requirements, scope: `${transport}: ${scope}` }
  }
  const rest = known?.get('')
  return rest === undefined
    ? { requirements: policy.default, scope: 'default' }
    : { requirements: rest, scope: transport }
}
