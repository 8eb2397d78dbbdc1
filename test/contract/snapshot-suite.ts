/** What every snapshot driver has to do, on a filesystem of its own and with containers of its own. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isLayerImage } from '../../src/snapshot/layer-mount.ts'
import { sha256 } from '../image/layout-builder.ts'
import { treeOf } from '../image/tree.ts'
import { skippedName } from '../support/junit.ts'
import { expectNoLeaks, type HostSnapshot, snapshotHost } from '../support/leak-check.ts'
import type { ArchiveEntry } from '../support/tar-archive.ts'
import { inLayer } from './layer-view.ts'
import { Box, type BoxKind, Disk, missingFor } from './snapshot-box.ts'

type Check = (name: string, run: (box: Box, disk: Disk) => Promise<unknown>) => void

/** Tests of one driver on one filesystem; `more` adds those that no other driver has. */
export function describeSnapshotDriver(kind: BoxKind, more: (check: Check) => void = () => undefined): void {
  describe(`${kind.driver} on ${kind.filesystem}`, () => {
    const missing = missingFor(kind)
    let disk: Disk | null = null
    let before: HostSnapshot | null = null
    beforeAll(() => {
      if (missing !== null) return
      before = snapshotHost()
      disk = new Disk(kind.filesystem)
    })
    afterAll(async () => {
      disk?.[Symbol.dispose]()
      if (before !== null) await expectNoLeaks(before)
    })
    const check: Check = (name, run) => {
      if (missing !== null) {
        test.skip(skippedName(name, missing), () => undefined)
        return
      }
      test(name, async () => {
        if (disk === null) throw new Error('there is no disk')
        const data = disk.directory()
        await using box = await Box.open(kind.driver, data)
        await run(box, disk)
        for (const name of containersOf(data)) await box.driver.remove(join(data, 'containers', name))
        await box.driver.sweep()
        expect(containersOf(data).map(name => readdirSync(join(data, 'containers', name)))).toEqual(
          containersOf(data).map(() => []),
        )
        expect(readdirSync(data).filter(name => name.startsWith('.'))).toEqual([])
      })
    }
    checkLayers(check)
    checkFidelity(check)
    checkOwners(check)
    checkIsolation(check, kind)
    checkFailures(check, kind)
    more(check)
  })
}

function containersOf(data: string): string[] {
  return existsSync(join(data, 'containers')) ? readdirSync(join(data, 'containers')) : []
}

/** All of a layer, for comparisons. */
function layerAt(path: string): readonly string[] {
  return isLayerImage(path) ? [sha256(readFileSync(path))] : treeOf(path)
}

const directory = (name: string): ArchiveEntry => ({ name, type: '5', mode: 0o755 })

function checkLayers(check: Check): void {
  check('hides what whiteouts and opaque directories of upper layers remove', async box => {
    const stack = await box.stack(
      [directory('d/'), { name: 'd/old', content: 'old' }, directory('e/'), { name: 'e/f', content: 'f' }],
      [{ name: '.wh.base' }, directory('d/'), { name: 'd/.wh..wh..opq' }, { name: 'd/new', content: 'new' }],
      [directory('e/'), { name: 'e/.wh.f' }, { name: 'd/newer', content: 'newer' }],
    )
    const { output } = await (await box.container(stack)).run('ls / d e; cat d/new d/newer')
    expect(output).toBe('/:\nbin\nd\ndev\ne\nproc\n\nd:\nnew\nnewer\n\ne:\nnewnewer')
  })

  check(
    'shows what replaces what: a directory over a file, a file over a directory, a directory made anew',
    async box => {
      const stack = await box.stack(
        [
          { name: 'was-file', content: 'x' },
          directory('was-dir/'),
          { name: 'was-dir/x', content: 'x' },
          directory('again/'),
          { name: 'again/old', content: 'old' },
          { name: 'was-link', type: '2', linkname: 'd' },
        ],
        [
          directory('was-file/'),
          { name: 'was-file/.wh..wh..opq' },
          { name: 'was-file/y', content: 'y' },
          { name: 'was-dir', content: 'file now' },
          { name: '.wh.again' },
          directory('again/'),
          { name: 'again/new', content: 'new' },
          directory('was-link/'),
          { name: 'was-link/z', content: 'z' },
        ],
      )
      const { output } = await (await box.container(stack)).run('ls was-file again was-link d; cat was-dir')
      expect(output).toBe('again:\nnew\n\nd:\nbase\n\nwas-file:\ny\n\nwas-link:\nz\nfile now')
    },
  )
}

