/**
 * Which proxy a request goes through, as programs of this field read it from the environment.
 * Source: golang.org/x/net/http/httpproxy, whose rules docker and containerd follow.
 */
import { BlockList, isIP } from 'node:net'
import { BerthError } from '../lib/error.ts'
import { isLoopback } from './endpoint.ts'

/** Proxies by scheme and the hosts that are reached without; absent: none. */
export interface ProxySettings {
  readonly http?: string
  readonly https?: string
  /** Comma-separated: hosts (with all below them), `.suffix`, `*.suffix`, addresses, CIDR blocks, each with a port if wanted; `*`. */
  readonly bypass?: string
}

/** The settings of an environment: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, upper case before lower case. */
export function proxySettings(environment: Readonly<Record<string, string | undefined>>): ProxySettings {
  const read = (name: string): string => environment[name] || environment[name.toLowerCase()] || ''
  const [http, https, bypass] = [read('HTTP_PROXY'), read('HTTPS_PROXY'), read('NO_PROXY')]
  return { ...(http !== '' && { http }), ...(https !== '' && { https }), ...(bypass !== '' && { bypass }) }
}

type Rule = (hostname: string, port: string) => boolean

/** Answers which proxy a URL is fetched through. */
export class ProxyRules {
  readonly #proxies: Readonly<Record<string, string | null>>
  readonly #bypass: readonly Rule[]

  /** @throws {BerthError} invalidArgument: a proxy is no URL of http or https */
  constructor({ http, https, bypass = '' }: ProxySettings) {
    this.#proxies = { 'http:': parseProxy(http), 'https:': parseProxy(https) }
    this.#bypass = bypass
      .split(',')
      .map(each => each.trim().toLowerCase())
      .filter(each => each !== '')
      .map(parseRule)
  }

  /** The URL of the proxy for a URL; null: none. This machine is always reached directly. */
  proxyOf(url: URL): string | null {
    const proxy = this.#proxies[url.protocol] ?? null
    const hostname = url.hostname
      .replace(/^\[|\]$/g, '')
      .replace(/\.$/, '')
      .toLowerCase()
    if (proxy === null || isLoopback(hostname)) return null
    const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
    return this.#bypass.some(rule => rule(hostname, port)) ? null : proxy
  }
}

function parseProxy(text: string | undefined): string | null {
  if (text === undefined) return null
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`
  if (URL.canParse(url) && ['http:', 'https:'].includes(new URL(url).protocol)) return url
  // Not the text itself: a proxy's URL often has a password in it.
  throw new BerthError('invalidArgument', 'Cannot use the proxy of the environment: it is no URL of http or https')
}

function parseRule(text: string): Rule {
  if (text === '*') return () => true
  const [, network, length] = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(text) ?? []
  if (network !== undefined) return blockRule(network, Number(length))
  const { host, port } = splitPort(text)
  const samePort = (actual: string): boolean => port === '' || port === actual
  if (isIP(host) !== 0) {
    const same = blockRule(host, isIP(host) === 6 ? 128 : 32)
    return (hostname, actual) => same(hostname, actual) && samePort(actual)
  }
  const name = host.replace(/^\*(?=\.)/, '')
  // A leading dot means the hosts below only; a bare name means itself too.
  return (hostname, actual) =>
    samePort(actual) &&
    (name.startsWith('.') ? hostname.endsWith(name) : hostname === name || hostname.endsWith(`.${name}`))
}

function splitPort(text: string): { readonly host: string; readonly port: string } {
  const [, bracketed, plain, port = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(text) ?? []
  const host = bracketed ?? plain
  return host === undefined ? { host: text, port: '' } : { host, port }
}

function blockRule(network: string, length: number): Rule {
  const family = isIP(network)
  if (family === 0 || length > (family === 6 ? 128 : 32)) return () => false
  const block = new BlockList()
  block.addSubnet(network, length, family === 6 ? 'ipv6' : 'ipv4')
  return hostname => isIP(hostname) !== 0 && block.check(hostname, isIP(hostname) === 6 ? 'ipv6' : 'ipv4')
}
