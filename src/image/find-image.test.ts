import { Database } from 'bun:sqlite'
import { describe, expect, test } from 'bun:test'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { findImage, lookUpImage } from './find-image.ts'
import { ImageRecords } from './image-records.ts'
import { IMAGE_SCHEMA } from './image-schema.ts'

function digestOf(start: string): Digest {
  return parseDigest(`sha256:${start.padEnd(64, '0')}`)
}

/** Images of one platform each: target, config, names. */
function recordsOf(...images: readonly (readonly [target: string, config: string, ...names: readonly string[]])[]) {
  const database = new Database(':memory:', { strict: true })
  database.run(IMAGE_SCHEMA)
  const records = new ImageRecords(database)
  images.forEach(([target, config, ...names], index) => {
    const facts = { platform: 'linux/amd64', createdMs: null, layers: [], labels: {} }
    const manifest = { ...facts, digest: digestOf(`${target}1`), configDigest: digestOf(config) }
    const image = { digest: digestOf(target), mediaType: 'x/y', sizeBytes: 1, manifests: [manifest], content: [] }
    records.put(image, names, index)
  })
  return records
}

const RECORDS = recordsOf(
  ['a1', 'c0ffee', 'docker.io/library/debian:latest', 'docker.io/library/debian:12'],
  ['a2', 'cafe', 'registry.test:5000/x/y:1', 'registry.test:5000/z:latest'],
  ['b1', 'd1', 'docker.io/library/cafe:latest'],
  ['b2', 'd2'],
)

describe('findImage() finds', () => {
  test.each([
    ['debian', 'a1', 'docker.io/library/debian:latest'],
    ['docker.io/library/debian:12', 'a1', 'docker.io/library/debian:12'],
    ['registry.test:5000/z', 'a2', 'registry.test:5000/z:latest'],
    ['c0ffee', 'a1', null],
    ['c0', 'a1', null],
    ['sha256:cafe', 'a2', null],
    [digestOf('d2'), 'b2', null],
    [digestOf('d2').slice(7), 'b2', null],
    [digestOf('b2'), 'b2', null],
    [`debian@${digestOf('a1')}`, 'a1', 'docker.io/library/debian:12'],
    [`debian:whatever@${digestOf('a1')}`, 'a1', 'docker.io/library/debian:12'],
    [`debian@${digestOf('a11')}`, 'a1', 'docker.io/library/debian:12'],
  ])('%p', (text, target, name) => {
    const found = findImage(text, RECORDS)
    expect([found.image.digest, found.name]).toEqual([digestOf(target), name])
  })

  test('a name rather than an id that begins so', () => {
    expect(findImage('cafe', RECORDS)).toMatchObject({ name: 'docker.io/library/cafe:latest' })
  })

  test('a platform by its digest or the id of its config', () => {
    for (const text of [`debian@${digestOf('a11')}`, 'c0ffee', digestOf('a11')])
      expect(findImage(text, RECORDS).manifest?.digest).toBe(digestOf('a11'))
    expect(findImage(digestOf('a1'), RECORDS).manifest).toBeNull()
  })
})

test('findImage() refuses the beginning of more than one id', () => {
  expect(() => findImage('d', RECORDS)).toThrow('Cannot find image "d": 2 ids begin so, expected one')
})

test('findImage() prefers an id to the digest of another target that begins so', () => {
  const records = recordsOf(['e1', 'a1'], ['a2', 'b1'])
  expect(findImage('a', records).image.digest).toBe(digestOf('e1'))
})

test('findImage() takes the newest of several targets with the same config', () => {
  const records = recordsOf(['e1', 'a1'], ['e2', 'a1'])
  expect(findImage('a1', records).image.digest).toBe(digestOf('e2'))
})

test('findImage() throws notFound where neither a name nor an id fits', () => {
  for (const text of ['debian:13', 'fff', `alpine@${digestOf('a1')}`, digestOf('ff'), 'registry.test/x'])
    expect(() => findImage(text, RECORDS)).toThrow(`Cannot find image "${text}"`)
  expect(lookUpImage('debian:13', RECORDS)).toBeNull()
  expect(() => findImage('Debian', RECORDS)).toThrow('expected lower-case')
})
