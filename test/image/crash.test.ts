/** Layers whose unpacking is killed, or done twice at once. */
import { expect } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseDigest } from '../../src/oci/digest.ts'
import { LayerStore } from '../../src/snapshot/layer-store.ts'
import { testIf } from '../support/requirement.ts'
import { archive } from '../support/tar-archive.ts'
import { sha256 } from './layout-builder.ts'
import { TemporaryDirectory, treeOf } from './tree.ts'

const rootTest = testIf('root')
const KILLS = 8
const DEADLINE_MS = 20_000

const tar = archive(
  ...Array.from({ length: 400 }, (_, index) => ({ name: `d${index % 20}/f${index}`, content: new Uint8Array(20_000) })),
)
const diffId = sha256(tar)

/** A program that unpacks the archive in `path` into `dataRoot`, and says so. */
function unpacker(path: string, dataRoot: string): string[] {
  const store = join(import.meta.dir, '../../src/snapshot/layer-store.ts')
  const program = `
    const { LayerStore } = await import(${JSON.stringify(store)})
    const store = await LayerStore.open(${JSON.stringify(dataRoot)})
    const layer = await store.unpack(${JSON.stringify(diffId)}, async function* () {
      const bytes = await Bun.file(${JSON.stringify(path)}).bytes()
      for (let at = 0; at < bytes.length; at += 65536) yield bytes.subarray(at, at + 65536)
    })
    console.log(layer.path)`
  return [process.execPath, '-e', program]
}

async function* once(): AsyncGenerator<Uint8Array> {
  yield tar
}

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + DEADLINE_MS; !condition(); ) {
    if (Date.now() > deadline) throw new Error('it did not happen in time')
    await new Promise(resolve => setImmediate(resolve))
  }
}

rootTest('LayerStore leaves nothing of a layer whose unpacking was killed, once it is opened again', async () => {
  using temporary = new TemporaryDirectory()
  const path = join(temporary.path, 'layer.tar')
  writeFileSync(path, tar)
  for (let kill = 0; kill < KILLS; kill++) {
    const dataRoot = join(temporary.path, `data${kill}`)
    const layers = join(dataRoot, 'layers')
    mkdirSync(layers, { recursive: true })
    const child = Bun.spawn(unpacker(path, dataRoot), { stdout: 'ignore', stderr: 'ignore' })
    // The more directories of the layer are there, the later it is killed.
    await until(() => {
      const [making] = readdirSync(layers)
      if (making === undefined) return false
      try {
        return readdirSync(join(layers, making, 'root')).length >= kill * 2
      } catch {
        // It was renamed or is not made yet: look again.
        return !making.startsWith('.')
      }
    })
    child.kill('SIGKILL')
    await child.exited
    const store = await LayerStore.open(dataRoot)
    expect(readdirSync(layers).filter(name => name.startsWith('.'))).toEqual([])
    const found = await store.find(parseDigest(diffId))
    if (found !== null) expect(readdirSync(found.path)).toHaveLength(20)
    rmSync(dataRoot, { recursive: true })
  }
})

/** With BERTH_TEST_LONG=1 as many as the issue asks for. */
const RANDOM_KILLS = process.env['BERTH_TEST_LONG'] === '1' ? 200 : 6
const RANDOM_KILLS_MS = RANDOM_KILLS * 5000

/** The processes that unpack for another one: the worker, and berth-init below it. */
function unpackersOf(pid: number): readonly number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
    return children.flatMap(child => [child, ...unpackersOf(child)])
  } catch {
    // It has ended.
    return []
  }
}

rootTest(
  'LayerStore has a layer whole or not at all, whenever the process that unpacks it for itself is killed',
  async () => {
    using temporary = new TemporaryDirectory()
    const path = join(temporary.path, 'layer.tar')
    writeFileSync(path, tar)
    const whole = treeOf(
      (await (await LayerStore.open(join(temporary.path, 'whole'))).unpack(parseDigest(diffId), once)).path,
    )
    for (let kill = 0; kill < RANDOM_KILLS; kill++) {
      const dataRoot = join(temporary.path, `data${kill}`)
      const child = Bun.spawn(unpacker(path, dataRoot), { stdout: 'pipe', stderr: 'ignore' })
      // The moments lie all over its life, which the clock of this loop does not follow exactly: that is the point.
      const deadline = performance.now() + Math.random() * 400
      await until(() => performance.now() > deadline || child.exitCode !== null)
      child.kill('SIGKILL')
      await child.exited
      const store = await LayerStore.open(dataRoot)
      expect(readdirSync(join(dataRoot, 'layers')).filter(name => name.startsWith('.'))).toEqual([])
      const found = await store.find(parseDigest(diffId))
      if (found !== null) expect(treeOf(found.path)).toEqual(whole)
      const { path: root } = await store.unpack(parseDigest(diffId), once)
      expect(treeOf(root)).toEqual(whole)
      rmSync(dataRoot, { recursive: true })
    }
  },
  RANDOM_KILLS_MS,
)

