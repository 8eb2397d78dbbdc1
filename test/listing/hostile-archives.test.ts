/** Archives that are damaged, or made to do harm: nothing of them is to be seen afterwards, in the store or elsewhere. */
import { describe, expect, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { sha256 } from '../image/layout-builder.ts'
import { testIf } from '../support/requirement.ts'
import { type ArchiveEntry, archive } from '../support/tar-archive.ts'
import { configOf, dockerArchive, dockerEntries, dockerManifest, layerOf, StoreBox } from './store-box.ts'

const image = { layers: [layerOf('a'), layerOf('b')] }
const good = dockerEntries(image)
const manifestOf = (changes: object = {}): ArchiveEntry => ({
  name: 'manifest.json',
  content: JSON.stringify([{ ...dockerManifest(image), ...changes }]),
})
const withEntry = (...entries: readonly ArchiveEntry[]) => archive(...good, ...entries, manifestOf())
const layerName = good.find(({ name }) => name.endsWith('layer.tar'))?.name ?? ''
const layout = (index: string, ...entries: readonly ArchiveEntry[]) =>
  archive(
    { name: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
    { name: 'index.json', content: index },
    ...entries,
  )

/** CVE-2023-0778, CVE-2025-11395, CVE-2021-29136 and their like. */
const REFUSED: readonly (readonly [what: string, archive: Uint8Array, why: string | RegExp])[] = [
  ['a hard link', withEntry({ name: 'x', type: '1', linkname: '/etc/passwd' }), 'it is a hard link, expected a file'],
  ['a pipe', withEntry({ name: 'x', type: '6' }), 'it is a pipe'],
  ['a character device', withEntry({ name: 'x', type: '3', devmajor: 1, devminor: 3 }), 'it is a character device'],
  ['a block device', withEntry({ name: 'x', type: '4', devmajor: 8 }), 'it is a block device'],
  [
    'a link to an absolute name',
    withEntry({ name: 'x', type: '2', linkname: '/etc/passwd' }),
    'it links to an absolute',
  ],
  [
    'a link out of the archive',
    withEntry({ name: 'a/x', type: '2', linkname: '../../x' }),
    'it links out of the archive',
  ],
  ['a name with ".."', withEntry({ name: 'a/../../x', content: 'x' }), 'its name holds ".."'],
  ['an absolute name', withEntry({ name: '/etc/x', content: 'x' }), 'its name is absolute'],
  ['a directory with ".."', withEntry({ name: '../x/', type: '5' }), 'its name holds ".."'],
  ['an empty name', withEntry({ name: './', content: 'x' }), 'it has no name'],
  ['a deep name', withEntry({ name: 'a/b/c/d', content: 'x' }), 'deeper than 3 directories'],
  ['a name twice', withEntry({ name: 'x', content: '1' }, { name: './x', content: '2' }), 'it is there twice'],
  ['two manifest.json', archive(...good, manifestOf(), manifestOf()), 'it is there twice'],
  ['a manifest.json that is a link', archive(...good, { name: 'manifest.json', type: '2', linkname: 'x' }), 'neither'],
  [
    'a huge manifest.json',
    archive(...good, { name: 'manifest.json', content: ' '.repeat(5 * 1024 * 1024) }),
    'it has 5242880 bytes, expected at most 4194304',
  ],
  ['a config out of the archive', archive(...good, manifestOf({ Config: '../../etc/passwd' })), 'does not hold'],
  ['a config with an absolute name', archive(...good, manifestOf({ Config: '/etc/passwd' })), 'does not hold'],
  ['a layer that is not there', archive(...good, manifestOf({ Layers: [layerName, 'nope'] })), 'does not hold'],
  [
    'fewer layers than the config',
    archive(...good, manifestOf({ Layers: [layerName] })),
    'expected 2 as in the config',
  ],
  [
    'layers in another order',
    archive(...good, manifestOf({ Layers: [...(dockerManifest(image)['Layers'] as string[])].reverse() })),
    'layer 0 has the digest',
  ],
  [
    'a config that is none',
    archive(...good, { name: 'c', content: '[]' }, manifestOf({ Config: 'c' })),
    'expected an object',
  ],
  ['manifest.json of another shape', archive({ name: 'manifest.json', content: '{}' }), 'expected an array'],
  ['manifest.json without images', archive({ name: 'manifest.json', content: '[]' }), 'an array of at least 1'],
  ['a manifest.json that is no JSON', archive({ name: 'manifest.json', content: '[' }), 'expected JSON'],
  ['a manifest.json that is no UTF-8', archive({ name: 'manifest.json', content: '\xff' }), 'it is not UTF-8'],
  ['a root filesystem', layerOf('etc/passwd'), 'it holds neither manifest.json nor an OCI layout'],
  ['no archive', Buffer.from('hello\n'.repeat(1000)), /tar|header/],
  ['an archive that ends early', withEntry().subarray(0, 1500), /end|cut/],
  ['a broken gzip', Buffer.concat([gzipSync(withEntry()).subarray(0, 300)]), 'Cannot load the archive as gzip'],
  ['a broken xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 1, 2]), 'Cannot load the archive as xz'],
  ['bzip2', Buffer.from('BZh91AY&SY'), 'compressed with bzip2, expected gzip, zstd or xz'],
  [
    'a blob of another digest',
    layout('{}', { name: `blobs/sha256/${'0'.repeat(64)}`, content: 'x' }),
    /digest|expected/,
  ],
  ['a blob with half a digest', layout('{}', { name: 'blobs/sha256/00', content: 'x' }), 'Cannot parse digest'],
  [
    'an index that names nothing that is there',
    layout(
      JSON.stringify({
        schemaVersion: 2,
        manifests: [{ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: sha256('x'), size: 1 }],
      }),
    ),
    'is missing',
  ],
  [
    'a layout of another version',
    archive({ name: 'oci-layout', content: '{"imageLayoutVersion":"9"}' }, { name: 'index.json', content: '{}' }),
    'expected one of 1.0.0',
  ],
]

describe('loadImages() refuses', () => {
  for (const [what, bytes, why] of REFUSED) {
    test(`${what}, and no image is there`, async () => {
      using box = new StoreBox()
      await expect(box.load(bytes)).rejects.toThrow(why)
      expect((await box.store()).records.list()).toEqual([])
      expect(existsSync(box.path('x'))).toBe(false)
    })
  }

  test('a compressed layer whose content is not what the config names, and no image is there', async () => {
    using box = new StoreBox()
    const bytes = dockerArchive({ ...image, files: [gzipSync(layerOf('evil')), gzipSync(layerOf('b'))] })
    await expect(box.load(bytes)).rejects.toThrow(/digest/)
    expect((await box.store()).records.list()).toEqual([])
  })

  test('a bomb', async () => {
    using box = new StoreBox()
    const bomb = gzipSync(archive(...good, { name: 'zeros', content: Buffer.alloc(8 * 1024 * 1024) }, manifestOf()))
    const limits = { bytes: 1e9, ratio: 10, ratioFloorBytes: 1024 * 1024, entries: 1000 }
    await expect(box.load(bomb, { limits })).rejects.toThrow('more than 10 times its compressed size')
  })

  test('100,001 entries', async () => {
    using box = new StoreBox()
    const empty = archive({ name: 'd/', type: '5' }).subarray(0, 512)
    const bytes = Buffer.concat([...Array.from({ length: 100_001 }, () => empty), Buffer.alloc(1024)])
    await expect(box.load(bytes)).rejects.toThrow('one of more than 100000 entries')
  })
})

describe('loadImages() leaves out', () => {
  test('names that are none, and tells', async () => {
    using box = new StoreBox()
    const tags = ['example.com/app:1', '../../etc/passwd', 'UPPER:1', `x@sha256:${'0'.repeat(64)}`]
    const [loaded] = await box.load(dockerArchive({ ...image, tags }))
    expect(loaded?.names).toEqual(['example.com/app:1'])
    expect(box.warnings).toHaveLength(2)
  })
})

testIf('root')('berth load never follows what an archive links to', async () => {
  using box = new StoreBox()
  const secret = box.file('secret', 'secret')
  const config = configOf(image)
  const bytes = archive(
    { name: 'config.json', type: '2', linkname: secret.slice(1) },
    { name: 'c', content: config },
    ...good.slice(1),
    manifestOf({ Config: 'config.json' }),
  )
  const { status, stderr } = await box.berth(['load'], bytes)
  expect(stderr).toContain('which the archive does not hold')
  expect(status).toBe(125)
  expect(readFileSync(secret, 'utf8')).toBe('secret')
})
