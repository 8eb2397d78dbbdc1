/** The parsers of image documents beside the schemas of the image-spec: what a schema refuses, a parser refuses. */
import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import Ajv from 'ajv'
import fc from 'fast-check'
import { layoutMarker } from '../../src/content/oci-layout.ts'
import { BerthError, messageOf } from '../../src/lib/error.ts'
import { parseJson } from '../../src/lib/json-shape.ts'
import { EMPTY_DESCRIPTOR } from '../../src/oci/descriptor.ts'
import { parseImageConfig } from '../../src/oci/image-config.ts'
import { formatImageConfig } from '../../src/oci/image-config-format.ts'
import { parseIndex, parseManifest } from '../../src/oci/manifest.ts'
import { formatIndex, formatManifest, wireDescriptor } from '../../src/oci/manifest-format.ts'
import { OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { FUZZ_TIMEOUT_MS, fuzzRuns } from '../support/fuzz.ts'

const folder = join(import.meta.dir, 'image-spec')
const ajv = new Ajv({ strict: false, validateFormats: false })
for (const name of readdirSync(folder).filter(each => each.endsWith('.json'))) {
  // Of draft 4 they use only what later drafts have too, except for the name of `id`.
  const text = readFileSync(join(folder, name), 'utf8').replaceAll(/"(\$schema|id)": "http[^"]*",?/g, '')
  ajv.addSchema(JSON.parse(text), name)
}

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`
const annotations = { 'org.opencontainers.image.title': 'x' }
const platform = { os: 'linux', architecture: 'arm', variant: 'v7', 'os.version': '1', 'os.features': ['x'] }
const blob = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: 3, data: 'AAAA', annotations }
const empty: unknown = JSON.parse(JSON.stringify(wireDescriptor(EMPTY_DESCRIPTOR)))

/** One kind of document: its schema, a document that has all properties, and what reads it (and writes it again). */
interface Kind {
  readonly schema: string
  readonly full: unknown
  readonly parse: (json: string) => Uint8Array | null
}

const kinds: Readonly<Record<string, Kind>> = {
  manifest: {
    schema: 'image-manifest-schema.json',
    full: {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType: 'application/x',
      config: empty,
      layers: [blob, { ...blob, urls: ['https://example.com/'], artifactType: 'application/y' }],
      subject: blob,
      annotations,
    },
    parse: json => formatManifest(parseManifest(json, 'it.json', OCI_MANIFEST)),
  },
  index: {
    schema: 'image-index-schema.json',
    full: {
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      artifactType: 'application/x',
      manifests: [{ ...blob, platform }, blob],
      subject: blob,
      annotations,
    },
    parse: json => formatIndex(parseIndex(json, 'it.json', OCI_INDEX)),
  },
  config: {
    schema: 'config-schema.json',
    full: {
      ...platform,
      created: '2024-02-29T12:34:56Z',
      author: 'x',
      config: {
        User: 'a:b',
        ExposedPorts: { '80/tcp': {} },
        Env: ['A=1'],
        Entrypoint: ['a'],
        Cmd: ['b'],
        Volumes: { '/v': {} },
        WorkingDir: '/',
        Labels: { a: 'b' },
        StopSignal: 'SIGTERM',
        ArgsEscaped: false,
      },
      rootfs: { type: 'layers', diff_ids: [digest] },
      history: [{ created: '2024-02-29T12:34:56Z', author: 'x', created_by: 'y', comment: 'z', empty_layer: true }],
    },
    parse: json => formatImageConfig(parseImageConfig(json, 'it.json')),
  },
  'oci-layout': {
    schema: 'image-layout-schema.json',
    full: { imageLayoutVersion: '1.0.0' },
    parse: json => {
      parseJson(json, 'it.json', layoutMarker)
      return null
    },
  },
}

/** Why a parser refuses what a schema accepts: all that the schemas leave to the text of the specification, or to the implementation. */
const STRICTER: readonly RegExp[] = [
  /expected a digest|expected another digest|it to be absent|expected the spelling/,
  /mediaType is .*, expected application/,
  /(size|created|data) is|expected data of/,
  /manifests\[\d\]\.(artifactType|urls)/,
]

function accepts({ schema }: Kind, document: unknown): boolean {
  return ajv.getSchema(schema)?.(document) === true
}

/** Null: accepted. */
function refusal(kind: Kind, document: unknown): string | null {
  try {
    const written = kind.parse(JSON.stringify(document))
    if (written !== null) expect(accepts(kind, JSON.parse(Buffer.from(written).toString()))).toBe(true)
    return null
  } catch (error) {
    if (error instanceof BerthError) return messageOf(error)
    throw error
  }
}

/** A document with one thing in it replaced or left out, wherever it is. */
function changed(document: unknown, choose: (count: number) => number, replacement: unknown): unknown {
  if (typeof document !== 'object' || document === null) return replacement
  const entries = Object.entries(document)
  const chosen = choose(entries.length + 1)
  const [name, value] = entries[chosen] ?? []
  if (name === undefined) return replacement
  const below = changed(value, choose, replacement)
  if (Array.isArray(document)) return document.map((each, index) => (index === chosen ? below : each))
  const rest = entries.filter((_, index) => index !== chosen)
  return Object.fromEntries(below === undefined ? rest : [...rest, [name, below]])
}

// Not null, which Go's programs write for what is absent: the parsers take it as that, the schemas mostly do not.
const replacement = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    '',
    'x',
    'a/b',
    0,
    1,
    2,
    -1,
    1.5,
    2 ** 60,
    true,
    [],
    {},
    [''],
    [{}],
    { x: {} },
    [1],
    { x: 1 },
  ),
  fc.constantFrom<unknown>(
    blob,
    [blob],
    empty,
    digest,
    `md5:${'0'.repeat(32)}`,
    platform,
    annotations,
    'layers',
    '1.0.0',
  ),
)

for (const [name, kind] of Object.entries(kinds)) {
  describe(`image-spec schema of ${name}`, () => {
    test('is met by a document with all properties, and by what is written of it', () => {
      expect(accepts(kind, kind.full)).toBe(true)
      expect(refusal(kind, kind.full)).toBeNull()
      const written = kind.parse(JSON.stringify(kind.full))
      if (written !== null) expect(JSON.parse(Buffer.from(written).toString())).toEqual(kind.full)
    })

    test(
      `refuses nothing that the parser of ${name} accepts, and accepts more only where that is known`,
      () => {
        const choices = fc.infiniteStream(fc.nat())
        let refusedCount = 0
        const property = fc.property(choices, replacement, (stream, value) => {
          const choose = (count: number) => (stream.next().value ?? 0) % count
          const document = changed(kind.full, choose, value) ?? {}
          const why = refusal(kind, document)
          if (!accepts(kind, document)) {
            refusedCount++
            expect({ document, why }).not.toEqual({ document, why: null })
          } else if (why !== null) {
            expect({ why, isKnown: STRICTER.some(each => each.test(why)) }).toEqual({ why, isKnown: true })
          }
        })
        fc.assert(property, fuzzRuns(2000))
        expect(refusedCount).toBeGreaterThan(100)
      },
      FUZZ_TIMEOUT_MS,
    )
  })
}
