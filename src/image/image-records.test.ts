import { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { type ImageManifest, imageId } from './image-record.ts'
import { type ContentItem, ImageRecords, type NewImage } from './image-records.ts'
import { HOST_IMAGE_SCHEMA, IMAGE_SCHEMA } from './image-schema.ts'

function newDatabase(): Database {
  const database = new Database(':memory:', { strict: true })
  database.run(IMAGE_SCHEMA)
  database.run(HOST_IMAGE_SCHEMA)
  return database
}

function records(): ImageRecords {
  return new ImageRecords(newDatabase())
}

function digestOf(letter: string): Digest {
  return parseDigest(`sha256:${letter.repeat(64)}`)
}

function manifest(letter: string, platform = 'linux/amd64', config = letter): ImageManifest {
  return {
    digest: digestOf(letter),
    platform,
    configDigest: digestOf(config),
    createdMs: 5,
    layers: [{ digest: digestOf('8'), sizeBytes: 7, diffId: digestOf('9') }],
    labels: { a: 'b' },
  }
}

function image(letter: string, more: Partial<NewImage> = {}): NewImage {
  const blob = (each: Digest): ContentItem => ({ kind: 'blob', digest: each, sizeBytes: 3 })
  return {
    digest: digestOf(letter),
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    sizeBytes: 3,
    manifests: [manifest(letter)],
    content: [blob(digestOf(letter)), blob(digestOf('8')), { kind: 'layer', digest: digestOf('9'), sizeBytes: 0 }],
    ...more,
  }
}

test('get(), named() and list() return what put() was given', () => {
  const some = records()
  expect(some.put(image('a'), ['example.com/x:2', 'example.com/x:1'], 100)).toEqual([])
  const { content: _, ...facts } = image('a')
  const expected = {
    ...facts,
    names: ['example.com/x:1', 'example.com/x:2'],
    pulledMs: 100,
    usedMs: 100,
    pinned: false,
  }
  expect(some.get(digestOf('a'))).toEqual(expected)
  expect(some.named('example.com/x:1')).toEqual(expected)
  expect(some.list()).toEqual([expected])
  expect(some.named('example.com/x')).toBeNull()
  expect(some.get(digestOf('b'))).toBeNull()
  expect(some.contentOf(digestOf('a'))).toHaveLength(3)
})

test('list() returns the newest first, each with its own names and manifests', () => {
  const some = records()
  some.put(image('a'), ['example.com/x:1'], 100)
  some.put(image('b'), ['example.com/y:1'], 200)
  expect(some.list().map(({ names, manifests }) => [names, manifests.map(each => each.digest)])).toEqual([
    [['example.com/y:1'], [digestOf('b')]],
    [['example.com/x:1'], [digestOf('a')]],
  ])
})

test('put() tells which names it took from other images, which stay without', () => {
  const some = records()
  some.put(image('a'), ['example.com/x:1'], 100)
  expect(some.put(image('b'), ['example.com/x:1'], 200)).toEqual([{ name: 'example.com/x:1', from: digestOf('a') }])
  expect(some.get(digestOf('a'))?.names).toEqual([])
  expect(some.named('example.com/x:1')?.digest).toBe(digestOf('b'))
})

test('put() keeps the platforms and the content that an image had', () => {
  const some = records()
  some.put(image('a', { manifests: [manifest('b')] }), [], 100)
  const more = { kind: 'blob', digest: digestOf('7'), sizeBytes: 1 } as const
  some.put(image('a', { manifests: [manifest('c', 'linux/arm64')], content: [more] }), [], 200)
  expect(some.get(digestOf('a'))?.manifests.map(each => each.platform)).toEqual(['linux/amd64', 'linux/arm64'])
  expect(some.contentOf(digestOf('a'))).toHaveLength(4)
})

test('put() refuses a name with the digest of another image', () => {
  expect(() => records().put(image('a'), [`example.com/x@${digestOf('b')}`], 1)).toThrow('of another digest')
})

test('beginning() finds an image by target, manifest and config, and by all of a digest', () => {
  const some = records()
  some.put(image('a', { manifests: [manifest('b', 'linux/amd64', 'c')] }), [], 100)
  some.put(image('d'), [], 200)
  for (const prefix of ['sha256:a', 'sha256:bb', 'sha256:ccc', digestOf('a'), digestOf('c')])
    expect(some.beginning(prefix).map(each => each.digest)).toEqual([digestOf('a')])
  expect(some.beginning('sha256:')).toHaveLength(2)
  expect(some.beginning('sha256:e')).toEqual([])
})

test('tag(), untag() and remove() change names and images', () => {
  const some = records()
  some.put(image('a'), ['example.com/x:1'], 100)
  expect(some.tag(digestOf('a'), 'example.com/y:1')).toEqual([])
  expect(some.names().map(({ name }) => name)).toEqual(['example.com/x:1', 'example.com/y:1'])
  expect(some.untag('example.com/x:1')).toBe(digestOf('a'))
  expect(some.untag('example.com/x:1')).toBeNull()
  expect(some.remove(digestOf('a'))).toBe(true)
  expect(some.remove(digestOf('a'))).toBe(false)
  expect([some.list(), some.names(), some.contentOf(digestOf('a'))]).toEqual([[], [], []])
  expect(() => some.tag(digestOf('a'), 'example.com/y:1')).toThrow(`Cannot find image "${digestOf('a')}"`)
})

test('touch() and pin() are remembered', () => {
  const some = records()
  some.put(image('a'), [], 100)
  some.touch(digestOf('a'), 150)
  some.touch(digestOf('a'), 120)
  some.pin(digestOf('a'), true)
  expect(some.get(digestOf('a'))).toMatchObject({ usedMs: 150, pinned: true })
})

const STORED = { blob: ['a', '8', '7'].map(digestOf), layer: ['9', '6'].map(digestOf) }

test('collect() gives what no image, container or living lease needs', () => {
  const database = newDatabase()
  const some = new ImageRecords(database)
  some.put(image('a'), [], 100)
  const garbage = (): unknown => some.collect(STORED, found => found)
  expect(garbage()).toEqual({ blob: [digestOf('7')], layer: [digestOf('6')] })
  {
    using lease = some.lease('a test')
    lease.hold('blob', [digestOf('7')])
    lease.hold('layer', [digestOf('7')])
    expect(garbage()).toEqual({ blob: [], layer: [digestOf('6')] })
  }
  some.remove(digestOf('a'))
  expect(garbage()).toEqual(STORED)
  database.query('INSERT INTO container_content VALUES (?, ?, ?)').run('c', 'layer', digestOf('9'))
  expect(garbage()).toEqual({ ...STORED, layer: [digestOf('6')] })
})

test('collect() does not count the lease of a process that is gone', () => {
  const database = newDatabase()
  const some = new ImageRecords(database)
  const lease = some.lease('a test')
  lease.hold('blob', STORED.blob)
  expect(some.needed('blob').size).toBe(3)
  database.run('UPDATE lease SET start_ticks = 1')
  expect(some.collect(STORED, found => found)).toEqual(STORED)
  some.lease('another').release()
  expect(database.query('SELECT * FROM lease').values()).toEqual([])
  expect(database.query('SELECT * FROM lease_item').values()).toEqual([])
})

test('release() of a lease twice leaves a later lease alone', () => {
  const some = records()
  const first = some.lease('a test')
  first.release()
  const second = some.lease('a test')
  second.hold('blob', [digestOf('7')])
  first.release()
  expect(some.needed('blob')).toEqual(new Set([digestOf('7')]))
  expect(() => first.hold('blob', [digestOf('8')])).toThrow('released')
})

test('containersOf() names the containers that keep a manifest of the image', () => {
  const database = newDatabase()
  const some = new ImageRecords(database)
  some.put(image('a', { manifests: [manifest('b')] }), [], 100)
  for (const id of ['y', 'x'])
    database.query('INSERT INTO container_content VALUES (?, ?, ?)').run(id, 'blob', digestOf('b'))
  expect(some.containersOf(digestOf('a'))).toEqual(['x', 'y'])
})

test('imageId() is the config of the manifest for this machine, else of the first', () => {
  const own = process.arch === 'arm64' ? 'linux/arm64' : 'linux/amd64'
  const manifests = [manifest('b', 'linux/s390x', 'c'), manifest('d', own, 'e')]
  expect(imageId({ digest: digestOf('a'), manifests })).toBe(digestOf('e'))
  expect(imageId({ digest: digestOf('a'), manifests: manifests.slice(0, 1) })).toBe(digestOf('c'))
  expect(imageId({ digest: digestOf('a'), manifests: [] })).toBe(digestOf('a'))
})

test('an image that was made on top of the machine stays one until it is removed, and is none when it comes back', () => {
  const all = records()
  all.put(image('1', { isOnHost: true }), [], 1)
  all.put(image('1'), ['example.com/pulled:1'], 2)
  all.put(image('2', { manifests: [manifest('1')] }), [], 3)
  expect([all.isOnHost(digestOf('1')), all.isOnHost(digestOf('2'))]).toEqual([true, false])
  all.remove(digestOf('1'))
  all.put(image('1'), ['example.com/pulled:1'], 4)
  expect(all.isOnHost(digestOf('1'))).toBe(false)
})
