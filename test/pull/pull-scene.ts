/** A registry with a proxy in front of it, images in it, and stores to pull into. */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { StateDatabase } from '../../src/engine/state-database.ts'
import { findImage } from '../../src/image/find-image.ts'
import { type ImageStore, openImageStore } from '../../src/image/image-store.ts'
import { type PulledImage, type PullOptions, pullImage } from '../../src/image/pull-image.ts'
import { type PushOptions, pushImage } from '../../src/image/push-image.ts'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { ANONYMOUS } from '../../src/registry/credentials.ts'
import { ProxyRules } from '../../src/registry/proxy-rules.ts'
import { RegistryClient } from '../../src/registry/registry-client.ts'
import { RegistryHosts } from '../../src/registry/registry-hosts.ts'
import { LayoutBuilder } from '../image/layout-builder.ts'
import { run, TemporaryDirectory } from '../image/tree.ts'
import { type RegistryServer, startRegistry } from '../support/registry.ts'
import { archive } from '../support/tar-archive.ts'
import { type RegistryProxy, startProxy } from './registry-proxy.ts'

/** Bytes that compress badly, and are the same each time. */
export function noise(sizeBytes: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes)
  let state = seed * 2_654_435_761 + 1
  for (let index = 0; index < sizeBytes; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes[index] = state >>> 24
  }
  return bytes
}

/** A layer with one file, named by what it has. */
export function layerOf(name: string, sizeBytes = 50_000): Buffer {
  return archive({ name, content: noise(sizeBytes, name.length + name.charCodeAt(0)) })
}

/** Everything that a test of pull and push needs. Dispose it at its end. */
export class PullScene implements AsyncDisposable {
  readonly registry: RegistryServer
  readonly proxy: RegistryProxy
  readonly layout: LayoutBuilder
  readonly warnings: string[] = []
  readonly client: RegistryClient
  readonly #directory: TemporaryDirectory

  private constructor(registry: RegistryServer, proxy: RegistryProxy) {
    this.registry = registry
    this.proxy = proxy
    this.#directory = new TemporaryDirectory()
    this.layout = new LayoutBuilder(this.path('layout'))
    this.client = new RegistryClient({
      hosts: new RegistryHosts([]),
      credentials: ANONYMOUS,
      proxies: new ProxyRules({}),
      warn: message => this.warnings.push(message),
      pause: async () => undefined,
    })
  }

  static async start(): Promise<PullScene> {
    const registry = await startRegistry()
    return new PullScene(registry, await startProxy(registry.host))
  }

  path(...parts: readonly string[]): string {
    return join(this.#directory.path, ...parts)
  }

  /** `127.0.0.1:40123/NAME`, through the proxy. */
  name(name: string): string {
    return `${this.proxy.host}/${name}`
  }

  /** Copies an image of the layout into the registry, past the proxy; all of an index with `all`. */
  upload(tag: string, name: string, ...options: readonly string[]): void {
    const source = `oci:${this.layout.path}:${tag}`
    run(
      ...this.#skopeo,
      'copy',
      '--dest-tls-verify=false',
      ...options,
      source,
      `docker://${this.registry.host}/${name}`,
    )
  }

  /** The digest that a tag has in the registry, by its own word. */
  async digestOf(name: string): Promise<string> {
    const [repository, tag] = name.split(':')
    const accept = ['application/vnd.oci.image.index.v1+json', 'application/vnd.oci.image.manifest.v1+json']
    const answer = await fetch(`http://${this.registry.host}/v2/${repository}/manifests/${tag}`, {
      method: 'HEAD',
      headers: { accept: [...accept, 'application/vnd.docker.distribution.manifest.v2+json'].join(', ') },
      proxy: false,
      keepalive: false,
    } as RequestInit)
    return answer.headers.get('docker-content-digest') ?? `status ${answer.status}`
  }

  get #skopeo(): [string, ...string[]] {
    return ['skopeo', '--insecure-policy']
  }

  /** A store of its own. */
  async store(name = 'data'): Promise<ImageStore> {
    const dataRoot = this.path(name)
    return await openImageStore(dataRoot, new StateDatabase(dataRoot).sqlite)
  }

  async pull(name: string, store: ImageStore, options: Partial<PullOptions> = {}): Promise<PulledImage> {
    return await pullImage(parseReference(this.name(name)), store, this.client, {
      platform: null,
      checkTrust: () => Promise.resolve(),
      warn: message => this.warnings.push(message),
      ...options,
    })
  }

  async push(name: string, store: ImageStore, options: Partial<PushOptions> = {}): Promise<Descriptor> {
    const { image } = findImage(this.name(name), store.records)
    return await pushImage(image, parseReference(this.name(name)), store, this.client, {
      platform: null,
      warn: message => this.warnings.push(message),
      ...options,
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]()
    this.proxy[Symbol.dispose]()
    await this.registry[Symbol.asyncDispose]()
    this.#directory[Symbol.dispose]()
  }
}

/** What a store has on disk beside what its records say it should, each way; nothing is as it should be. */
export async function discrepancies(store: ImageStore): Promise<readonly string[]> {
  const found: string[] = []
  const blobs = new Set<string>()
  for await (const { digest } of store.content.list()) blobs.add(digest)
  const layers = new Set<string>(await store.layers.list())
  for (const [kind, onDisk] of [
    ['blob', blobs],
    ['layer', layers],
  ] as const) {
    const needed: ReadonlySet<string> = store.records.needed(kind)
    for (const digest of onDisk) if (!needed.has(digest)) found.push(`orphan ${kind} ${digest}`)
    for (const digest of needed) if (!onDisk.has(digest)) found.push(`missing ${kind} ${digest}`)
  }
  for await (const damaged of store.content.verify()) found.push(`damaged ${JSON.stringify(damaged)}`)
  for (const name of readdirSync(join(store.content.path, 'ingest'))) found.push(`partial ${name}`)
  for (const name of readdirSync(join(store.content.path, '../layers')))
    if (name.startsWith('.')) found.push(`leftover ${name}`)
  return found
}
