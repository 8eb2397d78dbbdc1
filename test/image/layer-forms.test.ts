/** The forms that layers come in: archives of every format against tar and umoci, and the seekable kinds of blob. */
import { describe, expect } from 'bun:test'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32, gzipSync, zstdCompressSync } from 'node:zlib'
import { parseDigest } from '../../src/oci/digest.ts'
import { type Layer, LayerStore } from '../../src/snapshot/layer-store.ts'
import { testIf } from '../support/requirement.ts'
import { archive, encodeEntry } from '../support/tar-archive.ts'
import { LayoutBuilder, sha256, tagged } from './layout-builder.ts'
import { run, TemporaryDirectory, treeOf } from './tree.ts'

const rootTest = testIf('root')

async function unpack(dataRoot: string, tar: Uint8Array, blob: Uint8Array = tar): Promise<Layer> {
  const store = await LayerStore.open(dataRoot)
  return await store.unpack(parseDigest(sha256(tar)), async function* () {
    // In pieces that fit nothing.
    for (let at = 0; at < blob.length; at += 777) yield blob.subarray(at, at + 777)
  })
}

/** One of everything that a filesystem can hold and an archive can name. */
function makeTree(tree: string): void {
  mkdirSync(join(tree, 'etc/sub'), { recursive: true })
  mkdirSync(join(tree, 'bin'))
  writeFileSync(join(tree, 'etc/a'), 'a'.repeat(100_000))
  writeFileSync(join(tree, 'bin/tool'), 'program')
  const long = 'n'.repeat(200)
  const script = `
    ln etc/a etc/hard; ln bin/tool etc/tool; ln -s ../etc/a bin/soft; ln -s ${'t'.repeat(300)} bin/${long}
    mkdir -p deep/${long}/${long}; : > deep/${long}/${long}/${long}
    mkfifo etc/fifo; mknod bin/null c 1 3; mknod bin/disk b 7 300; mknod bin/high c 511 1000000
    chown 3000000:2999999 bin; chown 4294967293:4294967294 etc/sub; chown -h 5:6 bin/soft
    chmod 4755 etc/a; chmod 6711 bin/tool; chmod 1777 etc/sub; chmod 0 deep
    printf x > "$(printf 'etc/\\303\\251 \\377')"; printf '' > etc/empty
    truncate -s 3M etc/zeros; truncate -s 20M etc/holes
    for at in 0 70000 9000000 20000000; do printf data | dd of=etc/holes bs=1 seek=$at conv=notrunc status=none; done
    touch -hd '2001-02-03 04:05:06.123456789' etc/a bin/soft etc/sub etc/holes
    touch -hd '1969-12-31 23:59:58' bin/null; touch -hd '2101-02-03 04:05:06' etc/empty`
  run('sh', '-ec', `cd '${tree}'; ${script}`)
}

/** Attributes come by tar: setfattr is on few machines. */
function addAttributes(tree: string): void {
  const capability = '\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
  const pax = {
    'SCHILY.xattr.security.capability': capability,
    'SCHILY.xattr.user.bytes': '\xff\0=\n',
  }
  const tar = archive(
    { name: 'etc/capable', mode: 0o755, pax, content: 'x' },
    { name: 'etc/xdir', type: '5', pax: { 'SCHILY.xattr.user.a': 'b' } },
  )
  writeFileSync(`${tree}.tar`, tar)
  run('tar', '-C', tree, '--xattrs', '--xattrs-include=*', '-xf', `${tree}.tar`)
}

const FORMATS: readonly (readonly string[])[] = [
  ['--format=gnu'],
  ['--format=oldgnu', '--sparse'],
  ['--format=posix', '--xattrs', '--xattrs-include=*'],
  ['--format=posix', '--sparse', '--sparse-version=0.0'],
  ['--format=posix', '--sparse', '--sparse-version=0.1'],
  ['--format=posix', '--sparse', '--sparse-version=1.0'],
]

