/** Images whose documents lie: about sizes, digests and kinds, at every level. Class E of docs/security.md. */
import { describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OciLayout } from '../../src/content/oci-layout.ts'
import { openLayoutImage } from '../../src/image/oci-layout-image.ts'
import { resolveManifest } from '../../src/image/resolve-manifest.ts'
import { OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { testIf } from '../support/requirement.ts'
import { archive } from '../support/tar-archive.ts'

const rootTest = testIf('root')
const amd64 = { os: 'linux', architecture: 'amd64' }
const tar = archive({ name: 'hello', content: new TextEncoder().encode('world') })

type Level = 'index' | 'manifest' | 'config' | 'layer'
type Algorithm = 'sha256' | 'sha512'

interface WireDescriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
}

/** Changes what is said of a blob, after it was written. */
type Lie = (truth: WireDescriptor, layout: Layout) => WireDescriptor

/** A layout that is made from the bottom up, with a lie at one level. */
class Layout implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'berth-layout-'))
  readonly #algorithm: Algorithm

  constructor(algorithm: Algorithm = 'sha256') {
    this.#algorithm = algorithm
    mkdirSync(join(this.path, 'blobs', algorithm), { recursive: true })
    writeFileSync(join(this.path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  }

  blob(content: Uint8Array | string, mediaType: string): WireDescriptor {
    const digest = this.digestOf(content)
    writeFileSync(join(this.path, 'blobs', digest.replace(':', '/')), content)
    return { mediaType, digest, size: Buffer.byteLength(content) }
  }

  digestOf(content: Uint8Array | string): string {
    return `${this.#algorithm}:${new Bun.CryptoHasher(this.#algorithm).update(content).digest('hex')}`
  }

  /** The layout's index.json names an index, that a manifest, that a config and a layer. */
  image(lies: Partial<Readonly<Record<Level, Lie>>> = {}, diffId = this.digestOf(tar)): this {
    const said = (level: Level, truth: WireDescriptor) => lies[level]?.(truth, this) ?? truth
    const layers = [said('layer', this.blob(tar, OCI_LAYER))]
    const config = this.json({ ...amd64, rootfs: { type: 'layers', diff_ids: [diffId] } }, OCI_CONFIG)
    const manifest = this.json({ schemaVersion: 2, config: said('config', config), layers }, OCI_MANIFEST)
    const index = this.json({ schemaVersion: 2, manifests: [said('manifest', manifest)] }, OCI_INDEX)
    return this.finish(said('index', index))
  }

  json(document: unknown, mediaType: string): WireDescriptor {
    return this.blob(JSON.stringify(document), mediaType)
  }

  finish(...manifests: readonly unknown[]): this {
    writeFileSync(join(this.path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }))
    return this
  }

  async open(): Promise<readonly string[]> {
    const hold = () => ({ [Symbol.dispose]: () => undefined })
    const options = { warn: () => undefined, hold, platform: amd64 }
    const { lowers } = await openLayoutImage({ path: this.path, tag: null }, join(this.path, 'data'), options)
    return lowers
  }

  async resolve(): Promise<unknown> {
    await using layout = await OciLayout.open(this.path)
    return await resolveManifest(layout, null, amd64)
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true })
  }
}

const LEVELS: readonly Level[] = ['index', 'manifest', 'config', 'layer']
const LIES: Readonly<Record<string, Lie>> = {
  'a size of one byte more': truth => ({ ...truth, size: truth.size + 1 }),
  'a size of one byte less': truth => ({ ...truth, size: truth.size - 1 }),
  'a size of 0': truth => ({ ...truth, size: 0 }),
  'the digest of nothing': (truth, layout) => ({ ...truth, digest: layout.digestOf('nothing that is there') }),
}

/** Puts other content of the same size where the blob is. */
const exchanged: Lie = (truth, layout) => {
  writeFileSync(join(layout.path, 'blobs', truth.digest.replace(':', '/')), new Uint8Array(truth.size).fill(0x20))
  return truth
}

for (const algorithm of ['sha256', 'sha512'] as const) {
  describe(`an image by ${algorithm}`, () => {
    rootTest('is opened when all of it is true', async () => {
      using layout = new Layout(algorithm).image()
      const [lower = ''] = await layout.open()
      expect(lower).toContain(`/layers/${algorithm}/`)
      expect(readdirSync(lower)).toEqual(['hello'])
    })

    for (const level of LEVELS) {
      rootTest(`is refused for what its ${level} is said to be`, async () => {
        for (const [name, lie] of Object.entries(LIES)) {
          using layout = new Layout(algorithm).image({ [level]: lie })
          const expected = /bytes, expected|it is not there/
          expect({ name, message: await messageOf(layout.open()) }).toEqual({
            name,
            message: expect.stringMatching(expected),
          })
          expect(layersOf(layout)).toEqual([])
        }
      })

      rootTest(`is refused when other bytes are in the place of its ${level}`, async () => {
        using layout = new Layout(algorithm).image({ [level]: exchanged })
        expect(await messageOf(layout.open())).toMatch(/content has the digest/)
        expect(layersOf(layout)).toEqual([])
      })
    }

    rootTest('is refused when its layer unpacks to something else than the config says', async () => {
      using layout = new Layout(algorithm)
      layout.image({}, layout.digestOf('something else'))
      expect(await messageOf(layout.open())).toMatch(/its content has the digest/)
      expect(layersOf(layout)).toEqual([])
    })
  })
}

