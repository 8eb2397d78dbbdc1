/** What was loaded is what is saved, and archives of all forms are read. */
import { describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { findImage } from '../../src/image/find-image.ts'
import { imageId } from '../../src/image/image-record.ts'
import { loadLayout } from '../../src/image/load-layout.ts'
import { type ArchiveFormat, saveImages } from '../../src/image/save-images.ts'
import { OCI_INDEX } from '../../src/oci/media-types.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { sha256, tagged } from '../image/layout-builder.ts'
import { run } from '../image/tree.ts'
import { until } from '../runtime/verbs-machine.ts'
import { testIf } from '../support/requirement.ts'
import { archive } from '../support/tar-archive.ts'
import { configOf, dockerArchive, dockerEntries, dockerManifest, layerOf, StoreBox } from './store-box.ts'

const image = { layers: [layerOf('a'), layerOf('b')] }

async function saved(
  box: StoreBox,
  names: readonly string[],
  format: ArchiveFormat = 'docker-archive',
  platform?: string,
) {
  const store = await box.store()
  const found = names.map(name => findImage(name, store.records))
  const options = { format, ...(platform === undefined ? {} : { platform: parsePlatform(platform) }) }
  const pieces: Uint8Array[] = []
  for await (const piece of saveImages(found, store, options)) pieces.push(piece)
  return Buffer.concat(pieces)
}

describe('loadImages()', () => {
  for (const [form, compress] of [
    ['not compressed', (bytes: Uint8Array) => bytes],
    ['compressed with gzip', (bytes: Uint8Array) => gzipSync(bytes)],
    ['compressed with zstd', (bytes: Uint8Array) => zstdCompressSync(bytes)],
  ] as const) {
    test(`loads an archive of Docker 20.10 that is ${form}, with the config's digest as its id`, async () => {
      using box = new StoreBox()
      const [loaded] = await box.load(compress(dockerArchive(image)))
      expect(loaded?.names).toEqual(['example.com/app:1'])
      expect(loaded && String(imageId(loaded.image))).toBe(sha256(configOf(image)))
      const store = await box.store()
      const [layer] = loaded?.image.manifests[0]?.layers ?? []
      expect(String(layer?.digest)).toBe(String(layer?.diffId))
      expect(readdirSync((layer && (await store.layers.find(layer.diffId)))?.path ?? '')).toEqual(['a'])
    })
  }

  testIf('command xz')('loads an archive that is compressed with xz', async () => {
    using box = new StoreBox()
    const { stdout } = spawnSync('xz', ['-c'], { input: dockerArchive(image) })
    expect((await box.load(stdout)).map(({ names }) => names)).toEqual([['example.com/app:1']])
  })

  test('loads layers that are compressed within the archive, as kaniko and bazel write them', async () => {
    using box = new StoreBox()
    const files = [gzipSync(layerOf('a')), zstdCompressSync(layerOf('b'))]
    const [loaded] = await box.load(dockerArchive({ ...image, files }))
    expect(loaded?.image.manifests[0]?.layers.map(({ digest }) => String(digest))).toEqual(files.map(sha256))
  })

  test('follows the links by which older archives share layers', async () => {
    using box = new StoreBox()
    const twice = { layers: [layerOf('a'), layerOf('a')] }
    const [config, ...files] = dockerEntries(twice)
    const [first, second] = files.filter(({ name }) => name.endsWith('layer.tar'))
    const link = { name: second?.name ?? '', type: '2', linkname: `../${first?.name}` }
    const rest = files.filter(entry => entry !== second)
    const manifest = { name: 'manifest.json', content: JSON.stringify([dockerManifest(twice)]) }
    const [loaded] = await box.load(archive(config ?? { name: '' }, ...rest, link, manifest))
    expect(loaded?.image.manifests[0]?.layers).toHaveLength(2)
  })

  test('loads several images, and those without a name by their ids', async () => {
    using box = new StoreBox()
    const other = { layers: [layerOf('c')], tags: [] }
    const loaded = await box.load(dockerArchive({ ...image, tags: ['a:1', 'b'] }, other))
    expect(loaded.map(({ names }) => names)).toEqual([['docker.io/library/a:1', 'docker.io/library/b:latest'], []])
  })

  test('tells which names have moved, and the image that had them stays without', async () => {
    using box = new StoreBox()
    await box.load(dockerArchive(image))
    const moved: string[] = []
    const onMoved = (names: readonly { readonly name: string }[]) => moved.push(...names.map(({ name }) => name))
    await box.load(dockerArchive({ layers: [layerOf('new')] }), { onMoved })
    expect(moved).toEqual(['example.com/app:1'])
    expect(
      (await box.store()).records
        .list()
        .map(({ names }) => names.length)
        .sort(),
    ).toEqual([0, 1])
  })

  test('refuses an image of another platform than was asked for', async () => {
    using box = new StoreBox()
    const options = { platform: parsePlatform('linux/arm64') }
    await expect(box.load(dockerArchive(image), options)).rejects.toThrow('it is for linux/amd64, expected linux/arm64')
  })

  test('leaves no partial file when an archive ends early', async () => {
    using box = new StoreBox()
    await expect(box.load(dockerArchive(image).subarray(0, 4000))).rejects.toThrow()
    expect(readdirSync(box.path('data/content/ingest'))).toEqual([])
  })
})

describe('saveImages()', () => {
  for (const format of ['docker-archive', 'oci-archive'] as const) {
    test(`writes a ${format} that loads as the same image with the same names`, async () => {
      using box = new StoreBox()
      await box.load(dockerArchive({ ...image, tags: ['example.com/app:1', 'app:2'] }))
      const bytes = await saved(box, ['example.com/app:1', 'app:2'], format)
      using other = new StoreBox()
      const [loaded] = await other.load(bytes)
      expect(loaded?.names).toEqual(['docker.io/library/app:2', 'example.com/app:1'])
      expect(String(loaded?.image.digest)).toBe(String((await box.store()).records.list()[0]?.digest))
    })
  }

  test('writes the same bytes for the same images', async () => {
    using box = new StoreBox()
    await box.load(dockerArchive(image))
    expect(await saved(box, ['example.com/app:1'])).toEqual(await saved(box, ['example.com/app:1']))
  })

  test('writes an image that was named by its id without a name', async () => {
    using box = new StoreBox()
    const [loaded] = await box.load(dockerArchive(image))
    const bytes = await saved(box, [loaded ? imageId(loaded.image) : ''])
    using other = new StoreBox()
    expect((await other.load(bytes)).map(({ names }) => names)).toEqual([[]])
  })

  test('writes one platform of several, whose manifest keeps its digest', async () => {
    using box = new StoreBox()
    const layout = box.layout()
    const [amd64, arm64] = ['amd64', 'arm64'].map(architecture => ({
      ...layout.image([layerOf(architecture)], { platform: { architecture } }),
      platform: { os: 'linux', architecture },
    }))
    const index = layout.json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [amd64, arm64] }, OCI_INDEX)
    const path = layout.finish(tagged(index, 'example.com/both:1'))
    const warn = (message: string) => box.warnings.push(message)
    const [loaded] = await loadLayout(path, await box.store(), { warn })
    expect(loaded?.image.manifests.map(({ platform }) => platform)).toEqual(['linux/amd64', 'linux/arm64'])
    using other = new StoreBox()
    const [one] = await other.load(await saved(box, ['example.com/both:1'], 'docker-archive', 'linux/arm64'))
    expect(one && String(one.image.digest)).toBe(String(arm64?.digest))
    await expect(saved(box, ['example.com/both:1'], 'docker-archive', 'linux/s390x')).rejects.toThrow(
      'what is here is for linux/amd64, linux/arm64',
    )
    using third = new StoreBox()
    const [both] = await third.load(await saved(box, ['example.com/both:1']), {
      platform: parsePlatform('linux/amd64'),
    })
    expect(both && String(both.image.digest)).toBe(String(amd64?.digest))
  })
})