function checkFidelity(check: Check): void {
  check('keeps modes, times, attributes, hard links, holes and special files as the layer has them', async box => {
    const hole = Buffer.alloc(3_000_000)
    hole.write('end', hole.length - 3)
    const stack = await box.stack([
      directory('all/'),
      { name: 'all/setuid', content: 'x', mode: 0o4755, uid: 7, gid: 8, mtime: 1_234_567_890 },
      { name: 'all/colored', content: 'x', pax: { 'SCHILY.xattr.user.color': 'blue', mtime: '1111111111.123456789' } },
      { name: 'all/link', type: '1', linkname: 'all/colored' },
      { name: 'all/far/link', type: '1', linkname: 'all/colored' },
      { name: 'all/symlink', type: '2', linkname: '/nowhere', uid: 5 },
      { name: 'all/fifo', type: '6', mode: 0o620 },
      { name: 'all/null', type: '3', devmajor: 1, devminor: 3, mode: 0o666 },
      { name: 'all/holes', content: hole },
      { name: 'all/sticky/', type: '5', mode: 0o1777, uid: 9, pax: { 'SCHILY.xattr.user.of': 'a directory' } },
    ])
    const [layer = ''] = stack.lowers
    const container = await box.container(stack)
    const seen = await container.look(root => {
      const links = ['colored', 'link', 'far/link'].map(name => lstatSync(join(root, 'all', name)))
      expect(new Set(links.map(({ ino }) => ino)).size).toBe(1)
      return treeOf(join(root, 'all'))
    })
    const shift = (line: string): string =>
      line.replace(/ (\d+):(\d+) /, (_, uid, gid) => ` ${Number(uid) + 1_400_000}:${Number(gid) + 1_400_000} `)
    expect(seen).toEqual(inLayer(layer, root => treeOf(join(root, 'all'))).map(shift))
  })

  check('merges 127 layers', async box => {
    const layers = Array.from({ length: 126 }, (_, index) => [
      { name: `file${index}`, content: String(index) },
      { name: 'last', content: String(index) },
    ])
    const stack = await box.stack(...layers)
    const { output } = await (await box.container(stack)).run('cat last file0 file125 base')
    expect(output).toBe('1250125of the base')
  })

  check('makes no root of the host image unless it is an overlay', async box => {
    const stack = { lowers: ['/'], isHost: true }
    const describe = () => box.driver.describe('/nowhere', stack, null)
    if (['overlay', 'erofs'].includes(box.driver.name)) expect(describe().kind).toBe('overlay')
    else expect(describe).toThrow('Cannot run image "host"')
  })
}

