/** Images in layout directories: from other programs, hand-made, damaged, and hostile. */
import { describe, expect, test } from 'bun:test'
import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { type OpenLayoutImageOptions, openLayoutImage } from '../../src/image/oci-layout-image.ts'
import { OCI_INDEX, OCI_MANIFEST } from '../../src/oci/media-types.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { testIf } from '../support/requirement.ts'
import { archive } from '../support/tar-archive.ts'
import { type Compression, LayoutBuilder, tagged } from './layout-builder.ts'
import { run, TemporaryDirectory, treeOf } from './tree.ts'

const rootTest = testIf('root')
const amd64 = parsePlatform('linux/amd64')
const onlyFile = (name: string) => archive({ name, content: name })

/** A layout in the making and the options to open it with. */
class Scene implements Disposable {
  readonly #temporary = new TemporaryDirectory()
  readonly path = this.#temporary.path
  readonly layout = new LayoutBuilder(join(this.path, 'layout'))
  readonly dataRoot = join(this.path, 'data')
  readonly warnings: string[] = []

  open(tag: string | null = null, options: Partial<OpenLayoutImageOptions> = {}) {
    const warn = (message: string) => this.warnings.push(message)
    const hold = () => ({ [Symbol.dispose]: () => undefined })
    const given = { platform: amd64, warn, hold, ...options }
    return openLayoutImage({ path: this.layout.path, tag }, this.dataRoot, given)
  }

  [Symbol.dispose](): void {
    this.#temporary[Symbol.dispose]()
  }
}

