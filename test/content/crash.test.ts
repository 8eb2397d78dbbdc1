/** Ingestions that are killed, that meet each other, and that find the disk full. */
import { expect, test } from 'bun:test'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ContentStore } from '../../src/content/content-store.ts'
import { messageOf } from '../../src/lib/error.ts'
import { testIf } from '../support/requirement.ts'
import { bytesOf, ContentBox, nameOf } from './content-box.ts'

const MIB = 1024 * 1024
const KILLS = 40
const BLOB_BYTES = 24 * MIB
const DEADLINE_MS = 20_000

/** How many bytes are in the directory of ingestions, and in that of blobs: a program's progress. */
function progressOf(root: string): number {
  return ['ingest', 'blobs/sha256'].reduce((sum, name) => sum + bytesIn(join(root, 'content', name)), 0)
}

function bytesIn(directory: string): number {
  try {
    return readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
  } catch {
    // It is not made yet, or a file was renamed while it was looked at: look again.
    return 0
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + DEADLINE_MS; !condition(); ) {
    if (Date.now() > deadline) throw new Error('it did not happen in time')
    await new Promise(resolve => setImmediate(resolve))
  }
}

test('a store whose writer is killed again and again is clean, and the blob is gone on with', async () => {
  using box = new ContentBox()
  await box.open()
  let resumed = 0
  for (let kill = 0; kill < KILLS; kill++) {
    const source = box.source(bytesOf(BLOB_BYTES, kill))
    // From before the first byte to after the commit.
    const goal = Math.floor((kill / (KILLS - 4)) * BLOB_BYTES)
    const child = box.ingest(source)
    const before = progressOf(box.root)
    await until(() => progressOf(box.root) - before >= Math.min(goal, BLOB_BYTES) || child.exitCode !== null)
    child.kill('SIGKILL')
    await child.exited

    const store = await box.open()
    expect(await Array.fromAsync(store.verify())).toEqual([])
    const again = box.ingest(source)
    resumed += Number(await new Response(again.stdout).text()) > 0 ? 1 : 0
    expect(await again.exited).toBe(0)
    expect(await store.find(source.name.digest)).toBe(BLOB_BYTES)
    for await (const _ of store.read(source.name));
    expect(box.partials()).toEqual([])
    expect(store.removeNow([source.name.digest])).toBe(BLOB_BYTES)
  }
  expect(resumed).toBeGreaterThan(KILLS / 2)
}, 60_000)

test('many processes that ingest one blob at once all end well, and leave one', async () => {
  using box = new ContentBox()
  const source = box.source(bytesOf(BLOB_BYTES, 1))
  const children = Array.from({ length: 4 }, () => box.ingest(source))
  expect(await Promise.all(children.map(child => child.exited))).toEqual([0, 0, 0, 0])
  const store = await box.open()
  expect(await Array.fromAsync(store.list())).toMatchObject([source.name])
  expect(await Array.fromAsync(store.verify([source.name]))).toEqual([])
  expect(box.partials()).toEqual([])
})

test('a process leaves alone what another one is writing', async () => {
  using box = new ContentBox()
  const bytes = bytesOf(BLOB_BYTES, 1)
  const source = box.source(bytes)
  const store = await box.open()
  await using ingestion = await store.ingest(source.name)
  await ingestion.write(bytes.subarray(0, 5 * MIB))
  const child = box.ingest(source)
  expect(await new Response(child.stdout).text()).toBe('0\n')
  expect(await child.exited).toBe(0)
  await ingestion.write(bytes.subarray(5 * MIB))
  expect(await ingestion.commit()).toEqual(source.name)
  expect(await Array.fromAsync(store.verify([source.name]))).toEqual([])
  expect(box.partials()).toEqual([])
})

testIf('root', 'command mount')('a full disk is unavailable, and nothing is left of what did not fit', async () => {
  using box = new ContentBox()
  const root = join(box.root, 'small')
  mkdirSync(root)
  expect(Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=6m', 'berth-test', root]).exitCode).toBe(0)
  try {
    const store = await ContentStore.open(root)
    const fits = bytesOf(2 * MIB, 1)
    const large = bytesOf(8 * MIB, 2)
    for (const pieceBytes of [1000, 100_000, 3 * MIB]) {
      await expect(ingestAll(store, large, pieceBytes)).rejects.toMatchObject({
        category: 'unavailable',
        message: `Cannot store blob "${nameOf(large).digest}": no space is left on the device`,
      })
      expect(readdirSync(join(root, 'content/ingest'))).toEqual([])
    }
    await ingestAll(store, fits, MIB)
    // What fits beside it now does not: the first one is untouched.
    await expect(ingestAll(store, bytesOf(5 * MIB, 3), MIB)).rejects.toThrow('no space is left')
    expect(await Array.fromAsync(store.verify([nameOf(fits)]))).toEqual([])
    await expect(store.put(bytesOf(5 * MIB, 4)).catch(error => messageOf(error))).resolves.toContain('no space is left')
    expect(readdirSync(join(root, 'content/ingest'))).toEqual([])
  } finally {
    expect(Bun.spawnSync(['umount', root]).exitCode).toBe(0)
  }
})

async function ingestAll(store: ContentStore, bytes: Uint8Array, pieceBytes: number): Promise<void> {
  await using ingestion = await store.ingest(nameOf(bytes))
  for (let at = 0; at < bytes.length; at += pieceBytes) await ingestion.write(bytes.subarray(at, at + pieceBytes))
  await ingestion.commit()
}
