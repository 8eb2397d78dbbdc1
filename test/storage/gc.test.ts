/** What `berth system gc` takes, and what it leaves. */
import { describe, expect } from 'bun:test'
import { mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { imageId } from '../../src/image/image-record.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import { sha256 } from '../image/layout-builder.ts'
import type { StoreBox } from '../listing/store-box.ts'
import { busyboxLayer, engineOf, layoutOf, onDisk, storageTest } from './storage-box.ts'

const HOUR_MS = 3_600_000
/** No process has it: pids end at 2^22. */
const DEAD_PID = 4_999_999

async function loaded(box: StoreBox, ...names: readonly string[]): Promise<void> {
  await box.ok('load', '-q', '-i', layoutOf(box.path('layout'), names, [busyboxLayer()]))
}

/** Takes an image's name away, so that it is dangling, and makes believe that it was last used so long ago. */
async function forget(box: StoreBox, name: string, ageMs = 0): Promise<string> {
  const { images, database } = await engineOf(box)
  const image = images.records.named(name)
  if (image === null) throw new Error(`no image ${name}`)
  images.records.untag(name)
  const time = Date.now() - ageMs
  database.sqlite.query('UPDATE image SET used_ms = ?, pulled_ms = ? WHERE digest = ?').run(time, time, image.digest)
  return imageId(image)
}

async function listed(box: StoreBox): Promise<readonly string[]> {
  return (await engineOf(box)).images.records.list().map(imageId)
}

/** Something of every kind that crashes leave. */
function litter(box: StoreBox): readonly string[] {
  const blob = sha256('junk').slice(7)
  const layer = sha256('layer').slice(7)
  const paths = {
    blob: `content/blobs/sha256/${blob}`,
    partial: `content/ingest/sha256-${blob}.00000000.${DEAD_PID}.1.0123456789abcdef`,
    layer: `layers/sha256/${layer}`,
    container: `containers/${'c'.repeat(64)}`,
    scratch: `bootstrap/.making-${DEAD_PID}-1-0-1`,
    probe: `.making-${DEAD_PID}-1-0-2`,
  }
  for (const directory of [`${paths.layer}/root`, `${paths.container}/upper/etc`, `${paths.scratch}/root`, paths.probe])
    mkdirSync(join(box.data, directory), { recursive: true })
  for (const file of [paths.blob, `${paths.layer}/root/file`, `${paths.container}/upper/etc/file`])
    writeFileSync(join(box.data, file), 'junk')
  return Object.values(paths)
}

describe('berth system gc', () => {
  storageTest('removes what crashes have left, and nothing else', async box => {
    await loaded(box, 'example.com/kept:1')
    await box.ok('run', '--name', 'ended', 'example.com/kept:1', 'true')
    const before = onDisk(box.data)
    const junk = litter(box)
    // The store opens with a look at partial blobs of another boot, which are no use to anybody.
    const dry = await box.ok('system', 'gc', '--dry-run')
    for (const kind of ['blob', 'layer', 'container', 'scratch']) expect(dry).toMatch(new RegExp(`^${kind} `, 'm'))
    expect(onDisk(box.data)).toEqual([...before, ...junk.filter(path => !path.includes('ingest'))].sort())
    const done = await box.ok('system', 'gc')
    expect(done.replace('reclaimed', 'reclaimable')).toBe(dry)
    expect(onDisk(box.data)).toEqual(before)
    expect(await box.ok('system', 'gc')).toBe('Total reclaimed space: 0B\n')
    expect(await box.ok('image', 'verify')).toBe('All content is as its digests say.\n')
    expect(await box.ok('run', '--rm', 'example.com/kept:1', 'echo', 'fine')).toBe('fine\n')
  })

  storageTest('--free takes images without a name, and no others', async box => {
    await loaded(box, ...['named', 'gone', 'pinned', 'used'].map(name => `example.com/${name}:1`))
    await box.ok('image', 'pin', 'example.com/pinned:1')
    await box.ok('run', '--name', 'user', 'example.com/used:1', 'true')
    const ids = await Promise.all(
      ['gone', 'pinned', 'used'].map(name => forget(box, `example.com/${name}:1`, 5 * HOUR_MS)),
    )
    const before = onDisk(box.data)
    const [gone = ''] = ids
    expect(await box.ok('system', 'gc', '--free', '100%', '--dry-run')).toContain(gone)
    expect(onDisk(box.data)).toEqual(before)
    await box.ok('system', 'gc', '--free', '100%')
    const rest = await listed(box)
    expect(rest).toHaveLength(3)
    expect(rest).not.toContain(gone)
    // Its layer and three blobs; the layer that it shared stays.
    expect(before.length - onDisk(box.data).length).toBe(4)
    await box.ok('image', 'unpin', ids[1] ?? '')
    await box.ok('rm', 'user')
    await box.ok('system', 'gc', '--free', '100%')
    expect(await listed(box)).toHaveLength(1)
    expect(await box.ok('run', '--rm', 'example.com/named:1', 'echo', 'fine')).toBe('fine\n')
  })

  storageTest('leaves what a running transfer holds, and takes it when that has ended', async box => {
    const { images } = await engineOf(box)
    const lease = images.records.lease('test')
    await using ingestion = await images.content.ingest(null)
    await ingestion.write(Buffer.from('held'))
    const { digest } = await ingestion.commit({ beforeVisible: found => lease.hold('blob', [found]) })
    await box.ok('system', 'gc')
    expect(await images.content.find(digest)).toBe(4)
    lease.release()
    await box.ok('system', 'gc')
    expect(await images.content.find(digest)).toBeNull()
  })

  storageTest('leaves the layers of containers that were made of a layout', async box => {
    const layout = layoutOf(box.path('layout'), ['one'], [busyboxLayer()])
    await box.ok('run', '--name', 'kept', `oci:${layout}:one`, 'sh', '-c', 'echo x > /etc/made')
    const layers = readdirSync(join(box.data, 'layers/sha256'))
    expect(layers).toHaveLength(2)
    await box.ok('system', 'gc')
    expect(readdirSync(join(box.data, 'layers/sha256'))).toEqual(layers)
    expect(await box.ok('diff', 'kept')).toContain('A /etc/made')
    const { database } = await engineOf(box)
    expect(database.sqlite.query('SELECT * FROM lease_item').all()).toEqual([])
    await box.ok('rm', 'kept')
    await box.ok('system', 'gc')
    expect(readdirSync(join(box.data, 'layers/sha256'))).toEqual([])
  })

  storageTest('keeps what a container needs of an image that was removed, until the container is', async box => {
    await loaded(box, 'example.com/forced:1')
    await box.ok('run', '--name', 'user', 'example.com/forced:1', 'sh', '-c', 'echo x > /etc/made')
    await box.ok('rmi', '--force', 'example.com/forced:1')
    await box.ok('system', 'gc', '--free', '100%')
    expect(await box.ok('export', 'user')).toContain('bin/busybox')
    await box.ok('rm', 'user')
    expect(onDisk(box.data)).toEqual([])
  })
})

describe('the watermark', () => {
  storageTest('lets every command that takes space reclaim old images without a name', async box => {
    await loaded(box, ...['old', 'young', 'named'].map(name => `example.com/${name}:1`))
    const old = await forget(box, 'example.com/old:1', 2 * HOUR_MS)
    const young = await forget(box, 'example.com/young:1')
    await box.ok('--keep-free', '0', 'load', '-q', '-i', box.path('layout'), '--platform', 'linux/amd64')
    await forget(box, 'example.com/old:1', 2 * HOUR_MS)
    await forget(box, 'example.com/young:1')
    expect(await listed(box)).toContain(old)
    await box.berth(['--keep-free', '100%', 'rmi', 'example.com/none:1'])
    const rest = await listed(box)
    expect(rest).not.toContain(old)
    expect(rest).toContain(young)
    expect(rest).toHaveLength(2)
  })

  storageTest('removes orphans of more than a day once a day, and lets younger ones wait', async box => {
    await loaded(box, 'example.com/kept:1')
    const before = onDisk(box.data)
    litter(box)
    await box.berth(['rmi', 'example.com/none:1'])
    // Nothing is due: it was collected when the image came.
    expect(onDisk(box.data).filter(path => path.startsWith('containers/'))).toHaveLength(1)
    utimesSync(join(box.data, 'last-collection'), 0, 0)
    await box.berth(['rmi', 'example.com/none:1'])
    const young = onDisk(box.data).filter(path => !before.includes(path))
    // Directories of the dead are nobody's to go on with; content may be.
    expect(young.map(path => path.split('/')[0])).toEqual(['content', 'layers'])
    const { images } = await engineOf(box)
    expect(await images.content.find(parseDigest(sha256('junk')))).toBe(4)
  })
})