function checkOwners(check: Check): void {
  const files = [
    { name: 'mine', content: 'x', uid: 1000, gid: 1001 },
    { name: 'nobody', content: 'x', uid: 70_000, gid: 70_000 },
    { name: 'acl', content: 'x' },
  ]

  check('shows the ids of the image in a user namespace, and ids beyond it as nobody', async box => {
    const container = await box.container(await box.stack(files))
    const seen = await container.run(
      'stat -c "%u %g" mine nobody bin; touch made && chown 7:8 made && stat -c "%u %g" made',
    )
    expect(seen.output).toBe('1000 1001\n65534 65534\n0 0\n7 8\n')
    expect((await container.run('stat -c "%u %g" made')).output).toBe('7 8\n')
  })

  check('shows the ids of the image without a user namespace', async box => {
    const container = await box.container(await box.stack(files), null)
    const { output } = await container.run('stat -c "%u %g" mine nobody; touch made; stat -c "%u %g" made')
    expect(output).toBe('1000 1001\n70000 70000\n0 0\n')
  })

  check('lets a user change his own files, and no others', async box => {
    const stack = await box.stack([
      { name: 'his', content: 'x', uid: 1000, gid: 1000 },
      { name: 'roots', content: 'x' },
    ])
    const { output } = await (await box.container(stack)).run(
      'echo y > his; echo y > roots; cat his roots bin/sh > /dev/null && cat his roots',
      1000,
    )
    expect(output.replace(/^.*denied\n/m, '')).toBe('y\nx')
  })

  for (const uses of ['a user namespace', 'no user namespace'])
    check(`gives programs their file capabilities, with ${uses}`, async box => {
      // CAP_CHOWN, effective: vfs_cap_data of revision 2.
      const capability = Buffer.from('0100000201000000000000000000000000000000', 'hex').toString('latin1')
      const content = readFileSync(Bun.which('busybox') ?? '/dev/null')
      const pax = { 'SCHILY.xattr.security.capability': capability }
      const stack = await box.stack([{ name: 'caps/cat', content, mode: 0o755, pax }])
      const container = await box.container(stack, uses.startsWith('no') ? null : box.ids)
      const { output } = await container.run('/caps/cat /proc/self/status', 1000)
      expect(/^CapEff:\t(\w+)$/m.exec(output)?.[1]).toBe('0000000000000001')
    })
}

function checkIsolation(check: Check, { driver, filesystem }: BoxKind): void {
  check('keeps containers apart, and layers as they are', async box => {
    const stack = await box.stack([{ name: 'd/f', content: 'original' }])
    const before = stack.lowers.map(layerAt)
    const [first, second] = [await box.container(stack), await box.container(stack)]
    const script = 'echo changed > d/f; rm base; mkdir new; chown 5 d; mv bin/cat bin/dog'
    expect(await first.run(script)).toEqual({ status: 0, output: '' })
    expect((await second.run('cat d/f base; ls; stat -c %u d')).output).toBe(
      'originalof the basebase\nbin\nd\ndev\nproc\n0\n',
    )
    expect(stack.lowers.map(layerAt)).toEqual(before)
  })

  check('keeps the changes of a container for its next start', async box => {
    const container = await box.container(await box.stack())
    await container.run('echo one > d/f; rm base')
    await container.run('echo two >> d/f')
    expect((await container.run('cat d/f; ls')).output).toBe('one\ntwo\nbin\nd\ndev\nproc\n')
  })

  check('tells where the changes of a container are', async box => {
    const stack = await box.stack()
    const container = await box.container(stack)
    await container.run(
      'echo new > d/new; chown 3 d/new; rm base; mkdir -p made/deep; cd made/deep; echo x > file; ln file twice; ln -s x link',
    )
    await using changes = await box.driver.changesOf(container.directory, stack, box.ids)
    const { path, ids } = changes
    const names = readdirSync(path).filter(name => !['dev', 'proc'].includes(name))
    expect(names.sort()).toEqual(['base', 'd', 'made'])
    expect(readdirSync(join(path, 'd'))).toEqual(['new'])
    expect(statSync(join(path, 'd/new')).uid - (ids?.start ?? 0)).toBe(3)
    expect(statSync(join(path, 'd')).mode & 0o777).toBe(0o755)
    expect([lstatSync(join(path, 'base')).isCharacterDevice(), lstatSync(join(path, 'base')).rdev]).toEqual([true, 0])
    // fuse-overlayfs leaves marks of its own in directories that hide others.
    const made = readdirSync(join(path, 'made/deep')).filter(name => !name.startsWith('.wh.'))
    expect(made.sort()).toEqual(['file', 'link', 'twice'])
    expect(readFileSync(join(path, 'made/deep/twice'), 'utf8')).toBe('x\n')
    expect(lstatSync(join(path, 'made/deep/twice')).nlink).toBe(2)
  })

  check('tells what a root takes of the disk', async box => {
    const [mebibyte, image] = [1024 * 1024, Buffer.alloc(8 * 1024 * 1024, 'random enough')]
    const container = await box.container(await box.stack([{ name: 'large', content: image }]))
    await container.run('dd if=/dev/zero of=/own bs=1048576 count=2; ln /own /twice')
    box.usedBytes()
    const { uniqueBytes, sharedBytes } = await box.driver.usageOf(container.directory)
    const shares = driver === 'btrfs' || filesystem === 'xfs'
    expect(sharedBytes >= image.length).toBe(shares)
    const own = driver === 'vfs' && !shares ? image.length + 2 * mebibyte : 2 * mebibyte
    expect(uniqueBytes).toBeGreaterThanOrEqual(own)
    // busybox, where it is a copy, and directories.
    expect(uniqueBytes).toBeLessThan(own + 3 * mebibyte)
  })
}

