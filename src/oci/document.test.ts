/** Parsers of documents that strangers wrote: whatever they are given, a document comes out or a BerthError. */
import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { FUZZ_TIMEOUT_MS, fuzzRuns, mutationsOf } from '../../test/support/fuzz.ts'
import { BerthError } from '../lib/error.ts'
import { parseImageConfig } from './image-config.ts'
import { formatImageConfig } from './image-config-format.ts'
import { parseIndex, parseManifest } from './manifest.ts'
import { formatIndex, formatManifest } from './manifest-format.ts'
import { OCI_INDEX, OCI_MANIFEST } from './media-types.ts'

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`
const platform = { os: 'linux', architecture: 'arm', variant: 'v7', 'os.features': ['x'] }
const annotations = { 'org.opencontainers.image.ref.name': 'a:b', 'é"\\': '\u0000' }
const blob = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: 9007199254740991, annotations }
const entry = {
  ...blob,
  platform,
  urls: ['https://example.com/'],
  artifactType: 'application/x',
  size: 3,
  data: 'AAAA',
}
const manifest = {
  schemaVersion: 2,
  mediaType: OCI_MANIFEST,
  config: blob,
  layers: [blob, entry],
  subject: blob,
  annotations,
}
const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [entry, entry], subject: blob, annotations }
const config = {
  ...platform,
  created: '2024-02-29T12:34:56.123Z',
  config: {
    Env: ['A=1'],
    Cmd: null,
    ExposedPorts: { '80/tcp': {} },
    Labels: annotations,
    Healthcheck: { Test: ['NONE'], Interval: 1 },
    Memory: 1e3,
  },
  rootfs: { type: 'layers', diff_ids: [digest] },
  history: [{ created_by: 'x', empty_layer: true }],
  extension: [{ a: [1.5, -0, 1e300, 9007199254740991] }],
}

/** Reads a document and writes it; what was written is read as the same. */
const formats: Readonly<Record<string, (document: string | Uint8Array) => Uint8Array>> = {
  manifest: document => formatManifest(parseManifest(document, 'it.json', OCI_MANIFEST)),
  index: document => formatIndex(parseIndex(document, 'it.json', OCI_INDEX)),
  config: document => formatImageConfig(parseImageConfig(document, 'it.json')),
}

function check(document: string | Uint8Array): void {
  for (const format of Object.values(formats)) {
    let written: Uint8Array
    try {
      written = format(document)
    } catch (error) {
      expect(error).toBeInstanceOf(BerthError)
      continue
    }
    expect(format(written)).toEqual(written)
  }
}

// A number of more digits than JavaScript's have.
const withBigNumber = (json: string): string => json.replace('1e+300', '12345678901234567890')
const seeds = [manifest, index, config]
  .flatMap(each => [JSON.stringify(each), JSON.stringify(each, null, 2)])
  .map(withBigNumber)

test('the seeds are documents', () => {
  const names = seeds.map(seed => Object.keys(formats).filter(name => doesNotThrow(() => formats[name]?.(seed))))
  expect(names).toEqual([['manifest'], ['manifest'], ['index'], ['index'], ['config'], ['config']])
})

function doesNotThrow(run: () => unknown): boolean {
  try {
    run()
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(BerthError)
    return false
  }
}

test(
  'a document with bytes changed is one that reads back, or a BerthError',
  () => fc.assert(fc.property(mutationsOf(seeds), check), fuzzRuns(3000)),
  FUZZ_TIMEOUT_MS,
)

test(
  'any JSON is a document that reads back, or a BerthError',
  () => {
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom<unknown>(blob, [blob], [entry], digest, 2, null, config.config),
    )
    const names = [
      'schemaVersion',
      'config',
      'layers',
      'manifests',
      'rootfs',
      'os',
      'architecture',
      'annotations',
      'history',
    ]
    const anything = fc.record(Object.fromEntries(names.map(name => [name, value])), { requiredKeys: [] })
    const near = fc
      .tuple(fc.constantFrom(manifest, index, config), anything)
      .map(([seed, some]) => ({ ...seed, ...some }))
    fc.assert(
      fc.property(fc.oneof(anything, near), document => check(JSON.stringify(document))),
      fuzzRuns(1000),
    )
  },
  FUZZ_TIMEOUT_MS,
)