describe('LayerStore.unpack()', () => {
  for (const options of FORMATS) {
    testIf('root', 'command tar')(`gives the same tree as tar -x, of tar ${options.join(' ')}`, async () => {
      using temporary = new TemporaryDirectory()
      const [tree, extracted] = [join(temporary.path, 'tree'), join(temporary.path, 'extracted')]
      mkdirSync(tree)
      mkdirSync(extracted)
      makeTree(tree)
      if (options.includes('--xattrs')) addAttributes(tree)
      const tar = run('tar', '-C', tree, ...options, '--numeric-owner', '--sort=name', '-cf', '-', '.')
      writeFileSync(join(temporary.path, 'a.tar'), tar)
      const extract = ['--numeric-owner', '-p', '--xattrs', '--xattrs-include=*', '-xf', join(temporary.path, 'a.tar')]
      run('tar', '-C', extracted, ...extract)
      const { path } = await unpack(join(temporary.path, 'data'), tar)
      expect(treeOf(path)).toEqual(treeOf(extracted))
      if (options.includes('--sparse')) {
        const blocks = Number(run('stat', '-c', '%b', join(path, 'etc/holes')).toString())
        expect(blocks * 512).toBeLessThan(1_000_000)
      }
    })
  }

  testIf('root', 'command umoci')('gives the same tree as umoci, attributes and all', async () => {
    using temporary = new TemporaryDirectory()
    const tree = join(temporary.path, 'tree')
    mkdirSync(tree)
    makeTree(tree)
    addAttributes(tree)
    const options = ['--format=posix', '--xattrs', '--xattrs-include=*', '--numeric-owner', '--sort=name']
    const tar = run('tar', '-C', tree, ...options, '-cf', '-', '.')
    const layout = new LayoutBuilder(join(temporary.path, 'layout'))
    layout.finish(tagged(layout.image([tar]), 'a'))
    run('umoci', 'unpack', '--image', `${layout.path}:a`, join(temporary.path, 'bundle'))
    const { path } = await unpack(join(temporary.path, 'data'), tar)
    expect(treeOf(path)).toEqual(treeOf(join(temporary.path, 'bundle/rootfs')))
  })

  rootTest('reads an eStargz blob as plain gzip: a member per chunk, a TOC entry, a footer', async () => {
    using temporary = new TemporaryDirectory()
    const files = ['a', 'b'].map(name => encodeEntry({ name, content: name.repeat(3000) }))
    const toc = encodeEntry({ name: 'stargz.index.json', content: JSON.stringify({ version: 1, entries: [] }) })
    const landmark = encodeEntry({ name: '.prefetch.landmark', content: '\x0f' })
    const parts = [landmark, ...files, toc, Buffer.alloc(1024)]
    const blob = Buffer.concat([...parts.map(part => gzipSync(part)), stargzFooter(0x1234)])
    const { path, entryCount } = await unpack(temporary.path, Buffer.concat(parts), blob)
    expect(entryCount).toBe(4)
    expect(readFileSync(join(path, 'b'), 'utf8')).toBe('b'.repeat(3000))
  })

  rootTest(
    'reads a zstd:chunked blob as plain zstd: a frame per chunk, the TOC and a footer in skippable frames',
    async () => {
      using temporary = new TemporaryDirectory()
      const files = ['a', 'b', 'c'].map(name => encodeEntry({ name, content: name.repeat(9000) }))
      const parts = [...files, Buffer.alloc(1024)]
      const toc = zstdCompressSync(Buffer.from(JSON.stringify({ version: 1, entries: [] })))
      const split = zstdCompressSync(Buffer.from('tar-split'))
      const frames = [
        ...parts.map(part => zstdCompressSync(part)),
        ...[toc, split, Buffer.alloc(64, 'G')].map(skippable),
      ]
      const { path, entryCount } = await unpack(temporary.path, Buffer.concat(parts), Buffer.concat(frames))
      expect(entryCount).toBe(3)
      expect(readFileSync(join(path, 'c'), 'utf8')).toBe('c'.repeat(9000))
    },
  )

  rootTest('reads an archive whose owner names, global records and times are of no use to it', async () => {
    using temporary = new TemporaryDirectory()
    const global = encodeEntry({
      name: 'g',
      type: 'g',
      content: '52 comment=0123456789012345678901234567890123456789\n',
    })
    const pax = { uname: 'nobody', gname: 'nogroup', atime: '1.5', ctime: '2.5', mtime: '-1.000000001' }
    const tar = Buffer.concat([global, archive({ name: 'f', pax, uid: 0xffff_fffe, gid: 2_097_152 })])
    const { path } = await unpack(temporary.path, tar)
    expect(run('stat', '-c', '%u:%g %.9Y', join(path, 'f')).toString()).toBe('4294967294:2097152 -1.000000001\n')
  })
})

/** An empty gzip member with the offset of the TOC in an extra field: eStargz, "Footer". */
function stargzFooter(tocOffset: number): Buffer {
  const payload = `${tocOffset.toString(16).padStart(16, '0')}STARGZ`
  const field = Buffer.alloc(4)
  field.write('SG')
  field.writeUInt16LE(payload.length, 2)
  const extra = Buffer.concat([field, Buffer.from(payload)])
  const length = Buffer.alloc(2)
  length.writeUInt16LE(extra.length)
  const header = Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255])
  // One stored block of nothing, its checksum, its size.
  const end = Buffer.alloc(8)
  end.writeUInt32LE(crc32(Buffer.alloc(0)))
  return Buffer.concat([header, length, extra, Buffer.from([1, 0, 0, 0xff, 0xff]), end])
}

/** A frame that decoders leave out: RFC 8878, section 3.1.2. */
function skippable(content: Uint8Array): Buffer {
  const header = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0])
  header.writeUInt32LE(content.length, 4)
  return Buffer.concat([header, content])
}