describe('berth save', () => {
  test('leaves no file when an image is missing, and replaces none', async () => {
    using box = new StoreBox()
    const { status, stderr } = await box.berth(['save', '-o', box.path('out.tar'), 'nope'])
    expect(stderr).toContain('Cannot find image "nope"')
    expect(status).toBe(125)
    expect(existsSync(box.path('out.tar'))).toBe(false)
  })

  test('writes to standard output what berth load reads from standard input', async () => {
    using box = new StoreBox()
    await box.load(dockerArchive(image))
    await box.ok('save', '-o', box.path('out.tar'), 'example.com/app:1')
    expect(statSync(box.path('out.tar')).mode & 0o777).toBe(0o600)
    using other = new StoreBox()
    const stdin = await Bun.file(box.path('out.tar')).bytes()
    expect((await other.berth(['load'], stdin)).stdout).toBe('Loaded image: example.com/app:1\n')
    expect(readdirSync(box.base).filter(name => name.startsWith('.'))).toEqual([])
  })

  test('leaves nothing when the content is damaged', async () => {
    using box = new StoreBox()
    const [loaded] = await box.load(dockerArchive(image))
    const hex = loaded?.image.manifests[0]?.layers[0]?.digest.slice('sha256:'.length)
    box.file(`data/content/blobs/sha256/${hex}`, Buffer.alloc(layerOf('a').length))
    const { status, stderr } = await box.berth(['save', '-o', box.path('out.tar'), 'example.com/app:1'])
    expect(stderr).toContain('digest')
    expect(status).toBe(125)
    expect(readdirSync(box.base)).toEqual(['data'])
  })

  testIf('root')('leaves nothing when the disk that it writes to is full', async () => {
    using box = new StoreBox()
    await box.load(dockerArchive({ ...image, layers: [layerOf('big', 'x'.repeat(3_000_000))] }))
    const small = box.path('small')
    mkdirSync(small)
    run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'berth-test', small)
    try {
      const { status, stderr } = await box.berth(['save', '-o', join(small, 'out.tar'), 'example.com/app:1'])
      expect(stderr).toBe(`berth: Cannot write to "${small}/out.tar": no space is left on the device\n`)
      expect(status).toBe(125)
      expect(readdirSync(small)).toEqual([])
    } finally {
      run('umount', '-l', small)
    }
  })
})

