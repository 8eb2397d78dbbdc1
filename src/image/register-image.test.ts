import { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import type { Descriptor } from '../oci/descriptor.ts'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST } from '../oci/media-types.ts'
import type { Platform } from '../oci/platform.ts'
import { INDEX_DEPTH_LIMIT } from './choose-manifest.ts'
import { ImageRecords } from './image-records.ts'
import { IMAGE_SCHEMA } from './image-schema.ts'
import { IMAGE_DOCUMENTS_LIMIT, registerImage } from './register-image.ts'

function digestOf(bytes: Uint8Array | string): Digest {
  return parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`)
}

/** Content in memory, and the records that go with it. */
class Store {
  readonly records: ImageRecords
  readonly blobs = new Map<Digest, Uint8Array>()
  index: readonly Descriptor[] = []
  readonly database = new Database(':memory:', { strict: true })

  constructor() {
    this.database.run(IMAGE_SCHEMA)
    this.records = new ImageRecords(this.database)
  }

  readonly content = {
    find: async (digest: Digest): Promise<number | null> => this.blobs.get(digest)?.length ?? null,
    readDocument: async ({ digest }: Pick<Descriptor, 'digest'>): Promise<Uint8Array> =>
      this.blobs.get(digest) ?? new Uint8Array(),
    writeIndex: async (manifests: readonly Descriptor[]): Promise<void> => {
      this.index = manifests
    },
    keep: async (): Promise<void> => {
      this.imagesWhenKept.push(this.records.list().length)
    },
  }
  /** How many images there were each time that the blobs were made safe. */
  readonly imagesWhenKept: number[] = []

  blob(text: string, mediaType: string): Descriptor {
    const bytes = Buffer.from(text)
    const digest = digestOf(bytes)
    this.blobs.set(digest, bytes)
    return { mediaType, digest, sizeBytes: bytes.length }
  }

  json(document: object, mediaType: string): Descriptor {
    const wire = (value: unknown): unknown => JSON.parse(JSON.stringify(value).replaceAll('"sizeBytes":', '"size":'))
    return this.blob(JSON.stringify(wire(document)), mediaType)
  }

  image(name: string, platform: Platform = { os: 'linux', architecture: 'amd64' }, more: object = {}): Descriptor {
    const diffId = digestOf(`unpacked ${name}`)
    const document = { ...platform, created: '2024-01-02T03:04:05Z', config: { Labels: { name } } }
    const config = this.json({ ...document, rootfs: { type: 'layers', diff_ids: [diffId] } }, OCI_CONFIG)
    const layers = [this.blob(`layer ${name}`, `${OCI_LAYER}+gzip`)]
    const manifest = this.json({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers, ...more }, OCI_MANIFEST)
    return { ...manifest, platform }
  }

  indexOf(...manifests: readonly Descriptor[]): Descriptor {
    return this.json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }, OCI_INDEX)
  }

  remove(text: string): Digest {
    this.blobs.delete(digestOf(text))
    return digestOf(text)
  }
}

const NAME = 'example.com/x:1'
const ARM = { os: 'linux', architecture: 'arm64', variant: 'v8' }

test('registerImage() remembers an image with its closure, and names it in index.json', async () => {
  const store = new Store()
  const target = store.image('a')
  const record = await registerImage(target, [NAME], store)
  expect(record).toMatchObject({ digest: target.digest, names: [NAME], sizeBytes: target.sizeBytes })
  const [manifest] = record.manifests
  expect(manifest).toMatchObject({
    platform: 'linux/amd64',
    createdMs: Date.UTC(2024, 0, 2, 3, 4, 5),
    labels: { name: 'a' },
  })
  expect(manifest?.layers).toEqual([{ digest: digestOf('layer a'), sizeBytes: 7, diffId: digestOf('unpacked a') }])
  const kept = [target.digest, manifest?.configDigest, digestOf('layer a'), digestOf('unpacked a')]
  expect(
    store.records
      .contentOf(target.digest)
      .map(({ digest }) => digest as string)
      .sort(),
  ).toEqual(kept.map(String).sort())
  expect(store.index).toEqual([
    {
      mediaType: OCI_MANIFEST,
      digest: target.digest,
      sizeBytes: target.sizeBytes,
      annotations: { 'org.opencontainers.image.ref.name': NAME },
    },
  ])
  expect(store.database.query('SELECT * FROM lease').values()).toEqual([])
})

test('registerImage() sees the blobs safe from a loss of power before there is an image of them', async () => {
  const store = new Store()
  await registerImage(store.image('a'), [NAME], store)
  expect([store.imagesWhenKept, store.records.list().length]).toEqual([[0], 1])
})

test('registerImage() of an index puts down the platforms that are complete, also nested ones', async () => {
  const store = new Store()
  const nested = store.indexOf(store.image('arm', ARM))
  const target = store.indexOf(store.image('a'), store.image('half', { os: 'linux', architecture: 's390x' }), nested)
  store.remove('layer half')
  const record = await registerImage(target, [], store)
  expect(record.manifests.map(each => each.platform)).toEqual(['linux/amd64', 'linux/arm64/v8'])
  const kept = store.records.contentOf(target.digest).map(({ digest }) => digest)
  expect(kept).toContain(nested.digest)
  expect(kept).not.toContain(digestOf('unpacked half'))
})

test('registerImage() keeps an attestation of an index, and offers it as no platform', async () => {
  const store = new Store()
  const attestation = store.image('proof', { os: 'unknown', architecture: 'unknown' })
  const target = store.indexOf(store.image('a'), attestation)
  const record = await registerImage(target, [], store)
  expect(record.manifests.map(each => each.platform)).toEqual(['linux/amd64'])
  expect(store.records.contentOf(target.digest).map(({ digest }) => digest)).toContain(attestation.digest)
})

test('registerImage() tells of a name that was of another image', async () => {
  const store = new Store()
  const first = await registerImage(store.image('a'), [NAME], store)
  const moved: unknown[] = []
  await registerImage(store.image('b'), [NAME], store, { onMoved: names => moved.push(...names) })
  expect(moved).toEqual([{ name: NAME, from: first.digest }])
})

test('registerImage() refuses an image of which a blob is missing, and puts nothing down', async () => {
  const store = new Store()
  const target = store.image('a')
  const missing = store.remove('layer a')
  await expect(registerImage(target, [NAME], store)).rejects.toThrow(`blob ${missing} is missing`)
  expect(store.records.list()).toEqual([])
  store.blobs.delete(target.digest)
  await expect(registerImage(target, [NAME], store)).rejects.toThrow(`blob ${target.digest} is missing`)
})

test('registerImage() refuses an artifact', async () => {
  const store = new Store()
  const config = store.json({}, 'application/vnd.example+json')
  await expect(registerImage(store.image('a', undefined, { config }), [NAME], store)).rejects.toThrow(
    'it holds no image, expected one',
  )
})

test('registerImage() refuses a blob of another size than its descriptor says', async () => {
  const store = new Store()
  const target = store.image('a')
  store.blobs.set(digestOf('layer a'), new Uint8Array(3))
  await expect(registerImage(target, [NAME], store)).rejects.toThrow('it has 3 bytes, expected 7')
})

test('registerImage() refuses a manifest and a config that differ in the number of layers', async () => {
  const store = new Store()
  const layer = store.blob('another', OCI_LAYER)
  const target = store.image('a', undefined, { layers: [layer, layer] })
  await expect(registerImage(target, [NAME], store)).rejects.toThrow('its config names 1 layers, expected 2')
})

test('registerImage() refuses a layer that is no tar archive', async () => {
  const store = new Store()
  const target = store.image('a', undefined, { layers: [store.blob('text', 'text/plain')] })
  await expect(registerImage(target, [NAME], store)).rejects.toThrow('it is text/plain, expected a tar archive')
})

test('registerImage() refuses indexes that nest too deeply', async () => {
  const store = new Store()
  let target = store.image('a')
  for (let depth = 0; depth <= INDEX_DEPTH_LIMIT; depth++) target = store.indexOf(target)
  await expect(registerImage(target, [NAME], store)).rejects.toThrow('its indexes nest deeper than')
})

test('registerImage() takes an index with 10,000 entries of which one is here, and refuses one with too many here', async () => {
  const store = new Store()
  const entries = Array.from({ length: 10_000 }, (_, index) => ({
    mediaType: OCI_MANIFEST,
    digest: digestOf(String(index)),
    sizeBytes: 1,
  }))
  const record = await registerImage(store.indexOf(...entries, store.image('a')), [], store)
  expect(record.manifests).toHaveLength(1)
  const many = Array.from({ length: IMAGE_DOCUMENTS_LIMIT }, (_, index) => store.image(String(index)))
  await expect(registerImage(store.indexOf(...many), [], store)).rejects.toThrow(
    'it consists of more than 1000 documents',
  )
})
