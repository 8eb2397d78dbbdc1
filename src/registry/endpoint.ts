/**
 * Endpoints: the places where the repositories of a registry can be reached, which are the registry itself and its mirrors.
 * Source: distribution-spec › Endpoints; containerd's registry host configuration.
 */
import { BerthError } from '../lib/error.ts'

/** What an endpoint is asked for: content by digest, what a tag stands for, to take content. */
export type Capability = 'pull' | 'resolve' | 'push'

export const CAPABILITIES: readonly Capability[] = ['pull', 'resolve', 'push']

/** How connections to an endpoint are made. Texts are PEM. */
export interface TlsSettings {
  /** Authorities beside those that the system trusts; null: none. */
  readonly authorities: readonly string[] | null
  /** Shown to this endpoint only, never after a redirect to another place. */
  readonly client: { readonly certificate: string; readonly key: string } | null
  readonly skipVerify: boolean
}

/** One place. */
export interface Endpoint {
  /** The registry that it serves, as references name it. */
  readonly domain: string
  /** `https://mirror.example.com/v2`, without a slash at the end. */
  readonly base: string
  readonly capabilities: readonly Capability[]
  readonly tls: TlsSettings
  /** Sent with every request to this origin. */
  readonly headers: Readonly<Record<string, string>>
  /** It serves somebody else's repositories, and is told whose by the parameter `ns`. */
  readonly isMirror: boolean
  /** Layers may be fetched from the `urls` of their descriptors. */
  readonly allowsForeignUrls: boolean
}

export const DEFAULT_TLS: TlsSettings = Object.freeze({ authorities: null, client: null, skipVerify: false })

/** The host and port of an endpoint: the key of its credentials. */
export function hostOf(endpoint: Pick<Endpoint, 'base'>): string {
  return new URL(endpoint.base).host
}

/** Whether a host name can only be this machine (RFC 6761, section 6.3), so that plain HTTP stays on it. */
export function isLoopback(hostname: string): boolean {
  const name = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  return name === 'localhost' || name.endsWith('.localhost') || name === '::1' || /^127(?:\.\d{1,3}){3}$/.test(name)
}

/** The endpoint of a registry about which nothing is configured: https, or plain HTTP when it is on this machine. */
export function defaultEndpoint(domain: string): Endpoint {
  const base = `${defaultScheme(domain)}://${apiHost(domain)}/v2`
  if (!URL.canParse(base)) throw new BerthError('invalidArgument', `Cannot use registry "${domain}": it is no host`)
  return {
    domain,
    base,
    capabilities: CAPABILITIES,
    tls: DEFAULT_TLS,
    headers: {},
    isMirror: false,
    allowsForeignUrls: false,
  }
}

/** The scheme of a host that was named without one. */
export function defaultScheme(host: string): 'http' | 'https' {
  const url = `https://${host}`
  return URL.canParse(url) && isLoopback(new URL(url).hostname) ? 'http' : 'https'
}

// The default registry of references is the one whose API has another name than its images.
function apiHost(domain: string): string {
  return domain === 'docker.io' ? 'registry-1.docker.io' : domain
}