rootTest('LayerStore.unpack() fails and leaves nothing when what unpacks for it is killed at any piece', async () => {
  using temporary = new TemporaryDirectory()
  const store = await LayerStore.open(temporary.path)
  const pieceBytes = 1_200_000
  const count = Math.ceil(tar.length / pieceBytes)
  for (let kill = 0; kill < count; kill++) {
    const outcome = store.unpack(parseDigest(diffId), async function* () {
      for (let piece = 0; piece < count; piece++) {
        yield tar.subarray(piece * pieceBytes, (piece + 1) * pieceBytes)
        const unpackers = unpackersOf(process.pid)
        // Now the worker, now the berth-init that it feeds.
        const victim = kill % 2 === 0 ? unpackers[0] : unpackers.at(-1)
        if (piece === kill && victim !== undefined) process.kill(victim, 'SIGKILL')
      }
      await new Promise(() => undefined)
    })
    await expect(outcome).rejects.toThrow(/Cannot unpack layer .* ended early \(SIGKILL\)/)
    expect(readdirSync(join(temporary.path, 'layers'))).toEqual([])
  }
})

rootTest('LayerStore keeps what another living process is unpacking', async () => {
  using temporary = new TemporaryDirectory()
  const first = await LayerStore.open(temporary.path)
  const gate = Promise.withResolvers<void>()
  const unpacking = first.unpack(parseDigest(diffId), async function* () {
    yield tar.subarray(0, 100_000)
    await gate.promise
    yield tar.subarray(100_000)
  })
  await until(() => readdirSync(join(temporary.path, 'layers')).length > 0)
  await LayerStore.open(temporary.path)
  gate.resolve()
  expect(readdirSync((await unpacking).path)).toHaveLength(20)
})

rootTest('LayerStore.unpack() of one layer in many processes at once gives each the same directory', async () => {
  using temporary = new TemporaryDirectory()
  const path = join(temporary.path, 'layer.tar')
  const dataRoot = join(temporary.path, 'data')
  writeFileSync(path, tar)
  const children = Array.from({ length: 4 }, () => Bun.spawn(unpacker(path, dataRoot), { stderr: 'inherit' }))
  const outputs = await Promise.all(children.map(child => new Response(child.stdout).text()))
  expect(new Set(outputs).size).toBe(1)
  expect(readdirSync((outputs[0] ?? '').trim())).toHaveLength(20)
  expect(readdirSync(join(dataRoot, 'layers'))).toEqual(['sha256'])
})

rootTest('LayerStore.unpack() called twice at once reads the blob once', async () => {
  using temporary = new TemporaryDirectory()
  const store = await LayerStore.open(temporary.path)
  let opened = 0
  const open = async function* (): AsyncGenerator<Uint8Array> {
    opened++
    yield tar
  }
  const [first, second] = await Promise.all([1, 2].map(() => store.unpack(parseDigest(diffId), open)))
  expect(first).toEqual(second)
  expect<unknown>(await store.unpack(parseDigest(diffId), open)).toEqual(first)
  expect(opened).toBe(1)
  expect(statSync(join(temporary.path, 'layers')).mode & 0o777).toBe(0o700)
})

rootTest('LayerStore.unpack() that is aborted leaves nothing', async () => {
  using temporary = new TemporaryDirectory()
  const store = await LayerStore.open(temporary.path)
  const controller = new AbortController()
  const outcome = store.unpack(
    parseDigest(diffId),
    async function* () {
      yield tar.subarray(0, 500_000)
      controller.abort(new Error('enough'))
      yield tar.subarray(500_000)
    },
    { signal: controller.signal },
  )
  await expect(outcome).rejects.toThrow('enough')
  expect(readdirSync(join(temporary.path, 'layers'))).toEqual([])
})
