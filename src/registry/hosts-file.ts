/** hosts.toml: how a registry is reached. Source: containerd › docs/hosts.md. */
import { BerthError, messageOf } from '../lib/error.ts'
import { flag, list, map, object, oneOf, parseJson, type Shape, shapeError, text, texts } from '../lib/json-shape.ts'
import { CAPABILITIES, type Capability, defaultScheme } from './endpoint.ts'

/** What is said of one host. Paths are as written, relative to the file. */
export interface HostSettings {
  /** The endpoint's base; empty: nothing is said of the server. */
  readonly base: string
  readonly capabilities: readonly Capability[]
  readonly authorities: readonly string[]
  readonly client: { readonly certificate: string; readonly key: string } | null
  readonly skipVerify: boolean
  readonly headers: Readonly<Record<string, string>>
}

/** A hosts file. */
export interface HostsFile {
  readonly server: HostSettings
  /** Mirrors, in the order of the file. */
  readonly hosts: readonly HostSettings[]
  readonly allowsForeignUrls: boolean
}

interface WireHost {
  readonly capabilities?: readonly Capability[]
  readonly ca?: readonly string[]
  readonly client?: WireClient
  readonly skip_verify?: boolean
  readonly override_path?: boolean
  readonly header?: Readonly<Record<string, readonly string[]>>
}

interface WireFile extends WireHost {
  readonly server?: string
  readonly allow_foreign_urls?: boolean
  readonly host?: Readonly<Record<string, WireHost>>
}

interface WireClient {
  readonly certificate: string
  readonly key: string
}

/** One text or several. */
const oneOrMore: Shape<readonly string[]> = (value, place) =>
  typeof value === 'string' ? [value] : texts(value, place)

/** A file with certificate and key, or a pair of files; in a list of one, as containerd allows several and uses the first that fits. */
const client: Shape<WireClient> = (value, place) => {
  if (typeof value === 'string') return { certificate: value, key: value }
  const [only, ...others] = list<WireClient>((each, at) => {
    if (typeof each === 'string') return { certificate: each, key: each }
    const [certificate = '', key = ''] = texts(each, at)
    if (certificate === '' || texts(each, at).length > 2) throw shapeError(each, at, 'a certificate and its key')
    return { certificate, key: key === '' ? certificate : key }
  })(value, place)
  if (only === undefined || others.length > 0) throw shapeError(value, place, 'one certificate and its key')
  return only
}

const hostProperties = {
  capabilities: list(oneOf(CAPABILITIES)),
  ca: oneOrMore,
  client,
  skip_verify: flag,
  override_path: flag,
  header: map(oneOrMore),
}
const host = object<WireHost>(hostProperties)
const file = object<WireFile>({ ...hostProperties, server: text, allow_foreign_urls: flag, host: map(host) })

/**
 * Parses a hosts file; `path` is its name in errors.
 * @throws {BerthError} invalidArgument: no TOML, of another shape, or with a key that would have no effect
 */
export function parseHostsFile(source: string, path: string): HostsFile {
  const { value, warnings } = parseJson(JSON.stringify(readToml(source, path)), path, file)
  // A setting that is silently not there can be a certificate that is not checked.
  if (warnings[0] !== undefined) throw new BerthError('invalidArgument', `Cannot use ${warnings[0]}`)
  const { server, allow_foreign_urls, host: hosts = {} } = value
  return {
    server: settingsOf(server ?? '', value, path),
    hosts: Object.entries(hosts).map(([url, each]) => settingsOf(url, each, path, MIRROR_CAPABILITIES)),
    allowsForeignUrls: allow_foreign_urls ?? false,
  }
}

function readToml(source: string, path: string): unknown {
  try {
    return Bun.TOML.parse(source)
  } catch (cause) {
    throw new BerthError('invalidArgument', `Cannot parse ${path}: ${messageOf(cause)}, expected TOML`, { cause })
  }
}

/** What a mirror may do when the file does not say: nobody's push goes elsewhere by mistake. */
const MIRROR_CAPABILITIES: readonly Capability[] = ['pull', 'resolve']

function settingsOf(
  url: string,
  wire: WireHost,
  path: string,
  capabilities: readonly Capability[] = CAPABILITIES,
): HostSettings {
  const headers = Object.entries(wire.header ?? {}).map(
    ([name, values]) => [name.toLowerCase(), values.join(', ')] as const,
  )
  for (const [name, value] of headers) checkHeader(name, value, path)
  return {
    base: url === '' ? '' : baseOf(url, wire.override_path ?? false, path),
    capabilities: wire.capabilities ?? capabilities,
    authorities: wire.ca ?? [],
    client: wire.client ?? null,
    skipVerify: wire.skip_verify ?? false,
    headers: Object.fromEntries(headers),
  }
}

function checkHeader(name: string, value: string, path: string): void {
  if (/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name) && /^[\x20-\x7e\t]*$/.test(value)) return
  throw new BerthError('invalidArgument', `Cannot use ${path}: header "${name}" is malformed`)
}

/** The base below which the API is: `/v2` is added unless it is there or the path is said to be the whole. */
function baseOf(text: string, overridesPath: boolean, path: string): string {
  const whole = /^https?:\/\//i.test(text) ? text : `${defaultScheme(text.split('/')[0] ?? '')}://${text}`
  const problem = (why: string): BerthError =>
    new BerthError('invalidArgument', `Cannot use ${path}: host "${text}" ${why}`)
  if (!URL.canParse(whole) || /^[a-z][a-z0-9+.-]*:\/\//i.test(text) !== /^https?:\/\//i.test(text))
    throw problem('is no URL of http or https')
  const url = new URL(whole)
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw problem('has more than a host and a path; credentials are for "berth login"')
  const below = url.pathname.replace(/\/+$/, '')
  const suffix = overridesPath || below.endsWith('/v2') ? '' : '/v2'
  return `${url.origin}${below}${suffix}`
}
