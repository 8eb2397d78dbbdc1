import { describe, expect, test } from 'bun:test'
import { BerthError } from '../lib/error.ts'
import { parseImageConfig } from './image-config.ts'
import { parseIndex, parseManifest } from './manifest.ts'
import { DOCKER_INDEX, DOCKER_MANIFEST, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST } from './media-types.ts'

const digest = `sha256:${'0'.repeat(64)}`
const blob = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 7 }
const manifest = { schemaVersion: 2, config: blob, layers: [blob] }
const index = { schemaVersion: 2, manifests: [blob] }
const config = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [digest] } }

const readManifest = (document: unknown, type = OCI_MANIFEST) =>
  parseManifest(JSON.stringify(document), 'it.json', type)
const readIndex = (document: unknown, type = OCI_INDEX) => parseIndex(JSON.stringify(document), 'it.json', type)
const readConfig = (document: unknown) => parseImageConfig(JSON.stringify(document), 'it.json')

describe('parseManifest()', () => {
  test("reads the OCI's and Docker's", () => {
    expect(readManifest(manifest).layers[0]).toMatchObject({ sizeBytes: 7 })
    expect(readManifest({ ...manifest, mediaType: DOCKER_MANIFEST }, DOCKER_MANIFEST).config).toMatchObject({
      sizeBytes: 7,
    })
  })

  test('reads an artifact', () => {
    const empty = { mediaType: OCI_EMPTY, digest, size: 2, data: 'e30=' }
    const artifact = { ...manifest, artifactType: 'application/x', config: empty, layers: [empty], subject: blob }
    expect(readManifest(artifact)).toMatchObject({ artifactType: 'application/x', subject: { sizeBytes: 7 } })
    expect(readManifest(artifact).config.data).toBe('e30=')
  })

  test('reads data of megabytes', () => {
    const large = { ...blob, size: 3_000_000, data: 'AAAA'.repeat(1_000_000) }
    expect(readManifest({ ...manifest, config: large }).config.sizeBytes).toBe(3_000_000)
  })

  test("refuses Docker's schema 1 by name", () => {
    const type = 'application/vnd.docker.distribution.manifest.v1+prettyjws'
    const schema1 = { schemaVersion: 1, name: 'x', tag: 'y', fsLayers: [{ blobSum: digest }], history: [] }
    expect(() => readManifest(schema1, type)).toThrow(/it is a manifest of Docker's schema 1/)
    expect(() => readIndex(schema1, type)).toThrow(/it is a manifest of Docker's schema 1/)
    expect(() => readManifest(schema1)).toThrow(/config is absent/)
  })

  test('refuses a name that is there twice, at any depth', () => {
    const json = JSON.stringify(manifest)
    const twice = json.replace('"schemaVersion":2', '"schemaVersion":2,"schemaVersion":2')
    expect(() => parseManifest(twice, 'it.json', OCI_MANIFEST)).toThrow(
      'Cannot parse it.json: it has "schemaVersion" twice',
    )
    const below = json.replace('"size":7', '"size":8,"size":7')
    expect(() => parseManifest(below, 'it.json', OCI_MANIFEST)).toThrow('it has "size" twice')
  })

  test('reads bytes, and refuses those that are no UTF-8 or begin with a byte order mark', () => {
    const bytes = Buffer.from(JSON.stringify(manifest))
    expect(parseManifest(bytes, 'it.json', OCI_MANIFEST).layers).toHaveLength(1)
    const broken = Buffer.concat([bytes.subarray(0, -1), Buffer.from(',"x":"\xff"}', 'latin1')])
    expect(() => parseManifest(broken, 'it.json', OCI_MANIFEST)).toThrow('it is not UTF-8')
    const marked = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytes])
    expect(() => parseManifest(marked, 'it.json', OCI_MANIFEST)).toThrow('expected JSON')
  })

  test('refuses 100 MB without reading it', () => {
    expect(() => parseManifest(new Uint8Array(100_000_000), 'it.json', OCI_MANIFEST)).toThrow(
      'it has 100000000 bytes, expected at most 4194304',
    )
  })

  test('refuses two million levels of nesting', () => {
    const deep = `{"x":${'['.repeat(2_000_000)}`
    expect(() => parseManifest(deep, 'it.json', OCI_MANIFEST)).toThrow(BerthError)
    const closed = `{"x":${'['.repeat(2_000_000)}${']'.repeat(2_000_000)}}`
    expect(() => parseManifest(closed, 'it.json', OCI_MANIFEST)).toThrow(BerthError)
  })

  test('ignores properties that it does not know', () => {
    expect(readManifest({ ...manifest, future: [1] })).not.toHaveProperty('future')
  })

  test.each<[string, unknown, RegExp]>([
    ['schema 1', { ...manifest, schemaVersion: 1 }, /schemaVersion is 1/],
    ['no layers', { ...manifest, layers: [] }, /layers is an array, expected an array of at least 1/],
    ['501 layers', { ...manifest, layers: Array(501).fill(blob) }, /at most 500, not 501/],
    ['no config', { schemaVersion: 2, layers: [blob] }, /config is absent/],
    ['a null config', { ...manifest, config: null }, /config is absent/],
    ['a bad digest', { ...manifest, config: { ...blob, digest: 'sha256:../x' } }, /config.digest is "sha256:..\/x"/],
    ['a negative size', { ...manifest, layers: [{ ...blob, size: -1 }] }, /layers\[0\].size is -1/],
    ['a fractional size', { ...manifest, layers: [{ ...blob, size: 1.5 }] }, /layers\[0\].size is 1.5/],
    ['a size of 2^63', { ...manifest, layers: [{ ...blob, size: 2 ** 63 }] }, /layers\[0\].size/],
    ['a bad media type', { ...manifest, config: { ...blob, mediaType: 'x' } }, /config.mediaType is "x"/],
    ['a bad annotation', { ...manifest, annotations: { a: 1 } }, /annotations.a is 1/],
    ['manifests too', { ...manifest, manifests: [] }, /manifests is an array, expected it to be absent/],
    ['another type', { ...manifest, mediaType: OCI_INDEX }, /mediaType is .*index/],
    ['layers of schema 1 too', { ...manifest, fsLayers: [] }, /fsLayers is an array, expected it to be absent/],
    ['a second spelling', { ...manifest, Layers: [blob] }, /Layers is "Layers", expected the spelling layers/],
    ['a second spelling below', { ...manifest, config: { ...blob, DIGEST: 'x' } }, /expected the spelling digest/],
    ['data of another size', { ...manifest, config: { ...blob, data: 'e30=' } }, /data of 7 bytes as size says, not 2/],
    ['data that is no base64', { ...manifest, config: { ...blob, size: 3, data: 'e3-=' } }, /config.data is .*base64/],
    ['data with too few digits', { ...manifest, config: { ...blob, size: 3, data: 'e30' } }, /config.data is .*base64/],
  ])('refuses %s', (_, document, message) => expect(() => readManifest(document)).toThrow(message))
})

