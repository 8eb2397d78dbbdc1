import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { BerthError, messageOf } from '../lib/error.ts'
import type { TlsSettings } from './endpoint.ts'
import { DEFAULT_TLS, defaultEndpoint, type Endpoint } from './endpoint.ts'
import { type HostSettings, type HostsFile, parseHostsFile } from './hosts-file.ts'

/** A host with or without a port, which is one component of a path. */
const DOMAIN = /^(?!.*\.\.)[A-Za-z0-9[][A-Za-z0-9.:[\]-]*$/
/** A hosts file is some lines. */
const FILE_LIMIT_BYTES = 1024 * 1024

/**
 * Where registries are reached: `<directory>/<registry>/hosts.toml` of the first directory that has it, else
 * `<directory>/_default/hosts.toml`, else the registry itself. Read once per registry.
 */
export class RegistryHosts {
  readonly #directories: readonly string[]
  readonly #known = new Map<string, Promise<readonly Endpoint[]>>()

  constructor(directories: readonly string[]) {
    this.#directories = directories
  }

  /**
   * The endpoints of a registry in the order to try them: mirrors first, itself last.
   * @throws {BerthError} invalidArgument: a file can't be understood; notFound: a certificate that it names is not there
   */
  endpointsOf(domain: string): Promise<readonly Endpoint[]> {
    const known = this.#known.get(domain)
    if (known !== undefined) return known
    const reading = this.#read(domain)
    this.#known.set(domain, reading)
    return reading
  }

  /**
   * The endpoint that a login is for: the registry of that name, or else the mirror at that host, as it is configured for
   * whatever registry it serves.
   */
  async endpointAt(host: string): Promise<Endpoint> {
    const own = (await this.endpointsOf(host)).find(({ isMirror }) => !isMirror) ?? defaultEndpoint(host)
    if (await this.#isConfigured(host)) return own
    for (const domain of await this.#configuredDomains()) {
      const mirror = (await this.endpointsOf(domain)).find(({ base }) => new URL(base).host === host)
      if (mirror !== undefined) return mirror
    }
    return own
  }

  async #isConfigured(domain: string): Promise<boolean> {
    return (await this.#configuredDomains()).includes(domain)
  }

  async #configuredDomains(): Promise<readonly string[]> {
    const lists = this.#directories.map(async directory => {
      try {
        return await readdir(directory)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
        throw new BerthError('forbidden', `Cannot read "${directory}": ${messageOf(error)}`, { cause: error })
      }
    })
    return (await Promise.all(lists)).flat().filter(name => DOMAIN.test(name))
  }

  /** Whether a host is configured as an endpoint of its own that is reached by plain HTTP. */
  async isPlainHttp(host: string): Promise<boolean> {
    // What is only assumed of this machine's own ports is no word of the user.
    if (!(await this.#isConfigured(host))) return false
    const endpoints = await this.endpointsOf(host)
    return endpoints.some(
      ({ base, isMirror }) => !isMirror && base.startsWith('http://') && new URL(base).host === host,
    )
  }

  async #read(domain: string): Promise<readonly Endpoint[]> {
    // A domain is part of a path here: what a reference allows is checked again, as a challenge may name a host too.
    if (!DOMAIN.test(domain)) throw new BerthError('invalidArgument', `Cannot use registry "${domain}": it is no host`)
    for (const name of [domain, '_default']) {
      for (const directory of this.#directories) {
        const path = join(directory, name, 'hosts.toml')
        const text = await textOf(path)
        if (text !== null) return await endpointsOf(domain, parseHostsFile(text, path), path, name === '_default')
      }
    }
    return [defaultEndpoint(domain)]
  }
}

async function endpointsOf(
  domain: string,
  file: HostsFile,
  path: string,
  isDefault: boolean,
): Promise<readonly Endpoint[]> {
  const itself = defaultEndpoint(domain)
  const shared = { domain, allowsForeignUrls: file.allowsForeignUrls }
  const mirrors = file.hosts.map(async host => ({ ...(await endpointOf(host, path)), ...shared, isMirror: true }))
  const configured = await endpointOf(file.server, path)
  // Of all registries only the server can be told by a file for one; _default names mirrors and settings for the others.
  const base = isDefault || configured.base === '' ? itself.base : configured.base
  const server = { ...configured, ...shared, base, isMirror: false }
  return [...(await Promise.all(mirrors)), server]
}

async function endpointOf(
  host: HostSettings,
  path: string,
): Promise<Omit<Endpoint, 'domain' | 'isMirror' | 'allowsForeignUrls'>> {
  return { base: host.base, capabilities: host.capabilities, headers: host.headers, tls: await tlsOf(host, path) }
}

async function tlsOf({ authorities, client, skipVerify }: HostSettings, path: string): Promise<TlsSettings> {
  if (authorities.length === 0 && client === null && !skipVerify) return DEFAULT_TLS
  const read = (file: string): Promise<string> => certificate(resolve(dirname(path), file), path)
  return {
    authorities: authorities.length === 0 ? null : await Promise.all(authorities.map(read)),
    client: client === null ? null : { certificate: await read(client.certificate), key: await read(client.key) },
    skipVerify,
  }
}

async function certificate(file: string, path: string): Promise<string> {
  const text = await textOf(file)
  if (text === null) throw new BerthError('notFound', `Cannot use "${path}": "${file}" is not there`)
  if (!text.includes('-----BEGIN ')) throw new BerthError('invalidArgument', `Cannot use "${file}": it is no PEM file`)
  return text
}

async function textOf(path: string): Promise<string | null> {
  try {
    const bytes = await readFile(path)
    if (bytes.length <= FILE_LIMIT_BYTES) return bytes.toString('utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw new BerthError('forbidden', `Cannot read "${path}": ${code ?? messageOf(error)}`, { cause: error })
  }
  throw new BerthError('invalidArgument', `Cannot read "${path}": it has more than ${FILE_LIMIT_BYTES} bytes`)
}
