/** A registry with images, keys of several kinds, and `skopeo` and `berth` under the same policy. */

import { spawnSync } from 'node:child_process'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { COSIGN_ANNOTATIONS } from '../../src/security/trust/attached-signature.ts'
import { LayoutBuilder, sha256, tagged } from '../image/layout-builder.ts'
import { ROOT } from '../support/group.ts'
import { type RegistryServer, startRegistry } from '../support/registry.ts'
import { archive } from '../support/tar-archive.ts'

/** How a command ended. */
export interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** A policy as JSON. */
export type PolicyDocument = Readonly<Record<string, unknown>>

/** Everything that a test of trust takes. Dispose it at its end. */
export class TrustScene implements AsyncDisposable {
  readonly base: string = mkdtempSync(join(tmpdir(), 'berth-trust-'))
  readonly layout: LayoutBuilder = new LayoutBuilder(this.path('layout'))
  registry: RegistryServer
  readonly environment: Record<string, string>

  private constructor(registry: RegistryServer) {
    this.registry = registry
    mkdirSync(this.path('gnupg'), { mode: 0o700 })
    this.environment = {
      PATH: process.env['PATH'] ?? '',
      HOME: this.base,
      TMPDIR: tmpdir(),
      XDG_CONFIG_HOME: this.path('.config'),
      GNUPGHOME: this.path('gnupg'),
      TZ: 'UTC',
    }
    this.file(
      '.config/containers/registries.d/test.yaml',
      `default-docker:\n  lookaside: file://${this.path('lookaside')}\n  lookaside-staging: file://${this.path('lookaside')}\ndocker:\n  ${registry.host}:\n    use-sigstore-attachments: true\n`,
    )
  }

  static async start(): Promise<TrustScene> {
    return new TrustScene(await startRegistry())
  }

  path(...parts: readonly string[]): string {
    return join(this.base, ...parts)
  }

