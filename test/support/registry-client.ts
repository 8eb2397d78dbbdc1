/** Registry clients for tests: nobody's configuration, no pauses, everything they say is kept. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { type Digest, parseDigest } from '../../src/oci/digest.ts'
import { OCI_CONFIG, OCI_LAYER, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { ANONYMOUS, type Credential, type CredentialSource } from '../../src/registry/credentials.ts'
import type { RegistryLimits } from '../../src/registry/limits.ts'
import { ProxyRules, type ProxySettings } from '../../src/registry/proxy-rules.ts'
import { RegistryClient } from '../../src/registry/registry-client.ts'
import { RegistryHosts } from '../../src/registry/registry-hosts.ts'

/** What a test says of its client. */
export interface TestClientOptions {
  /** hosts.toml by registry. */
  readonly hosts?: Readonly<Record<string, string>>
  /** Credentials by host. */
  readonly credentials?: Readonly<Record<string, Credential>>
  readonly source?: CredentialSource
  readonly proxies?: ProxySettings
  readonly limits?: Partial<RegistryLimits>
}

/** A client with what it said and how long it wanted to pause. */
export class TestClient implements Disposable {
  readonly client: RegistryClient
  readonly warnings: string[] = []
  readonly pausesMs: number[] = []
  readonly registriesDirectory = mkdtempSync(join(tmpdir(), 'berth-registries-'))

  constructor({ hosts = {}, credentials, source, proxies = {}, limits = {} }: TestClientOptions = {}) {
    for (const [domain, text] of Object.entries(hosts)) {
      mkdirSync(join(this.registriesDirectory, domain))
      writeFileSync(join(this.registriesDirectory, domain, 'hosts.toml'), text)
    }
    this.client = new RegistryClient({
      hosts: new RegistryHosts([this.registriesDirectory]),
      credentials: source ?? (credentials === undefined ? ANONYMOUS : sourceOf(credentials)),
      proxies: new ProxyRules(proxies),
      warn: message => this.warnings.push(message),
      limits,
      pause: async (ms, signal) => {
        signal?.throwIfAborted()
        this.pausesMs.push(ms)
      },
    })
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]()
    rmSync(this.registriesDirectory, { recursive: true, force: true })
  }
}

function sourceOf(credentials: Readonly<Record<string, Credential>>): CredentialSource {
  return { find: host => Promise.resolve(credentials[host] ?? null) }
}

/** A name and a password. */
export function password(username: string, password: string): Credential {
  return { kind: 'password', username, password }
}

/** The SHA-256 digest of bytes or a text. */
export function sha256(content: Uint8Array | string): Digest {
  return parseDigest(`sha256:${new Bun.CryptoHasher('sha256').update(content).digest('hex')}`)
}

/** The descriptor of a blob. */
export function blobOf(content: Uint8Array, mediaType: string = OCI_LAYER): Descriptor {
  return { mediaType, digest: sha256(content), sizeBytes: content.length }
}

/** Bytes in which every position can be told from its neighbours. */
export function patternOf(sizeBytes: number): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, at) => (at * 31 + (at >> 8)) & 0xff)
}

/** How {@link RegistryClient.pushBlob} opens bytes that are in memory, in pieces. */
export function openerOf(content: Uint8Array, pieceBytes = 64 * 1024): (offset: number) => AsyncIterable<Uint8Array> {
  return async function* (offset) {
    for (let at = offset; at < content.length; at += pieceBytes) yield content.subarray(at, at + pieceBytes)
  }
}

/** The bytes of an iteration. */
export async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = []
  for await (const piece of pieces) all.push(piece)
  return Buffer.concat(all)
}

/** The bytes of a manifest with a config and layers, and with what else is given. */
export function manifestOf(
  config: Descriptor,
  layers: readonly Descriptor[],
  extra: Readonly<Record<string, unknown>> = {},
): Uint8Array {
  const wire = ({ sizeBytes, ...rest }: Descriptor, mediaType: string) => ({ ...rest, mediaType, size: sizeBytes })
  const document = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: wire(config, OCI_CONFIG),
    layers: layers.map(layer => wire(layer, layer.mediaType)),
    ...extra,
  }
  return new TextEncoder().encode(JSON.stringify(document))
}

/** What a promise is rejected with. */
export async function failureOf(work: Promise<unknown>): Promise<Error> {
  try {
    await work
  } catch (error) {
    if (error instanceof Error) return error
    throw error
  }
  throw new Error('it did not fail')
}