async function messageOf(opening: Promise<unknown>): Promise<string> {
  return await opening.then(
    () => 'it was opened',
    error => error.message,
  )
}

/** What is unpacked, or being unpacked. */
function layersOf({ path }: Layout): readonly string[] {
  try {
    return readdirSync(join(path, 'data/layers'), { recursive: true })
      .map(String)
      .filter(name => name.includes('root'))
  } catch {
    // It was refused before there was a store.
    return []
  }
}

describe('CVE-2021-41190: a document of two kinds', () => {
  const blob = { mediaType: OCI_LAYER, digest: `sha256:${'1'.repeat(64)}`, size: 1 }
  const body = JSON.stringify({ schemaVersion: 2, config: blob, layers: [blob] }).slice(0, -1)
  const cases: readonly (readonly [what: string, json: string, mediaType: string, why: RegExp])[] = [
    [
      'a manifest with manifests',
      `${body},"manifests":[]}`,
      OCI_MANIFEST,
      /manifests is an array, expected it to be absent/,
    ],
    ['a manifest with Manifests', `${body},"Manifests":[]}`, OCI_MANIFEST, /expected the spelling manifests/],
    ['an index with layers', `${body},"manifests":[]}`, OCI_INDEX, /expected it to be absent/],
    [
      'an index with LAYERS',
      '{"schemaVersion":2,"manifests":[],"LAYERS":[]}',
      OCI_INDEX,
      /expected the spelling layers/,
    ],
    [
      'a manifest with fsLayers',
      `${body},"fsLayers":[]}`,
      OCI_MANIFEST,
      /fsLayers is an array, expected it to be absent/,
    ],
    ['a manifest with layers twice', `${body},"layers":[]}`, OCI_MANIFEST, /array of at least 1|has "layers" twice/],
    ['a manifest named as an index', `${body}}`, OCI_INDEX, /manifests is absent/],
    [
      'a manifest that says it is an index',
      `${body},"mediaType":"${OCI_INDEX}"}`,
      OCI_MANIFEST,
      /mediaType is .*index/,
    ],
    ['a manifest named as a layer', `${body}}`, OCI_LAYER, /holds 0 manifests/],
  ]
  test.each(cases)('is refused: %s', async (_, json, mediaType, why) => {
    using layout = new Layout()
    layout.finish(layout.blob(json, mediaType))
    await expect(layout.resolve()).rejects.toThrow(why)
  })
})

describe('a document that is too much', () => {
  test('an index.json of 100 MB is refused after 4', async () => {
    using layout = new Layout().image()
    truncateSync(join(layout.path, 'index.json'), 100_000_000)
    await expect(layout.resolve()).rejects.toThrow('it has more than 4194304 bytes')
  })

  test('a manifest of 100 MB is refused before it is read', async () => {
    using layout = new Layout()
    const manifest = layout.blob('{}', OCI_MANIFEST)
    truncateSync(join(layout.path, 'blobs', manifest.digest.replace(':', '/')), 100_000_000)
    layout.finish({ ...manifest, size: 100_000_000 })
    await expect(layout.resolve()).rejects.toThrow('it has 100000000 bytes, expected at most 4194304')
  })

  test('of an index of 10,000 entries the one that fits is found', async () => {
    using layout = new Layout()
    const layer = layout.blob(tar, OCI_LAYER)
    const config = layout.json({ ...amd64, rootfs: { type: 'layers', diff_ids: [] } }, OCI_CONFIG)
    const manifest = layout.json({ schemaVersion: 2, config, layers: [layer] }, OCI_MANIFEST)
    const other = { ...manifest, platform: { os: 'linux', architecture: 's390x' } }
    const entries = Array.from({ length: 10_000 }, (_, index) =>
      index === 9_999
        ? { ...manifest, platform: amd64 }
        : { ...other, digest: `sha256:${String(index).padStart(64, '0')}` },
    )
    layout.finish(layout.json({ schemaVersion: 2, manifests: entries }, OCI_INDEX))
    expect(await layout.resolve()).toMatchObject({ config: { digest: config.digest } })
  })

  test('an index of 20,001 entries is refused', async () => {
    using layout = new Layout()
    const entry = { mediaType: OCI_MANIFEST, digest: `sha256:${'1'.repeat(64)}`, size: 1 }
    layout.finish(layout.json({ schemaVersion: 2, manifests: Array(20_001).fill(entry) }, OCI_INDEX))
    await expect(layout.resolve()).rejects.toThrow('expected an array of at most 20000, not 20001')
  })
})