describe('parseIndex()', () => {
  test('reads the platform of a manifest', () => {
    const platform = { os: 'linux', architecture: 'arm', variant: 'v7', 'os.features': ['x'] }
    expect(readIndex({ ...index, manifests: [{ ...blob, platform }] }).manifests[0]?.platform).toEqual(platform)
    expect(readIndex({ ...index, mediaType: DOCKER_INDEX }, DOCKER_INDEX).manifests).toHaveLength(1)
  })

  test('reads 10,000 entries', () => {
    const entry = { ...blob, mediaType: OCI_MANIFEST, platform: { os: 'linux', architecture: 'amd64' } }
    expect(readIndex({ ...index, manifests: Array(10_000).fill(entry) }).manifests).toHaveLength(10_000)
  })

  test.each<[string, unknown, RegExp]>([
    ['20,001 entries', { ...index, manifests: Array(20_001).fill({}) }, /at most 20000, not 20001/],
    ['layers too', { ...index, layers: [] }, /layers is an array, expected it to be absent/],
    ['a config too', { ...index, config: blob }, /config is an object, expected it to be absent/],
    [
      'a platform without os',
      { ...index, manifests: [{ ...blob, platform: { architecture: 'a' } }] },
      /platform.os is absent/,
    ],
  ])('refuses %s', (_, document, message) => expect(() => readIndex(document)).toThrow(message))
})

describe('parseImageConfig()', () => {
  test('reads what to run', () => {
    const { config: read, diffIds } = readConfig({
      ...config,
      config: {
        User: 'app:app',
        ExposedPorts: { '80/tcp': {} },
        Env: ['A=1', 'B'],
        Entrypoint: null,
        Cmd: ['sh'],
        Volumes: { '/data': {} },
        WorkingDir: '/srv',
        Labels: { a: 'b' },
        StopSignal: '15',
      },
    })
    expect<readonly string[]>(diffIds).toEqual([digest])
    expect(read).toEqual({
      user: 'app:app',
      exposedPorts: ['80/tcp'],
      env: ['A=1', 'B'],
      entrypoint: [],
      cmd: ['sh'],
      volumes: ['/data'],
      workingDir: '/srv',
      labels: { a: 'b' },
      stopSignal: '15',
    })
  })

  test.each<[string, unknown, RegExp]>([
    ['no rootfs', { ...config, rootfs: null }, /rootfs is absent/],
    ['another rootfs', { ...config, rootfs: { type: 'disk', diff_ids: [] } }, /rootfs.type is "disk"/],
    ['a bad diffID', { ...config, rootfs: { type: 'layers', diff_ids: ['x'] } }, /rootfs.diff_ids\[0\] is "x"/],
    ['a NUL in the environment', { ...config, config: { Env: ['A=\0'] } }, /config.Env\[0\]/],
    ['a command that is a text', { ...config, config: { Cmd: 'sh' } }, /config.Cmd is "sh", expected an array/],
    ['a time that is none', { ...config, created: 'yesterday' }, /created is "yesterday"/],
  ])('refuses %s', (_, document, message) => expect(() => readConfig(document)).toThrow(message))
})