describe('openLayoutImage()', () => {
  for (const compression of ['none', 'gzip', 'zstd'] as const satisfies readonly Compression[]) {
    rootTest(`unpacks layers compressed with ${compression}, topmost first`, async () => {
      using scene = new Scene()
      const config = {
        Env: ['A=b'],
        Cmd: ['sh'],
        WorkingDir: '/srv',
        User: '7',
        StopSignal: 'SIGINT',
        Labels: { a: 'b' },
      }
      scene.layout.finish(scene.layout.image([onlyFile('low'), onlyFile('high')], { compression, config }))
      const image = await scene.open()
      expect(image.config).toMatchObject({
        env: ['A=b'],
        cmd: ['sh'],
        workingDir: '/srv',
        user: '7',
        stopSignal: 'SIGINT',
      })
      expect(image.lowers.map(path => readdirSync(path))).toEqual([['high'], ['low']])
    })
  }

  rootTest('reads all members of gzip and all frames of zstd, skippable ones too', async () => {
    using scene = new Scene()
    const tars = { gzip: onlyFile('gzip'), zstd: onlyFile('zstd') }
    const halves = (tar: Buffer): readonly Buffer[] => [tar.subarray(0, 700), tar.subarray(700)]
    const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])
    const blobs = {
      gzip: halves(tars.gzip).map(half => gzipSync(half)),
      zstd: [skippable, ...halves(tars.zstd).map(half => zstdCompressSync(half)), skippable],
    }
    for (const format of ['gzip', 'zstd'] as const) {
      const blob = Buffer.concat(blobs[format])
      scene.layout.finish(scene.layout.image([tars[format]], { blobs: [blob] }))
      const { lowers } = await scene.open()
      expect(lowers.map(path => readdirSync(path))).toEqual([[format]])
    }
  })

  rootTest('lists a layer that occurs twice once, and nothing below an opaque root', async () => {
    using scene = new Scene()
    const [a, b] = [onlyFile('a'), onlyFile('b')]
    scene.layout.finish(scene.layout.image([a, b, a]))
    expect((await scene.open()).lowers.map(path => readdirSync(path))).toEqual([['a'], ['b']])
    scene.layout.finish(scene.layout.image([a, archive({ name: '.wh..wh..opq' }, { name: 'c' })]))
    expect((await scene.open()).lowers.map(path => readdirSync(path))).toEqual([['c']])
  })

  rootTest('chooses by tag and by platform, also in an index within the index', async () => {
    using scene = new Scene()
    const { layout } = scene
    const arm = {
      ...layout.image([onlyFile('arm')], { platform: { architecture: 'arm64' } }),
      platform: { os: 'linux', architecture: 'arm64' },
    }
    const amd = { ...layout.image([onlyFile('amd')]), platform: { os: 'linux', architecture: 'amd64' } }
    const index = layout.json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [arm, amd] }, OCI_INDEX)
    layout.finish(tagged(index, 'multi'), tagged(layout.image([onlyFile('one')]), 'one:1'))
    expect(readdirSync((await scene.open('multi')).lowers[0] ?? '')).toEqual(['amd'])
    expect(readdirSync((await scene.open('one:1')).lowers[0] ?? '')).toEqual(['one'])
    const platform = parsePlatform('linux/arm64/v8')
    expect(readdirSync((await scene.open('multi', { platform })).lowers[0] ?? '')).toEqual(['arm'])
    await expect(scene.open(null)).rejects.toThrow(/it holds "multi", "one:1"; add :TAG/)
    await expect(scene.open('none')).rejects.toThrow(/Cannot find tag "none"/)
    const s390 = { platform: parsePlatform('linux/s390x') }
    await expect(scene.open('multi', s390)).rejects.toThrow(/linux\/s390x .* it holds linux\/arm64, linux\/amd64/)
    await expect(scene.open('one:1', s390)).rejects.toThrow(/it is for linux\/amd64, expected linux\/s390x/)
  })

  rootTest('keeps capabilities and access control lists, of setuid files of other owners too', async () => {
    using scene = new Scene()
    // CAP_NET_RAW permitted and effective (struct vfs_cap_data, version 2); user 5 may read (posix_acl_xattr, version 2).
    const capability = '\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
    const none = '\xff\xff\xff\xff'
    const rows = [`\x01\0\x06\0${none}`, '\x02\0\x04\0\x05\0\0\0', `\x04\0\x04\0${none}`, `\x10\0\x04\0${none}`]
    const acl = `\x02\0\0\0${rows.join('')}\x20\0\0\0${none}`
    const pax = { 'SCHILY.xattr.security.capability': capability, 'SCHILY.xattr.system.posix_acl_access': acl }
    const directory = { 'SCHILY.xattr.system.posix_acl_default': acl }
    const tar = archive(
      { name: 'd', type: '5', pax: directory, mode: 0o2755 },
      { name: 'd/f', pax, mode: 0o4644, uid: 9 },
    )
    scene.layout.finish(scene.layout.image([tar]))
    const tree = treeOf((await scene.open()).lowers[0] ?? '')
    const hex = Buffer.from(capability, 'latin1').toString('hex')
    expect(tree.find(line => line.startsWith('./d/f '))).toMatch(
      `file 4640 9:0 1000000000.000000000 0 0:0  security.capability=${hex} system.posix_acl_access=${Buffer.from(acl, 'latin1').toString('hex')}`,
    )
    expect(tree.find(line => line.startsWith('./d/ '))).toMatch(/directory 2755 .* system.posix_acl_default=/)
    expect(scene.warnings).toEqual([])
  })

  testIf('root', 'command umoci')('gives the same tree as umoci unpack', async () => {
    using scene = new Scene()
    const tree = join(scene.path, 'tree')
    mkdirSync(join(tree, 'etc/sub'), { recursive: true })
    mkdirSync(join(tree, 'bin'))
    writeFileSync(join(tree, 'etc/a'), 'a'.repeat(100_000))
    const script = `
      ln etc/a etc/hard; ln -s ../etc/a bin/soft; mkfifo etc/fifo; mknod bin/null c 1 3; mknod bin/disk b 7 300
      chmod 4755 etc/a; chmod 1777 etc/sub; chown 3000000:2999999 bin; chown -h 5:6 bin/soft
      printf x > "$(printf 'etc/\\303\\251 \\377')"; printf '' > etc/empty
      touch -hd '2001-02-03 04:05:06.123456789' etc/a bin/soft etc/sub; truncate -s 3M etc/zeros`
    run('sh', '-ec', `cd '${tree}'; ${script}`)
    const tar = run('tar', '-C', tree, '--format=posix', '--numeric-owner', '-cf', '-', '.')
    scene.layout.finish(tagged(scene.layout.image([tar]), 'a'))
    const [lower = ''] = (await scene.open('a')).lowers
    run('umoci', 'unpack', '--image', `${scene.layout.path}:a`, join(scene.path, 'bundle'))
    expect(treeOf(lower)).toEqual(treeOf(tree))
    expect(treeOf(lower)).toEqual(treeOf(join(scene.path, 'bundle/rootfs')))
  })

  testIf(
    'root',
    'command umoci',
    'command skopeo',
  )('runs what umoci and skopeo wrote', async () => {
    using scene = new Scene()
    const tree = join(scene.path, 'tree')
    mkdirSync(tree)
    writeFileSync(join(tree, 'file'), 'x')
    const [made, copied] = [join(scene.path, 'made'), join(scene.path, 'copied')]
    run('umoci', 'init', '--layout', made)
    run('umoci', 'new', '--image', `${made}:a`)
    run('umoci', 'insert', '--image', `${made}:a`, tree, '/opt')
    run('skopeo', '--insecure-policy', 'copy', '--dest-compress-format', 'zstd', `oci:${made}:a`, `oci:${copied}:b`)
    for (const [path, tag] of [
      [made, 'a'],
      [copied, 'b'],
    ] as const) {
      const image = await openLayoutImage({ path, tag }, scene.dataRoot, {
        warn: () => undefined,
        hold: () => ({ [Symbol.dispose]: () => undefined }),
        platform: amd64,
      })
      expect(readdirSync(join(image.lowers[0] ?? '', 'opt'))).toEqual(['file'])
    }
  })

  describe('refuses', () => {
    const blobOf = (scene: Scene, { digest }: { digest: string }) =>
      join(scene.layout.path, 'blobs', digest.replace(':', '/'))

    rootTest('a layer whose content was changed, cut off, or made longer', async () => {
      using scene = new Scene()
      const tar = archive({ name: 'a', content: 'x'.repeat(50_000) })
      const layer = scene.layout.blob(tar, 'x/y')
      scene.layout.finish(scene.layout.image([tar], { compression: 'none' }))
      const path = blobOf(scene, layer)
      writeFileSync(path, Buffer.from(tar).fill('y', 600, 700))
      await expect(scene.open()).rejects.toThrow(/digest sha256:/)
      truncateSync(path, 1000)
      await expect(scene.open()).rejects.toThrow(/it has 1000 bytes, expected/)
      writeFileSync(path, Buffer.concat([tar, tar]))
      await expect(scene.open()).rejects.toThrow(/bytes, expected/)
      rmSync(path)
      await expect(scene.open()).rejects.toThrow(/it is not there/)
      expect(readdirSync(join(scene.dataRoot, 'layers'))).toEqual([])
    })

    rootTest('links, pipes and directories in the place of blobs', async () => {
      using scene = new Scene()
      const manifest = scene.layout.image([onlyFile('a')])
      scene.layout.finish(manifest)
      const path = blobOf(scene, manifest)
      renameSync(path, join(scene.path, 'elsewhere'))
      symlinkSync(join(scene.path, 'elsewhere'), path)
      await expect(scene.open()).rejects.toThrow(/it is a link/)
      rmSync(path)
      run('mkfifo', path)
      await expect(scene.open()).rejects.toThrow(/it is no regular file/)
      rmSync(path)
      mkdirSync(path)
      await expect(scene.open()).rejects.toThrow(/it is no regular file/)
      renameSync(join(scene.layout.path, 'blobs'), join(scene.path, 'blobs'))
      symlinkSync(join(scene.path, 'blobs'), join(scene.layout.path, 'blobs'))
      await expect(scene.open()).rejects.toThrow(/blobs": it is a link/)
    })

    rootTest('a manifest that is also an index, says another type, or is too large', async () => {
      using scene = new Scene()
      const { layout } = scene
      const layer = layout.blob(onlyFile('a'), 'application/vnd.oci.image.layer.v1.tar')
      const both = { schemaVersion: 2, config: layer, layers: [layer], manifests: [] }
      layout.finish(layout.json(both, OCI_MANIFEST))
      await expect(scene.open()).rejects.toThrow(/manifests is an array, expected it to be absent/)
      layout.finish(
        layout.json({ schemaVersion: 2, mediaType: OCI_INDEX, config: layer, layers: [layer] }, OCI_MANIFEST),
      )
      await expect(scene.open()).rejects.toThrow(/mediaType is .*index.*, expected .*manifest/)
      layout.finish({ ...layer, mediaType: OCI_MANIFEST, size: 100 * 1024 * 1024 })
      await expect(scene.open()).rejects.toThrow(/expected at most 4194304/)
    })

    rootTest('indexes that nest without end', async () => {
      using scene = new Scene()
      let inner = scene.layout.image([onlyFile('a')])
      for (let depth = 0; depth < 6; depth++) {
        inner = scene.layout.json({ schemaVersion: 2, manifests: [inner] }, OCI_INDEX)
      }
      scene.layout.finish(inner)
      await expect(scene.open()).rejects.toThrow(/nest deeper than 4/)
    })

    rootTest('more or fewer layers than the config names', async () => {
      using scene = new Scene()
      scene.layout.finish(scene.layout.image([onlyFile('a')], { diffIds: [] }))
      await expect(scene.open()).rejects.toThrow(/names 0 layers, expected 1/)
    })

    rootTest('what unpacks to far more than it is: by ratio, bytes and entries', async () => {
      using scene = new Scene()
      scene.layout.finish(scene.layout.image([archive({ name: 'zeros', content: new Uint8Array(3_000_000) })]))
      const limits = { bytes: 1e9, ratio: 200, ratioFloorBytes: 1e6, entries: 10 }
      await expect(scene.open(null, { limits })).rejects.toThrow(/more than 200 times its compressed size/)
      await expect(scene.open(null, { limits: { ...limits, bytes: 1e6 } })).rejects.toThrow(/more than 1000000 bytes/)
      scene.layout.finish(scene.layout.image([archive(...Array.from({ length: 11 }, (_, n) => ({ name: `${n}` })))]))
      await expect(scene.open(null, { limits })).rejects.toThrow(/more than 10 entries/)
      expect(readdirSync(join(scene.dataRoot, 'layers'))).toEqual([])
    })

    test('a directory that is no layout', async () => {
      using scene = new Scene()
      rmSync(join(scene.layout.path, 'oci-layout'))
      await expect(scene.open()).rejects.toThrow(/oci-layout": it is not there/)
      writeFileSync(join(scene.layout.path, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}')
      await expect(scene.open()).rejects.toThrow(/imageLayoutVersion is "2.0.0", expected one of 1.0.0/)
    })
  })
})
