/**
 * References: the names of images, `[domain/]path[:tag][@digest]`.
 * Source: distribution › reference grammar; distribution-spec › Pulling manifests. Short names are Docker's: `debian` is
 * `docker.io/library/debian`.
 */
import { BerthError, messageOf } from '../lib/error.ts'
import { type Digest, parseDigest } from './digest.ts'

/** A reference in which nothing is implied: two that are printed alike name the same thing. */
export interface Reference {
  /** Host and port, lower-case: `docker.io`, `localhost:5000`, `[2001:db8::1]:5000`. */
  readonly domain: string
  /** The repository at the domain, without slashes around it: `library/debian`. */
  readonly path: string
  readonly tag: string | null
  /** Decides where it is there; the tag is a remark then. */
  readonly digest: Digest | null
}

const DEFAULT_DOMAIN = 'docker.io'
/** The name that Docker's clients knew the default domain by at first. */
const LEGACY_DEFAULT_DOMAIN = 'index.docker.io'
/** Where the default domain keeps what has no namespace. */
const DEFAULT_NAMESPACE = 'library/'
const DEFAULT_TAG = 'latest'

/** What registries store at most (distribution-spec › Pulling manifests). */
const PATH_LIMIT = 255
/** A name of the DNS has at most 253 characters; six more are for a port. */
const DOMAIN_LIMIT = 259
/** Domain, path, tag and the longest digest, with what stands between them. */
const TEXT_LIMIT = 1024
const SHOWN_LIMIT = 128

const COMPONENT = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/
const HOST_LABELS = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/
const HOST_IPV6 = /^\[[0-9a-f:.]+\]$/
const PORT = /^[1-9][0-9]{0,4}$/
const PORT_MAX = 65_535
const IMAGE_ID = /^[0-9a-f]{64}$/

/**
 * Parses a reference and completes it: the default domain and its namespace are filled in, the domain becomes lower-case,
 * an IPv6 address takes its short form. No tag is added. What could as well be an image's ID is no reference.
 * @throws {BerthError} invalidArgument with the reason; notImplemented: a digest of an algorithm that is not computed here
 */
export function parseReference(text: string): Reference {
  if (text.length > TEXT_LIMIT) throw unusable(text, `it has ${text.length} characters, expected at most ${TEXT_LIMIT}`)
  if (IMAGE_ID.test(text) || /^sha(?:256|512):[0-9a-f]{64,}$/.test(text)) {
    throw unusable(text, 'it is the ID of an image, expected a name')
  }
  const scheme = /^[a-z]+:\/\//i.exec(text)?.[0]
  if (scheme !== undefined) throw unusable(text, `it is a URL, expected a name without ${scheme}`)
  const at = text.indexOf('@')
  const head = at < 0 ? text : text.slice(0, at)
  const digest = at < 0 ? null : digestOf(text, text.slice(at + 1))
  const colon = head.indexOf(':', head.lastIndexOf('/') + 1)
  const name = colon < 0 ? head : head.slice(0, colon)
  const tag = colon < 0 ? null : head.slice(colon + 1)
  if (tag !== null && !TAG.test(tag)) {
    throw unusable(text, `the tag is ${quoted(tag)}, expected at most 128 letters, digits, "_", "." and "-"`)
  }
  return { ...nameOf(text, name), tag, digest }
}

function digestOf(text: string, value: string): Digest {
  try {
    return parseDigest(value)
  } catch (error) {
    const category = error instanceof BerthError ? error.category : 'internal'
    throw unusable(text, `the digest can't be used: ${messageOf(error)}`, category)
  }
}

function nameOf(text: string, name: string): Pick<Reference, 'domain' | 'path'> {
  const slash = name.indexOf('/')
  const first = name.slice(0, Math.max(slash, 0))
  // Without a mark of a host the first component is a namespace of the default domain.
  const isDomain = /[.:[\]]/.test(first) || first.toLowerCase() === 'localhost'
  const domain = isDomain ? domainOf(text, first) : DEFAULT_DOMAIN
  const path = isDomain ? name.slice(slash + 1) : name
  checkPath(text, path)
  const full = domain === DEFAULT_DOMAIN && !path.includes('/') ? DEFAULT_NAMESPACE + path : path
  if (full.length > PATH_LIMIT) {
    throw unusable(text, `the repository has ${full.length} characters, expected at most ${PATH_LIMIT}`)
  }
  return { domain, path: full }
}