  /** Writes a file and returns its path. */
  file(name: string, content: string | Uint8Array): string {
    const path = this.path(name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
    return path
  }

  /** `127.0.0.1:40123/NAME`. */
  name(name: string): string {
    return `${this.registry.host}/${name}`
  }

  command(command: string, ...args: readonly string[]): Ended {
    const { status, stdout, stderr } = spawnSync(command, args, {
      env: this.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      timeout: 50_000,
    })
    return { status: status ?? -1, stdout, stderr }
  }

  /** A command that has to succeed; what it prints. */
  ok(command: string, ...args: readonly string[]): string {
    const { status, stdout, stderr } = this.command(command, ...args)
    if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${status} ${stderr}`)
    return stdout
  }

  /** `berth ARGS` from source, with a store of its own. */
  berth(...args: readonly string[]): Ended {
    const [command = '', ...first] = this.berthCommand
    return this.command(command, ...first, ...args)
  }

  get berthCommand(): readonly string[] {
    const places = ['--root', this.path('data'), '--run-root', this.path('run')]
    return [process.execPath, join(ROOT, 'src/cli/main.ts'), ...places]
  }

  /** Uploads an image with one file, signed by skopeo if `options` say so. Returns the digest of its manifest. */
  upload(name: string, ...options: readonly string[]): string {
    const tag = name.replaceAll(/[^a-z0-9]/g, '-')
    this.layout.finish(tagged(this.layout.image([archive({ name: tag, content: name })]), tag))
    const digestFile = this.path('digest')
    const copy = [
      '--insecure-policy',
      ...this.registriesOption,
      'copy',
      '--dest-tls-verify=false',
      '--digestfile',
      digestFile,
    ]
    this.ok('skopeo', ...copy, ...options, `oci:${this.layout.path}:${tag}`, `docker://${this.name(name)}`)
    return readFileSync(digestFile, 'utf8').trim()
  }

  get registriesOption(): readonly string[] {
    return ['--registries.d', this.path('.config/containers/registries.d')]
  }

  /** A key pair of gpg; returns its fingerprint. The public key is in `NAME.gpg`. */
  gpgKey(name: string, ...expiry: readonly string[]): string {
    const id = `${name} <${name}@example.com>`
    this.ok('gpg', '--batch', '--passphrase', '', '--quick-gen-key', id, 'ed25519', 'sign', ...expiry)
    const listed = this.ok('gpg', '--with-colons', '--list-keys', `=${id}`)
    const fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(listed)?.[1] ?? ''
    this.ok('gpg', '--yes', '--output', this.path(`${name}.gpg`), '--export', fingerprint)
    return fingerprint
  }

  /** Signs bytes as `containers-signature(5)` says, and puts them into the lookaside tree. */
  putGpgSignature(name: string, digest: string, number: number, payload: string, fingerprint: string): void {
    const [repository = ''] = name.split(':')
    const input = this.file('payload', payload)
    const path = this.path('lookaside', `${repository}@${digest.replace(':', '=')}`, `signature-${number}`)
    mkdirSync(dirname(path), { recursive: true })
    this.ok('gpg', '--batch', '--yes', '--local-user', fingerprint, '--output', path, '--sign', input)
  }

  /** The decisions of skopeo and of berth about one image under one policy. */
  decisions(
    name: string,
    policy: PolicyDocument,
  ): { readonly skopeo: string; readonly berth: string; readonly why: string } {
    const file = this.file('policy.json', JSON.stringify(policy))
    rmSync(this.path('copied'), { recursive: true, force: true })
    const source = `docker://${this.name(name)}`
    const copy = ['--policy', file, ...this.registriesOption, 'copy', '--src-tls-verify=false', '--remove-signatures']
    const skopeo = this.command('skopeo', ...copy, source, `dir:${this.path('copied')}`)
    const berth = this.berth('--policy', file, 'pull', this.name(name))
    return { skopeo: decision(skopeo), berth: decision(berth), why: `${skopeo.stderr}\n${berth.stderr}` }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.command('gpgconf', '--kill', 'all')
    await this.registry[Symbol.asyncDispose]()
    rmSync(this.base, { recursive: true, force: true })
  }
}

function decision({ status }: Ended): string {
  return status === 0 ? 'accepted' : 'refused'
}

/** The payload of a simple signature. */
export function gpgPayload(reference: string, digest: string): string {
  return JSON.stringify({
    critical: {
      identity: { 'docker-reference': reference },
      image: { 'docker-manifest-digest': digest },
      type: 'atomic container signature',
    },
    optional: { creator: 'test', timestamp: 1_700_000_000 },
  })
}

/** The payload of a signature of cosign. */
export function cosignPayload(reference: string, digest: string): string {
  return gpgPayload(reference, digest).replace('atomic container signature', 'cosign container image signature')
}

/** A key as sigstore uses it by default, in `NAME.pub`. */
export function sigstoreKey(scene: TrustScene, name: string): KeyObject {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  scene.file(`${name}.pub`, publicKey.export({ type: 'spki', format: 'pem' }))
  return privateKey
}

/** A signature of cosign's. */
export interface Attachment {
  readonly payload: string
  readonly annotations: Readonly<Record<string, string>>
}

/** Signs a payload. */
export function attachment(payload: string, key: KeyObject, more: Readonly<Record<string, string>> = {}): Attachment {
  const signature = sign('sha256', Buffer.from(payload), key).toString('base64')
  return { payload, annotations: { [COSIGN_ANNOTATIONS.signature]: signature, ...more } }
}

/** Puts signatures beside an image, as cosign does: an image whose layers are the payloads. */
export async function attach(
  scene: TrustScene,
  name: string,
  digest: string,
  attachments: readonly Attachment[],
): Promise<void> {
  const [repository = ''] = name.split(':')
  const config = '{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":[]},"config":{}}'
  for (const content of [config, ...attachments.map(each => each.payload)]) await putBlob(scene, repository, content)
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: descriptorOf('application/vnd.oci.image.config.v1+json', config),
    layers: attachments.map(({ payload, annotations }) => ({
      ...descriptorOf('application/vnd.dev.cosign.simplesigning.v1+json', payload),
      annotations,
    })),
  }
  await putManifest(scene, repository, `${digest.replace(':', '-')}.sig`, manifest)
}

/** A descriptor of a text. */
export function descriptorOf(mediaType: string, content: string): Readonly<Record<string, unknown>> {
  return { mediaType, digest: sha256(content), size: Buffer.byteLength(content) }
}

/** Stores a blob in the registry. */
export async function putBlob(scene: TrustScene, repository: string, content: string): Promise<void> {
  const base = `http://${scene.registry.host}`
  const started = await ask(`${base}/v2/${repository}/blobs/uploads/`, { method: 'POST' })
  const place = new URL(started.headers.get('location') ?? '', base)
  place.searchParams.set('digest', sha256(content))
  const headers = { 'content-type': 'application/octet-stream' }
  await ask(place.href, { method: 'PUT', body: content, headers })
}

/** Stores a manifest in the registry under a tag; returns its digest. */
export async function putManifest(
  scene: TrustScene,
  repository: string,
  tag: string,
  manifest: Readonly<Record<string, unknown>>,
): Promise<string> {
  const body = JSON.stringify(manifest)
  const headers = { 'content-type': String(manifest['mediaType']) }
  await ask(`http://${scene.registry.host}/v2/${repository}/manifests/${tag}`, { method: 'PUT', body, headers })
  return sha256(body)
}

async function ask(url: string, options: RequestInit): Promise<Response> {
  const answer = await fetch(url, { ...options, proxy: false, keepalive: false } as RequestInit)
  if (!answer.ok) throw new Error(`${options.method} ${url}: ${answer.status} ${await answer.text()}`)
  return answer
}