describe('interrupted', () => {
  test('berth load ends with the signal while it waits for its archive, and leaves nothing', async () => {
    using box = new StoreBox()
    await box.load(dockerArchive(image))
    const process = box.start(['load'])
    process.stdin.write(dockerArchive({ layers: [layerOf('big', 'x'.repeat(500_000))] }).subarray(0, 300_000))
    await process.stdin.flush()
    await until(() => readdirSync(box.path('data/content/ingest')).length > 0)
    process.kill('SIGTERM')
    expect(await process.exited).toBe(128 + 15)
    expect((await box.store()).records.list()).toHaveLength(1)
    expect(readdirSync(box.path('data/content/ingest'))).toEqual([])
  })

  test('berth save ends with the signal while it waits for who reads', async () => {
    using box = new StoreBox()
    await box.load(dockerArchive({ layers: [layerOf('big', 'x'.repeat(5_000_000))] }))
    const process = box.start(['save', 'example.com/app:1'])
    await process.stdout.getReader().read()
    process.kill('SIGINT')
    expect(await process.exited).toBe(128 + 2)
    expect(await new Response(process.stderr).text()).toBe('')
  })

  test('berth save ends in order when nobody reads on', async () => {
    using box = new StoreBox()
    await box.load(dockerArchive({ layers: [layerOf('big', 'x'.repeat(5_000_000))] }))
    const process = box.start(['save', 'example.com/app:1'])
    const reader = process.stdout.getReader()
    await reader.read()
    await reader.cancel()
    expect(await process.exited).toBe(125)
    expect(await new Response(process.stderr).text()).toBe(
      'berth: Cannot write to standard output: who read it has ended\n',
    )
  })
})
