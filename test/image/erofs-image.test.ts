/** Layers as EROFS images: against the same layers as directories, file by file, and erofs-utils. */
import { describe, expect } from 'bun:test'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { parseDigest } from '../../src/oci/digest.ts'
import { type Layer, LayerStore } from '../../src/snapshot/layer-store.ts'
import { inLayer } from '../contract/layer-view.ts'
import { testIf } from '../support/requirement.ts'
import { type ArchiveEntry, archive } from '../support/tar-archive.ts'
import { aclValue, capabilityValue } from '../support/xattr.ts'
import { sha256 } from './layout-builder.ts'
import { run, TemporaryDirectory, treeOf } from './tree.ts'

const erofsTest = testIf('root', 'kernel 6.12', 'command fsck.erofs')

/** A layer in a store of its own below a directory. */
async function unpack(base: string, form: 'erofs' | 'overlay', tar: Uint8Array): Promise<Layer> {
  const dataRoot = join(base, form)
  mkdirSync(dataRoot, { recursive: true })
  writeFileSync(join(dataRoot, 'storage-driver'), form)
  const store = await LayerStore.open(dataRoot)
  return await store.unpack(parseDigest(sha256(tar)), async function* () {
    // In pieces that fit nothing.
    for (let at = 0; at < tar.length; at += 77_777) yield tar.subarray(at, at + 77_777)
  })
}

/** Sees to it that the image holds what the directory holds, and that erofs-utils find nothing wrong with it. */
async function compare(...entries: readonly ArchiveEntry[]): Promise<Layer> {
  using temporary = new TemporaryDirectory()
  const tar = archive(...entries)
  const directory = await unpack(temporary.path, 'overlay', tar)
  const image = await unpack(temporary.path, 'erofs', tar)
  run('fsck.erofs', image.path)
  expect(inLayer(image.path, treeOf)).toEqual(treeOf(directory.path))
  expect({ ...image, path: '', form: '', diskBytes: 0 }).toEqual({ ...directory, path: '', form: '', diskBytes: 0 })
  return image
}

const directory = (name: string, more: Partial<ArchiveEntry> = {}): ArchiveEntry => ({
  name: `${name}/`,
  type: '5',
  mode: 0o755,
  ...more,
})
const bytes = (length: number): Buffer => Buffer.alloc(length, `${length} bytes of content, `)

