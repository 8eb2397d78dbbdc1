// Class E of the published escapes: a layer whose archive aims at the host while it is unpacked. More of it, entry by entry, in test/image/escape.test.ts.
import { afterAll, describe, expect } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../../src/lib/error.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import { type Layer, LayerStore } from '../../src/snapshot/layer-store.ts'
import { sha256 } from '../image/layout-builder.ts'
import { TemporaryDirectory, treeOf } from '../image/tree.ts'
import { testIf } from '../support/requirement.ts'
import { type ArchiveEntry, archive, encodeEntry } from '../support/tar-archive.ts'
import { removePrograms } from './programs.ts'
import { swapOnHost } from './race.ts'

const rootTest = testIf('root')
afterAll(removePrograms)

/** A directory of the host to aim at, and a store. */
class Scene implements Disposable {
  readonly #temporary = new TemporaryDirectory()
  readonly canary = join(this.#temporary.path, 'canary')
  readonly dataRoot = join(this.#temporary.path, 'data')
  readonly layers = join(this.dataRoot, 'layers')
  readonly #before: readonly string[]

  constructor() {
    mkdirSync(this.canary)
    writeFileSync(join(this.canary, 'secret'), 'untouched')
    this.#before = treeOf(this.canary)
  }

  /** Unpacks; `during` sees the directory of the layer once the first half is in it, and may do what it likes. */
  async unpack(
    entries: readonly ArchiveEntry[],
    during: (root: string) => Promise<AsyncDisposable> = async () => new AsyncDisposableStack(),
  ): Promise<Layer | string> {
    const bytes = archive(...entries)
    const half = encodeEntry(entries[0] ?? { name: 'none' }).length
    const store = await LayerStore.open(this.dataRoot)
    const open = this.#pieces(bytes, half, during)
    const outcome = await store.unpack(parseDigest(sha256(bytes)), () => open).catch(messageOf)
    expect(treeOf(this.canary)).toEqual([...this.#before])
    return outcome
  }

  async *#pieces(
    bytes: Uint8Array,
    first: number,
    during: (root: string) => Promise<AsyncDisposable>,
  ): AsyncGenerator<Uint8Array> {
    const start = Math.max(first, Math.floor(bytes.length / 4 / 512) * 512)
    yield bytes.subarray(0, start)
    const [making = ''] = readdirSync(this.layers).filter(name => name.startsWith('.making'))
    await using _ = await during(join(this.layers, making, 'root'))
    for (let at = start; at < bytes.length; at += 64 * 1024) yield bytes.subarray(at, at + 64 * 1024)
  }

  [Symbol.dispose](): void {
    this.#temporary[Symbol.dispose]()
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; !condition(); await new Promise(resolve => setImmediate(resolve))) {
    if (Date.now() > deadline) throw new Error('it did not happen in time')
  }
}

describe('a layer', () => {
  rootTest(
    'whose parent changes places with a link to the host all the time writes nothing there (CVE-2025-47290, CVE-2021-32760)',
    async () => {
      using scene = new Scene()
      const count = 12_000
      const content = 'x'.repeat(300)
      // Every second entry is elsewhere, so that the directory is looked up anew for each file; nothing else may be kept of it.
      const files = Array.from({ length: count }, (_, index): ArchiveEntry[] => [
        { name: `dir/sub/f${index}`, content },
        { name: `dir/sub/${index % 10}/secret`, type: index % 3 === 0 ? '2' : '0', linkname: '/', content: '' },
        { name: `other${index % 50}/f${index}` },
      ])
      const outcome = await scene.unpack(
        [
          { name: 'dir', type: '5' },
          { name: 'out', type: '2', linkname: scene.canary },
          { name: 'dir/sub/first' },
          ...files.flat(),
        ],
        async root => {
          await until(() => existsSync(join(root, 'dir/sub/first')))
          return await swapOnHost(join(root, 'dir'), join(root, 'out'))
        },
      )
      // That the names moved under its hands shows in what it made where the link leads inside the layer.
      if (typeof outcome !== 'string') {
        const inside = join(outcome.path, scene.canary)
        expect(existsSync(inside)).toBe(true)
        expect(readdirSync(join(inside, 'sub')).length).toBeGreaterThan(10)
      } else expect(outcome).toMatch(/Cannot unpack layer .*(ENOENT|ENOTDIR|ELOOP|EEXIST|EISDIR|ENOTEMPTY)/)
    },
    60_000,
  )

  rootTest(
    'that replaces a directory with a link while its files come changes no mode on the host (CVE-2020-10696)',
    async () => {
      using scene = new Scene()
      const outcome = await scene.unpack([
        { name: 'd', type: '5', mode: 0o700 },
        { name: 'd/f', content: 'x' },
        { name: 'd', type: '2', linkname: scene.canary },
        { name: 'd', type: '5', mode: 0o777, uid: 1234 },
        { name: 'd', type: '2', linkname: scene.canary },
        { name: 'd/secret', content: 'overwritten', mode: 0o666 },
        { name: 'd/.', type: '5', mode: 0o777 },
      ])
      expect(typeof outcome).not.toBe('string')
    },
  )

  rootTest('whose root is a link is refused (CVE-2021-29136)', async () => {
    for (const name of ['.', './', '/', '//', './.']) {
      using scene = new Scene()
      const outcome = await scene.unpack([
        { name, type: '2', linkname: scene.canary },
        { name: 'secret', content: 'overwritten' },
      ])
      expect(outcome).toMatch(/the root of a layer cannot be a symlink/)
    }
  })

  const links: readonly (readonly [string, (canary: string) => readonly ArchiveEntry[]])[] = [
    ['a symbolic link and a file through it', c => [link('l', c), { name: 'l/secret', content: 'evil' }]],
    ['a chain of links', c => [link('a', '/'), link('b', `a${c}`), link('c', 'b'), { name: 'c/secret', content: 'x' }]],
    ['a link to its own parent', c => [link('d/l', '..'), { name: `d/l/../..${c}/secret`.replace('/../..', '') }]],
    [
      'a link that is replaced while it is used',
      c => [link('l', 'x'), { name: 'l/f' }, link('l', c), { name: 'l/secret' }],
    ],
    ['a hard link to the file of a link', c => [link('l', c), { name: 'h', type: '1', linkname: 'l/secret' }]],
    [
      'a hard link to a link, then content',
      c => [link('l', `${c}/secret`), hard('h', 'l'), { name: 'h', content: 'x' }],
    ],
    ['a hard link to an absolute name', c => [hard('h', `${c}/secret`), { name: 'h', content: 'evil' }]],
    ['a whiteout through a link', c => [link('l', c), { name: 'l/.wh.secret' }, { name: 'l/.wh..wh..opq' }]],
    ['a device through a link', c => [link('l', c), { name: 'l/secret', type: '3', devmajor: 1, devminor: 3 }]],
    ['a long name through a link', c => [link('l', c), { name: 'x', pax: { path: `l/${'./'.repeat(200)}secret` } }]],
    [
      'a link of 4,000 bytes',
      c => [{ ...link('l', ''), pax: { linkpath: `${'/..'.repeat(1200)}${c}` } }, { name: 'l/secret' }],
    ],
  ]
  for (const [what, entries] of links) {
    rootTest(`with ${what} leaves the host as it is (CVE-2026-17106)`, async () => {
      using scene = new Scene()
      await scene.unpack(entries(scene.canary))
    })
  }

  rootTest('with a whiteout of / is refused', async () => {
    using scene = new Scene()
    for (const name of ['.wh.', '.wh..', '.wh...', '/.wh..', './.wh...', 'a/../.wh.a', '.wh./']) {
      expect(await scene.unpack([{ name }])).toMatch(/Cannot unpack layer/)
    }
  })

  rootTest('with an absolute, upward or NUL name never leaves its root', async () => {
    using scene = new Scene()
    const names = ['../canary/secret', 'a/../../canary/secret', '..', './..', '/../canary/secret', 'a/..']
    for (const name of names) expect(await scene.unpack([{ name, content: 'x' }])).toMatch(/it leads upwards/)
    expect(await scene.unpack([{ name: 'a', pax: { path: `${scene.canary}/secret\0` } }])).toMatch(/holds a NUL/)
    const outcome = await scene.unpack([{ name: `//${scene.canary}/./secret`, content: 'x' }])
    expect(typeof outcome === 'string' ? outcome : existsSync(join(outcome.path, scene.canary, 'secret'))).toBe(true)
  })
})

function link(name: string, linkname: string): ArchiveEntry {
  return { name, type: '2', linkname, pax: { linkpath: linkname } }
}

function hard(name: string, linkname: string): ArchiveEntry {
  return { name, type: '1', linkname, pax: { linkpath: linkname } }
}
