/** What the store promises about layers beyond their content: presence, size, removal, other processes. */
import { describe, expect } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../../src/lib/error.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import { LayerStore } from '../../src/snapshot/layer-store.ts'
import { testIf } from '../support/requirement.ts'
import { archive } from '../support/tar-archive.ts'
import { sha256 } from './layout-builder.ts'
import { run, TemporaryDirectory } from './tree.ts'

const rootTest = testIf('root')
const tar = archive({ name: 'a', content: 'x' })
const diffId = parseDigest(sha256(tar))

async function* pieces(...all: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* all
}

/** The processes that unpack for this one, as the kernel sees them. */
function workers(): readonly number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .filter(pid => {
      try {
        const parent = / \S (\d+) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/, ''))?.[1]
        return parent === `${process.pid}` && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('layer-worker')
      } catch {
        // It has ended since the directory was read.
        return false
      }
    })
}

/** What is below `layers`: complete ones as `sha256/…`, and what is on its way. */
function layersBelow(dataRoot: string): string[] {
  const directory = join(dataRoot, 'layers')
  return readdirSync(directory).flatMap(name =>
    name.startsWith('.') ? [name] : readdirSync(join(directory, name)).map(hex => `${name}/${hex}`),
  )
}

describe('LayerStore', () => {
  rootTest('list() names the layers that are there, and only those', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    expect(await store.list()).toEqual([])
    await store.unpack(diffId, () => pieces(tar))
    mkdirSync(join(temporary.path, 'layers/.making-1-1-0'))
    expect(await store.list()).toEqual([diffId])
  })

  rootTest('sizeOf() is what du counts, with hard links, holes, long links, duplicates and directories', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    const long = { linkpath: 't'.repeat(2000) }
    const xattr = { 'SCHILY.xattr.user.large': 'v'.repeat(3000) }
    const bytes = archive(
      { name: 'd', type: '5' },
      ...Array.from({ length: 300 }, (_, index) => ({ name: `d/${index}-${'n'.repeat(80)}`, content: 'x' })),
      { name: 'large', content: new Uint8Array(300_000) },
      { name: 'again', type: '1', linkname: 'large' },
      { name: 'implied/f', content: 'y', pax: xattr },
      { name: 'link', type: '2', pax: long },
      { name: 'sparse', content: 'ab', pax: { 'GNU.sparse.map': '9000000,2', 'GNU.sparse.size': '20000000' } },
      { name: 'twice', content: new Uint8Array(90_000) },
      { name: 'twice', content: 'z' },
      { name: 'fifo', type: '6' },
    )
    const id = parseDigest(sha256(bytes))
    const { path } = await store.unpack(id, () => pieces(bytes))
    // Allocation may be delayed, and what du sees now is a promise then.
    const du = Number(run('du', '--summarize', '--block-size=1', path).toString().split('\t')[0])
    expect(await store.sizeOf(id)).toBe(du)
    expect(await store.sizeOf(diffId)).toBeNull()
  })

  rootTest('condemnNow() takes layers away at once, and removeCondemned() frees their space', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    const other = parseDigest(sha256('other'))
    await store.unpack(diffId, () => pieces(tar))
    expect(store.condemnNow([other, diffId])).toEqual([diffId])
    expect(await store.find(diffId)).toBeNull()
    expect(await store.list()).toEqual([])
    expect(layersBelow(temporary.path)).toHaveLength(1)
    await LayerStore.open(temporary.path)
    expect(layersBelow(temporary.path)).toHaveLength(1)
    await store.removeCondemned()
    expect(layersBelow(temporary.path)).toEqual([])
    expect((await store.unpack(diffId, () => pieces(tar))).entryCount).toBe(1)
  })

  rootTest('open() removes what a killed process had condemned', async () => {
    using temporary = new TemporaryDirectory()
    mkdirSync(join(temporary.path, 'layers/.removing-1-1-0a/root'), { recursive: true })
    await LayerStore.open(temporary.path)
    expect(layersBelow(temporary.path)).toEqual([])
  })

  rootTest(
    'keep() of the same layer by many at once fails for none, and leaves the layer and nothing else',
    async () => {
      using temporary = new TemporaryDirectory()
      const stores = await Promise.all(Array.from({ length: 10 }, () => LayerStore.open(temporary.path)))
      const [first] = stores
      await first?.unpack(diffId, () => pieces(tar))
      await Promise.all(stores.map(store => store.keep(0)))
      expect(await first?.find(diffId)).not.toBeNull()
      expect(layersBelow(temporary.path)).toEqual([diffId.replace(':', '/')])
      expect(readdirSync(join(temporary.path, 'layers', diffId.replace(':', '/'))).sort()).toEqual([
        'layer.json',
        'root',
      ])
    },
  )

  rootTest('open() removes the record that a killed process was writing', async () => {
    using temporary = new TemporaryDirectory()
    await LayerStore.open(temporary.path)
    writeFileSync(join(temporary.path, 'layers', '.making-1-1-0'), '{')
    await LayerStore.open(temporary.path)
    expect(layersBelow(temporary.path)).toEqual([])
  })

  rootTest('finds no layer of an earlier boot unless keep() has made it safe, and unpacks it again', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    const { path } = await store.unpack(diffId, () => pieces(tar))
    const record = join(path, '../layer.json')
    const cutOff = (): void => {
      const written: object = JSON.parse(readFileSync(record, 'utf8'))
      writeFileSync(record, JSON.stringify({ ...written, bootId: 'of-another-boot' }))
      writeFileSync(join(path, 'a'), '\0')
    }
    cutOff()
    expect(await store.find(diffId)).toBeNull()
    expect(await store.list()).toEqual([diffId])
    await store.unpack(diffId, () => pieces(tar))
    expect(readFileSync(join(path, 'a'), 'utf8')).toBe('x')
    expect(layersBelow(temporary.path)).toHaveLength(1)
    await store.keep(0)
    expect(readFileSync(record, 'utf8')).not.toContain('bootId')
    expect(await (await LayerStore.open(temporary.path)).find(diffId)).toMatchObject({ entryCount: 1 })
  })

  for (const [what, content] of [
    ['empty', ''],
    ['zeros', '\0'.repeat(100)],
  ] as const)
    rootTest(`unpacks a layer again whose record a loss of power has left as ${what}`, async () => {
      using temporary = new TemporaryDirectory()
      const store = await LayerStore.open(temporary.path)
      const { path } = await store.unpack(diffId, () => pieces(tar))
      writeFileSync(join(path, '../layer.json'), content)
      writeFileSync(join(path, 'a'), '')
      expect(await store.find(diffId)).toBeNull()
      await store.keep(0)
      await store.unpack(diffId, () => pieces(tar))
      expect(readFileSync(join(path, 'a'), 'utf8')).toBe('x')
    })

  rootTest('keep() leaves alone what has just come, and what another boot has left', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    const { path } = await store.unpack(diffId, () => pieces(tar))
    const record = join(path, '../layer.json')
    const fresh = readFileSync(record, 'utf8')
    await store.keep()
    expect(readFileSync(record, 'utf8')).toBe(fresh)
    const old = JSON.stringify({ ...(JSON.parse(fresh) as object), bootId: 'of-another-boot' })
    writeFileSync(record, old)
    await store.keep(0)
    expect(readFileSync(record, 'utf8')).toBe(old)
  })

  rootTest('keep() has nothing to do any more after it has kept all, and again after the next layer', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    const isMarked = (): boolean => existsSync(join(temporary.path, 'unkept-layers'))
    await store.unpack(diffId, () => pieces(tar))
    await store.keep()
    expect(isMarked()).toBe(true)
    await store.keep(0)
    expect(isMarked()).toBe(false)
    const other = archive({ name: 'b', content: 'y' })
    const otherId = parseDigest(sha256(other))
    const { path } = await store.unpack(otherId, () => pieces(other))
    expect(isMarked()).toBe(true)
    await store.keep(0)
    expect(readFileSync(join(path, '../layer.json'), 'utf8')).not.toContain('bootId')
  })

  rootTest('unpack() throws what the blob throws at its very end, and leaves nothing', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    const open = async function* (): AsyncGenerator<Uint8Array> {
      yield tar
      throw new Error('the digest of the blob is another')
    }
    await expect(store.unpack(diffId, open)).rejects.toThrow('the digest of the blob is another')
    expect(layersBelow(temporary.path)).toEqual([])
  })

  rootTest('unpack() onto a full disk fails with an error whose cause has the errno, and leaves nothing', async () => {
    using temporary = new TemporaryDirectory()
    run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'berth-test', temporary.path)
    try {
      const store = await LayerStore.open(temporary.path)
      const large = archive({ name: 'large', content: new Uint8Array(3_000_000).fill(7) })
      const unpacking = store.unpack(parseDigest(sha256(large)), () => pieces(large))
      const error: unknown = await unpacking.catch((reason: unknown) => reason)
      expect(error).toMatchObject({ category: 'unavailable', cause: { name: 'UnpackError', errno: 'ENOSPC' } })
      expect(layersBelow(temporary.path)).toEqual([])
    } finally {
      run('umount', '-l', temporary.path)
    }
  })

  rootTest('unpack() of a bad entry called ENOSPC fails with an error that has no errno', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    const bad = archive({ name: '../ENOSPC', content: 'x' })
    const unpacking = store.unpack(parseDigest(sha256(bad)), () => pieces(bad))
    const error: unknown = await unpacking.catch((reason: unknown) => reason)
    expect(error).toMatchObject({ category: 'invalidArgument', cause: { name: 'UnpackError', errno: null } })
  })

  rootTest('unpack() fails at once on a bad archive, though the blob never ends', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    const open = async function* (): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(1024).fill(0x61)
      await new Promise(() => undefined)
    }
    await expect(store.unpack(diffId, open)).rejects.toThrow(/Cannot read tar archive/)
    expect(layersBelow(temporary.path)).toEqual([])
  })

  rootTest('unpack() ends the iteration of a blob whose archive is bad', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    const closed = Promise.withResolvers<void>()
    const open = async function* (): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield new Uint8Array(100_000).fill(0x61)
      } finally {
        closed.resolve()
      }
    }
    await expect(store.unpack(diffId, open)).rejects.toThrow(/Cannot read tar archive/)
    await closed.promise
  })

  rootTest('unpack() is cancelled while it waits for the blob, and while it waits for its turn', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    const controller = new AbortController()
    const begun = Promise.withResolvers<void>()
    const open = async function* (): AsyncGenerator<Uint8Array> {
      yield tar.subarray(0, 100)
      begun.resolve()
      await new Promise(() => undefined)
    }
    const outcomes = Array.from({ length: 12 }, (_, index) =>
      store.unpack(parseDigest(sha256(`${index}`)), open, { signal: controller.signal }).catch(messageOf),
    )
    await begun.promise
    controller.abort(new Error('enough'))
    expect(new Set(await Promise.all(outcomes))).toEqual(new Set(['enough']))
    expect(layersBelow(temporary.path)).toEqual([])
    expect((await store.unpack(diffId, () => pieces(tar))).entryCount).toBe(1)
  })

  rootTest('unpack() says that its process was killed', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    const open = async function* (): AsyncGenerator<Uint8Array> {
      yield tar.subarray(0, 100)
      for (const pid of workers()) process.kill(pid, 'SIGKILL')
      await new Promise(() => undefined)
    }
    await expect(store.unpack(diffId, open)).rejects.toThrow(
      /Cannot unpack layer "sha256:.*": the process that unpacked it ended early \(SIGKILL\)/,
    )
    expect(layersBelow(temporary.path)).toEqual([])
    expect((await store.unpack(diffId, () => pieces(tar))).entryCount).toBe(1)
  })

  rootTest('unpack() by several at once reuses processes, and ends them when there is nothing to do', async () => {
    using temporary = new TemporaryDirectory()
    const store = await LayerStore.open(temporary.path)
    const archives = Array.from({ length: 12 }, (_, index) => archive({ name: `f${index}`, content: 'x' }))
    const seen = new Set<number>()
    await Promise.all(
      archives.map(bytes =>
        store.unpack(parseDigest(sha256(bytes)), async function* () {
          yield bytes
          for (const pid of workers()) seen.add(pid)
        }),
      ),
    )
    expect(seen.size).toBeGreaterThan(0)
    expect(seen.size).toBeLessThanOrEqual(4)
    for (const deadline = Date.now() + 5000; workers().length > 0; await Bun.sleep(5)) {
      if (Date.now() > deadline) throw new Error('the processes are still there')
    }
    expect(existsSync(join(temporary.path, 'layers'))).toBe(true)
  })
})