describe('an image of a layer', () => {
  erofsTest('holds nothing when the layer does', async () => {
    const image = await compare()
    expect(image.diskBytes).toBeLessThan(16 * 1024)
  })

  erofsTest('holds content of all sizes around those of blocks', async () => {
    const sizes = [0, 1, 3968, 4031, 4032, 4033, 4095, 4096, 4097, 8128, 8191, 8192, 1_048_575, 1_048_576, 1_052_673]
    await compare(...sizes.map(size => ({ name: `d/${size}`, content: bytes(size) })))
  })

  erofsTest('holds every kind of file, with modes, owners and times', async () => {
    const pax = { mtime: '1111111111.123456789' }
    await compare(
      { name: 'setuid', content: 'x', mode: 0o4755, uid: 3_000_000, gid: 4_294_967_294, pax },
      directory('sticky', { mode: 0o1777, uid: 9, pax: { mtime: '-2.5' } }),
      { name: 'null', type: '3', devmajor: 1, devminor: 3, mode: 0o666 },
      { name: 'high', type: '4', devmajor: 511, devminor: 1_000_000 },
      { name: 'fifo', type: '6', mode: 0o620, uid: 4 },
      { name: 'short', type: '2', linkname: '../x', uid: 5, pax },
      { name: 'long', type: '2', pax: { linkpath: 'l/'.repeat(2047) } },
      { name: 'n'.repeat(100), content: 'x', pax: { path: `${'m'.repeat(255)}/${'\xff\x01'.repeat(127)}` } },
      { name: '!', content: 'before the dots' },
      { name: '-', content: 'also' },
      ...['.wh.gone', 'sticky/.wh.gone', 'opaque/.wh..wh..opq'].map(name => ({ name })),
    )
  })

  erofsTest('holds hard links, also to what is replaced later', async () => {
    await compare(
      { name: 'a', content: bytes(5000) },
      { name: 'far/b', type: '1', linkname: 'a' },
      { name: 'c', type: '1', linkname: 'far/b' },
      { name: 'a', content: 'another' },
      { name: 's', type: '2', linkname: 'a' },
      { name: 't', type: '1', linkname: 's' },
      { name: 'c', type: '1', linkname: 'far/b' },
    )
  })

  erofsTest('follows links of the layer as a directory would, and none out of it', async () => {
    await compare(
      { name: 'lib', type: '2', linkname: 'usr/lib' },
      { name: 'lib/x', content: 'through a link that leads nowhere yet' },
      directory('usr', { mode: 0o700 }),
      directory('usr/lib', { mode: 0o500 }),
      { name: 'out', type: '2', linkname: '../../../tmp' },
      { name: 'out/y', content: 'y' },
      directory('tmp'),
      { name: 'abs', type: '2', linkname: '/usr/./lib/../bin' },
      { name: 'abs/z', content: 'z' },
      directory('usr/bin'),
      { name: 'hard', type: '1', linkname: 'lib/x' },
      directory('lib', { mode: 0o711 }),
      { name: 'lib/x', content: 'now in a directory' },
    )
  })

  erofsTest('holds attributes, small ones, many, large ones, and those that many files have', async () => {
    const all = {
      'SCHILY.xattr.security.capability': capabilityValue().toString('latin1'),
      'SCHILY.xattr.system.posix_acl_access': aclValue(5, 6).toString('latin1'),
      'SCHILY.xattr.user.bytes': '\xff\0=\n',
    }
    const large = { 'SCHILY.xattr.user.large': 'v'.repeat(3900) }
    const many = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`SCHILY.xattr.user.n${index}`, 'v']))
    const acl = { 'SCHILY.xattr.system.posix_acl_default': aclValue(5, 6).toString('latin1') }
    await compare(
      directory('.', { pax: { ...many, 'SCHILY.xattr.user.root': 'r'.repeat(900) } }),
      directory('d', { pax: acl }),
      ...Array.from({ length: 20 }, (_, index) => ({ name: `f${index}`, content: bytes(index), pax: all })),
      { name: 'large', content: bytes(6000), pax: large },
      { name: 'many', content: bytes(600), pax: many },
    )
  })

  erofsTest(
    'finds each of 5,000 names in a directory',
    async () => {
      const names = Array.from({ length: 5000 }, (_, index) => `${(index * 7919) % 5000}-${'n'.repeat(index % 50)}`)
      await compare(...names.map(name => ({ name: `d/${name}`, content: name })))
    },
    60_000,
  )

  erofsTest('has a hole where a sparse file has one, and takes no disk for it', async () => {
    using temporary = new TemporaryDirectory()
    const sparse = join(temporary.path, 'tree')
    run(
      'sh',
      '-ec',
      `mkdir ${sparse}; cd ${sparse}; truncate -s 5G f; for at in 0 70000 4900000000; do
      printf data | dd of=f bs=1 seek=$at conv=notrunc status=none; done; truncate -s 1G empty`,
    )
    const tar = run('tar', '-C', sparse, '--format=posix', '--sparse', '-cf', '-', '.')
    const { path, contentBytes, diskBytes } = await unpack(temporary.path, 'erofs', tar)
    expect(contentBytes).toBe(6 * 1024 ** 3)
    expect(diskBytes).toBeLessThan(1024 * 1024)
    inLayer(path, root => {
      expect(statSync(join(root, 'f')).size).toBe(5 * 1024 ** 3)
      const at = (offset: number) => run('dd', `if=${root}/f`, 'bs=1', `skip=${offset}`, 'count=6', 'status=none')
      expect([0, 69_999, 4_899_999_999, 1e9].map(offset => at(offset).toString())).toEqual([
        'data\0\0',
        '\0data\0',
        '\0data\0',
        '\0'.repeat(6),
      ])
    })
  })

  erofsTest('is the same, byte for byte, whenever it is made, and has the digest in its UUID', async () => {
    using temporary = new TemporaryDirectory()
    const entries = Array.from({ length: 300 }, (_, index) => ({
      name: `d${index % 7}/${index}`,
      content: bytes(index * 40),
    }))
    const tar = archive(...entries, { name: 'link', type: '1', linkname: 'd0/0' })
    const [one, other] = [join(temporary.path, 'one'), join(temporary.path, 'other')]
    const images = [await unpack(one, 'erofs', tar), await unpack(other, 'erofs', tar)]
    const [first, second] = images.map(({ path }) => sha256(readFileSync(path)))
    expect(first).toBe(second)
    const uuid = /UUID:\s+(\S+)/.exec(run('dump.erofs', images[0]?.path ?? '').toString())?.[1]
    expect(uuid?.slice(0, 13)).toBe(
      sha256(tar)
        .replace('sha256:', '')
        .replace(/^(.{8})(.{4}).*/, '$1-$2'),
    )
  })

  erofsTest('does not appear when something is wrong with the layer', async () => {
    using temporary = new TemporaryDirectory()
    const bad = unpack(temporary.path, 'erofs', archive({ name: 'a', type: '1', linkname: 'b' }))
    await expect(bad).rejects.toThrow('"a": "b", to which it is a hard link, is not there')
    const through = unpack(temporary.path, 'erofs', archive({ name: 'a', content: '' }, { name: 'a/b', content: '' }))
    await expect(through).rejects.toThrow('no directory')
    const loop = [
      { name: 'a', type: '2', linkname: 'a' },
      { name: 'a/b', content: '' },
    ]
    await expect(unpack(temporary.path, 'erofs', archive(...loop))).rejects.toThrow('too many links')
    expect(run('find', join(temporary.path, 'erofs/layers'), '-type', 'f').toString()).toBe('')
  })
})

