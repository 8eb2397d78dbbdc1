/** An image store of its own, `berth` on it, and archives to load, in a temporary directory. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StateDatabase } from '../../src/engine/state-database.ts'
import { type ImageStore, openImageStore } from '../../src/image/image-store.ts'
import { type LoadedImage, type LoadOptions, loadImages } from '../../src/image/load-images.ts'
import { LayoutBuilder, sha256 } from '../image/layout-builder.ts'
import { finish, type Outcome } from '../runtime/verbs-machine.ts'
import { ROOT } from '../support/group.ts'
import { type ArchiveEntry, archive } from '../support/tar-archive.ts'

/** `berth` from source. */
export const BERTH: readonly string[] = [process.execPath, join(ROOT, 'src/cli/main.ts')]

/** Everything that a test of images takes; disposing of it removes it all. */
export class StoreBox implements Disposable {
  readonly base: string = mkdtempSync(join(tmpdir(), 'berth-listing-'))
  readonly data: string = join(this.base, 'data')
  readonly warnings: string[] = []

  path(...parts: readonly string[]): string {
    return join(this.base, ...parts)
  }

  file(name: string, content: string | Uint8Array): string {
    const path = this.path(name)
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, content)
    return path
  }

  async store(): Promise<ImageStore> {
    return await openImageStore(this.data, new StateDatabase(this.data).sqlite)
  }

  /** Loads an archive given as bytes, in pieces that fit nothing. */
  async load(bytes: Uint8Array, options: Partial<LoadOptions> = {}): Promise<readonly LoadedImage[]> {
    const warn = (message: string) => this.warnings.push(message)
    return await loadImages(pieces(bytes), await this.store(), { warn, ...options })
  }

  layout(name = 'layout'): LayoutBuilder {
    return new LayoutBuilder(this.path(name))
  }

  /** `berth ARGS` from source. */
  async berth(args: readonly string[], stdin: Uint8Array = new Uint8Array()): Promise<Outcome> {
    const options = {
      cwd: this.base,
      stdin,
      stdout: 'pipe',
      stderr: 'pipe',
      env: { ...process.env, TZ: 'UTC' },
    } as const
    return await finish(Bun.spawn([...this.#command, ...args], options))
  }

  /** `berth ARGS` that goes on. */
  start(args: readonly string[]): Bun.Subprocess<'pipe', 'pipe', 'pipe'> {
    return Bun.spawn([...this.#command, ...args], { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe', cwd: this.base })
  }

  get #command(): readonly string[] {
    return [...BERTH, '--root', this.data, '--run-root', this.path('run')]
  }

  /** `berth ARGS`, which has to succeed; what it prints. */
  async ok(...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.berth(args)
    if (status !== 0) throw new Error(`berth ${args.join(' ')}: ${status} ${stderr}`)
    return stdout
  }

  [Symbol.dispose](): void {
    rmSync(this.base, { recursive: true, force: true })
  }
}

const PIECE_BYTES = 10_007

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES)
}

/** What a test says of an image. */
export interface ArchivedImage {
  readonly layers?: readonly Uint8Array[]
  readonly tags?: readonly string[]
  /** Properties of the config document. */
  readonly document?: Readonly<Record<string, unknown>>
  /** Replaces the file of a layer: compressed, or something else. */
  readonly files?: readonly Uint8Array[]
}

/** A layer with one file. */
export function layerOf(name: string, content: string = name): Buffer {
  return archive({ name, content })
}

/** The config of an image of these layers. */
export function configOf({ layers = [layerOf('file')], document = {} }: ArchivedImage): string {
  const rootfs = { type: 'layers', diff_ids: layers.map(sha256) }
  return JSON.stringify({ architecture: 'amd64', os: 'linux', created: '2020-01-02T03:04:05Z', rootfs, ...document })
}

/** The entries of an archive as Docker 20.10 writes it, without manifest.json. */
export function dockerEntries(image: ArchivedImage): readonly ArchiveEntry[] {
  const { layers = [layerOf('file')], files = layers } = image
  const config = configOf(image)
  return [
    { name: `${sha256(config).slice(7)}.json`, content: Buffer.from(config) },
    ...files.flatMap((content, index): ArchiveEntry[] => {
      const directory = sha256(`${sha256(config)} ${index}`).slice(7)
      return [
        { name: `${directory}/`, type: '5' },
        { name: `${directory}/VERSION`, content: '1.0' },
        { name: `${directory}/json`, content: '{}' },
        { name: `${directory}/layer.tar`, content },
      ]
    }),
  ]
}

/** What manifest.json says of such an image. */
export function dockerManifest(image: ArchivedImage): Readonly<Record<string, unknown>> {
  const names = dockerEntries(image).map(({ name }) => name)
  return {
    Config: names[0],
    RepoTags: image.tags ?? ['example.com/app:1'],
    Layers: names.filter(name => name.endsWith('layer.tar')),
  }
}

/** A whole archive of Docker 20.10. */
export function dockerArchive(...images: readonly ArchivedImage[]): Buffer {
  const entries = images.flatMap(dockerEntries)
  const manifest = { name: 'manifest.json', content: JSON.stringify(images.map(dockerManifest)) }
  return archive(...entries, manifest)
}
