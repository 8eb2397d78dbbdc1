/** What `berth system df` adds up, and what the prunes remove. */
import { describe, expect } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DiskUsage } from '../../src/engine/disk-usage.ts'
import { sha256 } from '../image/layout-builder.ts'
import type { StoreBox } from '../listing/store-box.ts'
import { busyboxLayer, dataLayer, engineOf, layoutOf, onDisk, storageTest } from './storage-box.ts'

const WRITE_300_KIB = ['sh', '-c', 'echo told; dd if=/dev/zero of=/big bs=1024 count=300 2>/dev/null']

function duBytes(path: string): number {
  const { stdout } = spawnSync('du', ['-s', '--block-size=1', path], { encoding: 'utf8' })
  return Number(stdout.split('\t')[0])
}

async function usageOf(box: StoreBox): Promise<DiskUsage> {
  return JSON.parse(await box.ok('system', 'df', '--json')) as DiskUsage
}

function totalBytes(usage: DiskUsage): number {
  return Object.values(usage).reduce((sum, { diskBytes }) => sum + diskBytes, 0)
}

/** Two images that share a layer of busybox; a container of the first one that has ended. */
async function filled(): Promise<(box: StoreBox) => Promise<void>> {
  const shared = [busyboxLayer(), dataLayer('shared', 3_000_000)]
  return async box => {
    const names = ['example.com/one:1', 'example.com/two:1']
    await box.ok('load', '-q', '-i', layoutOf(box.path('layout'), names, shared, 700_000))
    await box.ok('run', '--name', 'ended', '--label', 'tier=low', 'example.com/one:1', ...WRITE_300_KIB)
  }
}

describe('berth system df', () => {
  storageTest('adds up with du, to 1 percent', async box => {
    const fill = await filled()
    await fill(box)
    mkdirSync(join(box.data, 'containers', 'c'.repeat(64), 'upper'), { recursive: true })
    writeFileSync(join(box.data, 'content/blobs/sha256', sha256('junk').slice(7)), new Uint8Array(100_000))
    const usage = await usageOf(box)
    const [total, wanted] = [totalBytes(usage), duBytes(box.data)]
    expect(Math.abs(total - wanted) / wanted).toBeLessThan(0.01)
    expect(usage.orphans).toMatchObject({ totalCount: 2, reclaimableBytes: usage.orphans.diskBytes })
    expect(usage.logs.diskBytes).toBe(4096)
    expect(usage.containers.each[0]?.diskBytes).toBeGreaterThan(300 * 1024)
    // What it says can be had back is what a prune gives back, with nothing else going on.
    await box.ok('system', 'gc')
    await box.ok('container', 'prune', '-f')
    const images = await usageOf(box)
    const before = duBytes(join(box.data, 'content')) + duBytes(join(box.data, 'layers'))
    await box.ok('image', 'prune', '-af')
    const freed = before - duBytes(join(box.data, 'content')) - duBytes(join(box.data, 'layers'))
    // Directories and index.json are metadata.
    expect(Math.abs(freed - images.images.reclaimableBytes)).toBeLessThan(20_000)
    expect(onDisk(box.data)).toEqual([])
  })

  storageTest('tells of each image what it shares and what is its own', async box => {
    const fill = await filled()
    await fill(box)
    const { images } = await usageOf(box)
    for (const { sharedBytes, uniqueBytes } of images.each) {
      expect(sharedBytes).toBeGreaterThan(6_000_000)
      // The layer, unpacked and compressed, and the documents.
      expect(uniqueBytes).toBeGreaterThan(1_400_000)
      expect(uniqueBytes).toBeLessThan(1_500_000)
    }
    const [total = 0, one = 0, two = 0] = [
      images.diskBytes,
      ...images.each.map(({ sharedBytes, uniqueBytes }) => sharedBytes + uniqueBytes),
    ]
    expect(one + two - total).toBe(images.each[0]?.sharedBytes ?? 0)
    const table = await box.ok('system', 'df', '-v')
    expect(table).toMatch(/^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE +SHARED SIZE +UNIQUE SIZE +CONTAINERS$/m)
    expect(table).toMatch(/^example\.com\/one +1 +[0-9a-f]{12} .* 1$/m)
    expect(table).toMatch(/^CONTAINER ID +IMAGE +COMMAND +LOCAL VOLUMES +SIZE +CREATED +STATUS +NAMES$/m)
    expect(table).toContain('exited (0)')
  })

  storageTest("prints docker's table, templates and JSON", async box => {
    const fill = await filled()
    await fill(box)
    const rows = (await box.ok('system', 'df')).split('\n').map(line => line.split(/ {2,}/))
    expect(rows[0]).toEqual(['TYPE', 'TOTAL', 'ACTIVE', 'SIZE', 'RECLAIMABLE'])
    expect(rows.slice(1, -1).map(row => row.slice(0, 3))).toEqual([
      ['Images', '2', '1'],
      ['Containers', '1', '0'],
      ['Local Volumes', '0', '0'],
      ['Build Cache', '0', '0'],
      ['Logs', '1', '0'],
      ['Orphans', '0', '0'],
      ['Metadata', '0', '0'],
    ])
    expect(rows[3]?.slice(3)).toEqual(['0B', '0B'])
    expect(rows[2]?.[4]).toMatch(/^[\d.]+kB \(100%\)$/)
    expect((await box.ok('system', 'df', '--format', '{{.Type}}:{{.TotalCount}}')).split('\n')[0]).toBe('Images:2')
    const [json = ''] = (await box.ok('system', 'df', '--format', 'json')).split('\n')
    expect(Object.keys(JSON.parse(json))).toEqual(['Active', 'Reclaimable', 'Size', 'TotalCount', 'Type'])
    expect((await box.berth(['system', 'df', '-v', '--format', 'json'])).stderr).toContain('expected --json')
  })
})

