import { expect, test } from 'bun:test'
import { EMPTY_DESCRIPTOR } from './descriptor.ts'
import { parseIndex, parseManifest } from './manifest.ts'
import { formatIndex, formatManifest } from './manifest-format.ts'
import { OCI_INDEX, OCI_MANIFEST } from './media-types.ts'

const digest = `sha256:${'0'.repeat(64)}`

/** Properties in the order in which they are written. */
const blob = {
  mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
  digest,
  size: 3,
  urls: ['https://example.com/x'],
  annotations: { a: '1', b: '2' },
  data: 'AAAA',
  platform: { architecture: 'arm', os: 'linux', 'os.version': '1', 'os.features': ['x'], variant: 'v7' },
  artifactType: 'application/x',
}
const manifest = {
  schemaVersion: 2,
  mediaType: OCI_MANIFEST,
  artifactType: 'application/x',
  config: blob,
  layers: [blob, blob],
  subject: blob,
  annotations: { a: '1', b: '2' },
}
const index = {
  schemaVersion: 2,
  mediaType: OCI_INDEX,
  artifactType: 'application/x',
  manifests: [blob],
  subject: blob,
  annotations: { a: '1' },
}

test('formatManifest() writes what parseManifest() has read, byte by byte', () => {
  const json = JSON.stringify(manifest)
  expect(Buffer.from(formatManifest(parseManifest(json, 'it', OCI_MANIFEST))).toString()).toBe(json)
})

test('formatIndex() writes what parseIndex() has read, byte by byte', () => {
  const json = JSON.stringify(index)
  expect(Buffer.from(formatIndex(parseIndex(json, 'it', OCI_INDEX))).toString()).toBe(json)
})

test('formatManifest() writes the same bytes whatever the order of properties and annotations', () => {
  const turned = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(turned)
    if (typeof value !== 'object' || value === null) return value
    const entries = Object.entries(value).map(([name, each]) => [name, turned(each)])
    return Object.fromEntries(entries.reverse())
  }
  const read = (document: unknown) => formatManifest(parseManifest(JSON.stringify(document), 'it', OCI_MANIFEST))
  expect(read(turned(manifest))).toEqual(read(manifest))
})

test('EMPTY_DESCRIPTOR names the two bytes that it holds', () => {
  const content = Buffer.from(EMPTY_DESCRIPTOR.data ?? '', 'base64')
  expect(content.toString()).toBe('{}')
  expect<string>(EMPTY_DESCRIPTOR.digest).toBe(`sha256:${new Bun.CryptoHasher('sha256').update(content).digest('hex')}`)
  expect(EMPTY_DESCRIPTOR.sizeBytes).toBe(content.length)
})