function checkFailures(check: Check, { driver, filesystem }: BoxKind): void {
  check('removes a root however deep and long its paths are', async box => {
    const container = await box.container(await box.stack())
    // Ten levels at a time, each on top of those before.
    const path = Array.from({ length: 10 }, () => 'n'.repeat(200)).join('/')
    const nest = `mkdir -p /c$i/${path} && { [ $i = 0 ] || mv /below /c$i/${path}/x; } && mv /c$i /below || exit 1`
    expect(await container.run(`i=0; while [ $i -lt 30 ]; do ${nest}; i=$((i+1)); done`)).toEqual({
      status: 0,
      output: '',
    })
    await container.remove()
    await container.remove()
    expect(readdirSync(container.directory)).toEqual([])
  })

  check('leaves nothing of a root whose making was killed', async box => {
    const many = Array.from({ length: 3000 }, (_, index) => ({ name: `many/${index}`, content: `${index}` }))
    const stack = await box.stack(many)
    const program = join(import.meta.dir, 'snapshot-create.ts')
    // The moments of the kill.
    for (const delayMs of [0, 2, 5, 10, 20, 40, 80]) {
      const target = box.newDirectory()
      const child = Bun.spawn([process.execPath, program, driver, box.data, target, ...stack.lowers], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      await child.stdout.getReader().read()
      await Bun.sleep(delayMs)
      child.kill('SIGKILL')
      await child.exited
      await box.driver.remove(target)
      expect(readdirSync(target)).toEqual([])
    }
    await box.driver.sweep()
    const left = existsSync(join(box.data, 'snapshots')) ? readdirSync(join(box.data, 'snapshots')) : []
    expect(left.filter(name => name.startsWith('.'))).toEqual([])
    expect((await (await box.container(stack)).run('cat many/2999')).output).toBe('2999')
  })

  check('says that the disk is full, and leaves nothing', async (box, disk) => {
    const image = Buffer.alloc(24 * 1024 * 1024, 'something')
    const stack = await box.stack([{ name: 'large', content: image }])
    const filler = join(disk.path, 'filler')
    const writes = 'dd if=/dev/zero of=/more bs=1048576 count=40'
    try {
      fill(filler)
      const copies = driver === 'vfs' && filesystem === 'ext4'
      const made = box.container(stack)
      if (copies) expect(await made.catch(error => error.category)).toBe('unavailable')
      else {
        const container = await made.catch(() => null)
        // Without any room at all btrfs makes no subvolume either, and says so.
        if (container !== null) expect((await container.run(writes)).output).toContain('No space left')
      }
    } finally {
      rmSync(filler, { force: true })
    }
    for (const name of containersOf(box.data)) await box.driver.remove(join(box.data, 'containers', name))
    expect((await (await box.container(stack)).run('ls large')).output).toBe('large\n')
  })
}

/** Until some MiB are left. */
function fill(path: string): void {
  const piece = Buffer.alloc(8 * 1024 * 1024, 'x')
  try {
    for (;;) writeFileSync(path, piece, { flag: 'a' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  }
}