const name = fc.constantFrom('a', 'b', 'c', 'long'.repeat(40), '.wh.a', '.wh.b', '.wh..wh..opq')
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map(names => names.join('/'))
const entry: fc.Arbitrary<ArchiveEntry> = fc.record({
  name: path,
  type: fc.constantFrom('0', '0', '0', '5', '5', '2', '1', '6', '3'),
  linkname: path,
  content: fc.nat(9000).map(bytes),
  mode: fc.nat(0o7777),
  uid: fc.nat(5),
  devmajor: fc.nat(3),
})

/** Only files have content, and setuid bits: mknod(2) and chown(2) drop those of a FIFO. */
function likely({ content = '', mode = 0, ...entry }: ArchiveEntry): ArchiveEntry {
  const { type = '0' } = entry
  return { ...entry, mode: type === '0' || type === '5' ? mode : mode & 0o777, ...(type === '0' && { content }) }
}

testIf('root', 'kernel 6.12')(
  'an image of any layer holds what a directory of it would hold, or neither is made',
  async () => {
    using temporary = new TemporaryDirectory()
    let count = 0
    const outcome = async (form: 'erofs' | 'overlay', tar: Uint8Array): Promise<readonly string[] | null> => {
      const layer = await unpack(temporary.path, form, tar).catch(() => null)
      return layer === null ? null : inLayer(layer.path, treeOf)
    }
    const property = fc.asyncProperty(fc.array(entry, { maxLength: 12 }), async entries => {
      count++
      const tar = archive(...entries.map(likely))
      expect(await outcome('erofs', tar)).toEqual(await outcome('overlay', tar))
    })
    await fc.assert(property, { numRuns: 40 })
    expect(count).toBeGreaterThanOrEqual(40)
  },
  60_000,
)