describe('berth system prune', () => {
  storageTest('removes what has ended and what has no name, and tells how much', async box => {
    const fill = await filled()
    await fill(box)
    const { images, database } = await engineOf(box)
    images.records.untag('example.com/two:1')
    const [row] = database.list()
    const dry = await box.ok('system', 'prune', '--dry-run')
    expect(dry).toContain(`Containers:\n${row?.id}\n`)
    expect(dry).toMatch(/^Images:\nsha256:[0-9a-f]{64}\n$/m)
    expect(database.list()).toHaveLength(1)
    const { status, stdout, stderr } = await box.berth(['system', 'prune'], Buffer.from('n\n'))
    expect([status, stdout]).toEqual([0, ''])
    expect(stderr).toBe(
      'WARNING! This will remove:\n  - all stopped containers\n  - all dangling images\n  - content that nothing needs\n\nAre you sure you want to continue? [y/N] ',
    )
    const done = await box.ok('system', 'prune', '-f')
    expect(done).toStartWith(`Deleted Containers:\n${row?.id}\n\nDeleted Images:\ndeleted: sha256:`)
    expect(done).toMatch(/\nTotal reclaimed space: 1\.\d+MB\n$/)
    expect(database.list()).toEqual([])
    expect(images.records.list().map(({ names }) => names)).toEqual([['example.com/one:1']])
    await box.ok('image', 'pin', 'example.com/one:1')
    await box.ok('system', 'prune', '-af')
    expect(images.records.list()).toHaveLength(1)
    await box.ok('image', 'unpin', 'example.com/one:1')
    await box.ok('system', 'prune', '-af')
    expect(onDisk(box.data)).toEqual([])
    expect((await box.berth(['system', 'prune', '--volumes', '-f'])).stderr).toBe(
      'berth: Cannot prune volumes: this engine has none yet, expected no --volumes\n',
    )
  })

  storageTest('and container prune go by filters, and leave what runs', async box => {
    const fill = await filled()
    await fill(box)
    const running = box.start(['run', '--name', 'running', 'example.com/one:1', 'sh', '-c', 'echo up; sleep 1000'])
    for await (const piece of running.stdout) if (Buffer.from(piece).includes('up')) break
    for (const filter of ['label=tier=high', 'label!=tier', 'until=1h'])
      expect(await box.ok('container', 'prune', '-f', '--filter', filter)).toBe('Total reclaimed space: 0B\n')
    expect(await box.ok('container', 'prune', '-f', '--filter', 'label=tier')).toStartWith('Deleted Containers:\n')
    expect((await box.berth(['container', 'prune', '-f', '--filter', 'name=x'])).stderr).toContain('by "name"')
    await box.ok('system', 'prune', '-af')
    const ps = await box.ok('ps')
    expect(ps).toContain('running')
    await box.ok('rm', '-f', 'running')
    await running.exited
  })
})