function domainOf(text: string, given: string): string {
  const [, host = '', port] = /^(\[[^\]]*\]?|[^:]*)(?::(.*))?$/.exec(given.toLowerCase()) ?? []
  if (given.length > DOMAIN_LIMIT) {
    throw unusable(text, `the domain has ${given.length} characters, expected at most ${DOMAIN_LIMIT}`)
  }
  if (port !== undefined && !(PORT.test(port) && Number(port) <= PORT_MAX)) {
    throw unusable(text, `the port is ${quoted(port)}, expected 1 to ${PORT_MAX}`)
  }
  const canonical = canonicalHost(host)
  if (canonical === null) throw unusable(text, `the host is ${quoted(host)}, expected a domain name or an IP address`)
  const domain = port === undefined ? canonical : `${canonical}:${port}`
  return domain === LEGACY_DEFAULT_DOMAIN ? DEFAULT_DOMAIN : domain
}

/** The host as a URL has it, or null: what a connection would be made to must be what policies and credentials are looked up by. */
function canonicalHost(host: string): string | null {
  const isIpv6 = HOST_IPV6.test(host)
  if (!isIpv6 && !HOST_LABELS.test(host)) return null
  const found = URL.canParse(`https://${host}/`) ? new URL(`https://${host}/`).hostname : null
  // A URL reads `127.1` and `0x7f000001.` as other spellings of 127.0.0.1; such a name stays without an owner.
  return isIpv6 || found === host ? found : null
}

function checkPath(text: string, path: string): void {
  for (const component of path.split('/')) {
    if (COMPONENT.test(component)) continue
    if (path === '') throw unusable(text, 'it names no repository')
    if (component === '') throw unusable(text, 'a component of the repository is empty')
    if (COMPONENT.test(component.toLowerCase())) {
      throw unusable(text, `the repository has ${quoted(component)}, expected lower-case letters`)
    }
    throw unusable(
      text,
      `the repository has ${quoted(component)}, expected letters and digits with ".", "_", "__" or "-" between them`,
    )
  }
}

/** Quoted with escapes: it may have come from a stranger and go to a terminal. */
function quoted(value: string): string {
  return JSON.stringify(value.length > SHOWN_LIMIT ? `${value.slice(0, SHOWN_LIMIT)}…` : value)
}

function unusable(text: string, why: string, category: BerthError['category'] = 'invalidArgument'): BerthError {
  return new BerthError(category, `Cannot parse reference ${quoted(text)}: ${why}`)
}

/** With the tag `latest` where there is neither tag nor digest. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === null && reference.digest === null ? { ...reference, tag: DEFAULT_TAG } : reference
}

/** Domain and path: `docker.io/library/debian`. */
export function printRepository({ domain, path }: Reference): string {
  return `${domain}/${path}`
}

/** In full: `docker.io/library/debian:bookworm@sha256:…`. {@link parseReference} reads it back. */
export function printReference(reference: Reference): string {
  return printRepository(reference) + suffix(reference)
}

/** As users write it: `debian:bookworm`. {@link parseReference} reads it back. */
export function familiarReference(reference: Reference): string {
  const { domain, path } = reference
  if (domain !== DEFAULT_DOMAIN) return printReference(reference)
  const short = path.slice(DEFAULT_NAMESPACE.length)
  const isOfficial = path.startsWith(DEFAULT_NAMESPACE) && !short.includes('/')
  // Short of its domain, `docker.io/localhost/x` would be at another one, and `docker.io/library/<64 digits>` an ID.
  const candidates = [...(isOfficial ? [short] : []), path].map(name => name + suffix(reference))
  return candidates.find(text => namesSame(text, reference)) ?? printReference(reference)
}

function suffix({ tag, digest }: Reference): string {
  return `${tag === null ? '' : `:${tag}`}${digest === null ? '' : `@${digest}`}`
}

function namesSame(text: string, reference: Reference): boolean {
  try {
    return printReference(parseReference(text)) === printReference(reference)
  } catch (error) {
    if (error instanceof BerthError) return false
    throw error
  }
}
