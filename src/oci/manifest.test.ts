import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { BerthError } from '../lib/error.ts'
import { parseImageConfig } from './image-config.ts'
import { parseIndex, parseManifest } from './manifest.ts'
import { DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from './media-types.ts'

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
  ])('refuses %s', (_, document, message) => expect(() => readManifest(document)).toThrow(message))
})

describe('parseIndex()', () => {
  test('reads the platform of a manifest', () => {
    const platform = { os: 'linux', architecture: 'arm', variant: 'v7', 'os.features': ['x'] }
    expect(readIndex({ ...index, manifests: [{ ...blob, platform }] }).manifests[0]?.platform).toEqual(platform)
    expect(readIndex({ ...index, mediaType: DOCKER_INDEX }, DOCKER_INDEX).manifests).toHaveLength(1)
  })

  test.each<[string, unknown, RegExp]>([
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
        Healthcheck: { Test: ['NONE'] },
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

test('any JSON is a document or a BerthError, and never anything else', () => {
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom(blob, [blob], digest, 2, null))
  const anything = fc.record(
    {
      schemaVersion: fc.oneof(fc.constant(2), value),
      config: value,
      layers: value,
      manifests: value,
      rootfs: value,
      os: value,
      architecture: value,
      annotations: value,
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(anything, document => {
      for (const read of [readManifest, readIndex, readConfig]) {
        try {
          read(document)
        } catch (error) {
          expect(error).toBeInstanceOf(BerthError)
        }
      }
    }),
    { numRuns: 500 },
  )
})
