/** Class E: what a layer's archive may try, and that it stays in the layer's own directory. */
import { describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BerthError, messageOf } from '../../src/lib/error.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import { type Layer, LayerStore } from '../../src/snapshot/layer-store.ts'
import { testIf } from '../support/requirement.ts'
import { type ArchiveEntry, archive } from '../support/tar-archive.ts'
import { sha256 } from './layout-builder.ts'
import { run, TemporaryDirectory, treeOf } from './tree.ts'

const rootTest = testIf('root')

/** A directory of the host that an archive aims at, and a store to unpack into. */
class Scene implements Disposable {
  readonly #temporary = new TemporaryDirectory()
  readonly warnings: string[] = []
  readonly canary = join(this.#temporary.path, 'canary')
  readonly dataRoot = join(this.#temporary.path, 'data')
  readonly #before: readonly string[]

  constructor() {
    mkdirSync(this.canary)
    writeFileSync(join(this.canary, 'secret'), 'untouched')
    this.#before = treeOf(this.canary)
  }

  async unpack(...entries: readonly ArchiveEntry[]): Promise<Layer> {
    return await this.unpackBytes(archive(...entries))
  }

  async unpackBytes(bytes: Uint8Array, diffId = sha256(bytes)): Promise<Layer> {
    const store = await LayerStore.open(this.dataRoot)
    try {
      return await store.unpack(parseDigest(diffId), () => once(bytes), { warn: each => this.warnings.push(each) })
    } finally {
      expect(treeOf(this.canary)).toEqual([...this.#before])
      expect(readdirSync(join(this.dataRoot, 'layers')).filter(name => name.startsWith('.'))).toEqual([])
    }
  }

  /** What unpacking says when it refuses. */
  async refusal(...entries: readonly ArchiveEntry[]): Promise<string> {
    const outcome = await this.unpack(...entries).catch((error: unknown) => error)
    expect(outcome).toBeInstanceOf(BerthError)
    return messageOf(outcome)
  }

  [Symbol.dispose](): void {
    this.#temporary[Symbol.dispose]()
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

describe('a layer', () => {
  rootTest('with a link out and a file through it writes below its own root', async () => {
    using scene = new Scene()
    const { path } = await scene.unpack(
      { name: 'out', type: '2', linkname: scene.canary },
      { name: 'out/secret', content: 'overwritten' },
    )
    expect(readlinkSync(join(path, 'out'))).toBe(scene.canary)
    expect(readFileSync(join(path, scene.canary, 'secret'), 'utf8')).toBe('overwritten')
  })

  rootTest('with a relative link out stops at its own root', async () => {
    using scene = new Scene()
    const linkname = `${'../'.repeat(30)}${scene.canary}`
    const pax = { linkpath: linkname }
    const { path } = await scene.unpack({ name: 'a/out', type: '2', pax }, { name: 'a/out/new', content: 'x' })
    expect(existsSync(join(path, scene.canary, 'new'))).toBe(true)
  })

  rootTest('with a link whose parent is a link resolves both inside', async () => {
    using scene = new Scene()
    const { path } = await scene.unpack(
      { name: 'a', type: '2', linkname: '/' },
      { name: 'b', type: '2', linkname: `a${scene.canary}` },
      { name: 'b/deep/file', content: 'x' },
    )
    expect(existsSync(join(path, scene.canary, 'deep/file'))).toBe(true)
  })

  rootTest('with an absolute name is unpacked below its own root', async () => {
    using scene = new Scene()
    const { path } = await scene.unpack({ name: `${scene.canary}/secret`, content: 'inside' })
    expect(readFileSync(join(path, scene.canary, 'secret'), 'utf8')).toBe('inside')
  })

  rootTest('with a hard link to a file of the host finds none in itself', async () => {
    using scene = new Scene()
    const linkname = `${scene.canary}/secret`
    expect(await scene.refusal({ name: 'steal', type: '1', linkname })).toMatch(/ENOENT.*entry "steal"/)
  })

  rootTest('with a hard link through a link finds only what is in itself', async () => {
    using scene = new Scene()
    const link = { name: 'out', type: '2', linkname: scene.canary }
    expect(await scene.refusal(link, { name: 'steal', type: '1', linkname: 'out/secret' })).toContain('ENOENT')
  })

  rootTest('with a hard link to a symbolic link links to the link, not to its target', async () => {
    using scene = new Scene()
    const target = `${scene.canary}/secret`
    const { path } = await scene.unpack(
      { name: 'out', type: '2', linkname: target },
      { name: 'again', type: '1', linkname: 'out' },
    )
    expect(readlinkSync(join(path, 'again'))).toBe(target)
  })

  rootTest('with a file over a link replaces the link', async () => {
    using scene = new Scene()
    const { path } = await scene.unpack(
      { name: 'out', type: '2', linkname: `${scene.canary}/secret` },
      { name: 'out', content: 'mine', mode: 0o777 },
    )
    expect(readFileSync(join(path, 'out'), 'utf8')).toBe('mine')
  })

  rootTest('with a directory over a link makes a directory, and gives its mode to nothing else', async () => {
    using scene = new Scene()
    const { path } = await scene.unpack(
      { name: 'out', type: '2', linkname: scene.canary },
      { name: 'out', type: '5', mode: 0o700, uid: 5 },
      { name: 'out/file' },
    )
    expect(statSync(join(path, 'out')).isDirectory()).toBe(true)
    expect(existsSync(join(path, scene.canary))).toBe(false)
  })

  rootTest('with a link over a directory and its attributes behind changes nothing through the link', async () => {
    using scene = new Scene()
    const { path } = await scene.unpack(
      { name: 'd', type: '5', mode: 0o777, uid: 7 },
      { name: 'd/old', content: 'x' },
      { name: 'd', type: '2', linkname: scene.canary },
      { name: 'd/new', content: 'y' },
    )
    expect(readlinkSync(join(path, 'd'))).toBe(scene.canary)
    expect(existsSync(join(path, scene.canary, 'new'))).toBe(true)
  })

  rootTest('with a whiteout through a link out makes it inside', async () => {
    using scene = new Scene()
    const { path } = await scene.unpack(
      { name: 'out', type: '2', linkname: scene.canary },
      { name: 'out/.wh.secret' },
      { name: 'out/.wh..wh..opq' },
    )
    expect(`${run('stat', '-c', '%F %t:%T', join(path, scene.canary, 'secret'))}`).toBe('character special file 0:0\n')
  })

  test.each<[string, ArchiveEntry[], RegExp]>([
    ['..', [{ name: '../evil' }], /it leads upwards/],
    ['a/../../b', [{ name: 'a/../../b' }], /it leads upwards/],
    ['a directory ..', [{ name: '..', type: '5' }], /it leads upwards/],
    ['a hard link to ..', [{ name: 'a', type: '1', linkname: '../canary/secret' }], /it leads upwards/],
    ['a hard link to /', [{ name: 'a', type: '1', linkname: '/' }], /a hard link to the root/],
    ['a NUL in a long name', [{ name: 'a', pax: { path: 'a\0/../b' } }], /holds a NUL/],
    ['a file in the place of the root', [{ name: './' }], /the root of a layer cannot be a file/],
    ['a link in the place of the root', [{ name: '/', type: '2', linkname: 'x' }], /cannot be a symlink/],
    ['a whiteout of .', [{ name: '.wh..' }], /names nothing to remove/],
    ['a whiteout of ..', [{ name: 'a/.wh...' }], /names nothing to remove/],
    ['a whiteout of nothing', [{ name: '.wh.' }], /names nothing to remove/],
    ['a whiteout of a whiteout', [{ name: 'a/.wh..wh.b' }], /a whiteout of a whiteout/],
    ['something in a whiteout', [{ name: '.wh.a/b' }], /inside a whiteout/],
    ['a symbolic link to nothing', [{ name: 'a', type: '2' }], /a path of 0 bytes/],
    ['a name of 256 bytes', [{ name: 'a', pax: { path: 'n'.repeat(256) } }], /longer than Linux allows/],
    ['257 levels', [{ name: 'a', pax: { path: 'd/'.repeat(257) } }], /257 levels deep/],
    [
      'a sparse file of 1 EiB',
      [{ name: 'a', pax: { 'GNU.sparse.map': '0,0', 'GNU.sparse.size': '1000000000000000' } }],
      /limit/,
    ],
  ])('with %s is refused', async (_, entries, message) => {
    if (process.getuid?.() !== 0) return
    using scene = new Scene()
    expect(await scene.refusal(...entries)).toMatch(message)
  })

  rootTest('with another digest than its diffID is refused and leaves nothing', async () => {
    using scene = new Scene()
    const other = sha256('something else')
    const outcome = scene.unpackBytes(archive({ name: 'a' }), other)
    expect(outcome).rejects.toThrow(/Cannot verify the layer: its content has the digest sha256:/)
    await outcome.catch(() => undefined)
    expect(await (await LayerStore.open(scene.dataRoot)).find(parseDigest(other))).toBeNull()
  })

  rootTest('may not bring attributes that redirect overlayfs or label files', async () => {
    using scene = new Scene()
    const pax = {
      'SCHILY.xattr.trusted.overlay.redirect': '/etc',
      'SCHILY.xattr.user.overlay.redirect': '/etc',
      'SCHILY.xattr.security.selinux': 'label',
      'SCHILY.xattr.user.kept': 'yes',
    }
    const { path } = await scene.unpack({ name: 'd', type: '5', pax }, { name: 'd/f', pax })
    expect(treeOf(path).join('\n')).not.toMatch(/redirect|selinux/)
    expect(treeOf(path).filter(line => line.includes('user.kept=796573'))).toHaveLength(2)
    expect(scene.warnings.join('\n')).toMatch(/left out the extended attribute "trusted.overlay.redirect"/)
  })

  rootTest('that is 5,000 levels deep through links of its own is refused, and removed all the same', async () => {
    using scene = new Scene()
    const deep = 'd/'.repeat(200)
    const entries = Array.from({ length: 25 }, (_, index) => [
      { name: 'x', type: '5', pax: { path: `${index === 0 ? '' : `l${index}/`}${deep}` } },
      {
        name: `l${index + 1}`,
        type: '2',
        linkname: 'x',
        pax: { linkpath: `${index === 0 ? '' : `l${index}/`}${deep}` },
      },
    ])
    const outcome = await scene.unpack(...entries.flat()).catch((error: unknown) => error)
    if (outcome instanceof Error) expect(outcome.message).toMatch(/ELOOP|ENAMETOOLONG/)
  })
})
