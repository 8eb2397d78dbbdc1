/** `berth --storage-driver`: containers whose roots are no overlays, and what containers take of the disk. */

import { describe, expect } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Outcome } from '../runtime/verbs-machine.ts'
import type { RequirementName } from '../support/requirement.ts'
import { type EngineBox, engineTest } from './engine-box.ts'

const DRIVERS: readonly (readonly [name: string, needs: readonly RequirementName[]])[] = [
  ['vfs', []],
  ['fuse-overlayfs', existsSync('/dev/fuse') ? ['command fuse-overlayfs'] : ['command /dev/fuse']],
]

/** With a store of its own: the box's is made by overlay. */
async function berth(box: EngineBox, driver: string, ...args: readonly string[]): Promise<Outcome> {
  return await box.berth(['--root', box.path(driver), '--storage-driver', driver, ...args])
}

for (const [driver, needs] of DRIVERS)
  describe(`berth --storage-driver ${driver}`, () => {
    engineTest(
      'runs a container that changes what it likes, and removes it with --rm',
      async box => {
        const rootfs = box.rootfs()
        const script = 'stat -c "%u %g" /bin/busybox; echo new > /etc/new; cat /etc/new; cat /proc/self/uid_map'
        const { status, stdout, stderr } = await berth(
          box,
          driver,
          'run',
          '--rm',
          '--rootfs',
          rootfs,
          'sh',
          '-c',
          script,
        )
        expect([status, stderr]).toEqual([0, ''])
        expect(stdout.replaceAll(/ +/g, ' ')).toBe('0 0\nnew\n 0 1400000 65536\n')
        expect(existsSync(join(rootfs, 'etc/new'))).toBe(false)
        expect(readdirSync(box.path(driver, 'containers'))).toEqual([])
      },
      needs,
    )

    engineTest(
      'keeps a container until it is removed',
      async box => {
        const run = await berth(box, driver, 'run', '--name', 'kept', '--rootfs', box.rootfs(), 'touch', '/made')
        expect([run.status, run.stderr]).toEqual([0, ''])
        expect(readdirSync(box.path(driver, 'containers'))).toHaveLength(1)
        expect((await berth(box, driver, 'rm', 'kept')).status).toBe(0)
        expect(readdirSync(box.path(driver, 'containers'))).toEqual([])
      },
      needs,
    )

    engineTest(
      'tells what a container has changed, and exports it',
      async box => {
        const script = 'echo new > /etc/new; mkdir -p /made/deep; echo x > /made/deep/file; rm /bin/pwd'
        const run = await berth(box, driver, 'run', '--name', 'changer', '--rootfs', box.rootfs(), 'sh', '-c', script)
        expect([run.status, run.stderr]).toEqual([0, ''])
        const { stdout, stderr } = await berth(box, driver, 'diff', 'changer')
        expect([stdout.split('\n').sort().slice(1), stderr]).toEqual([
          ['A /etc/new', 'A /made', 'A /made/deep', 'A /made/deep/file', 'C /bin', 'C /etc', 'D /bin/pwd'],
          '',
        ])
        const archive = box.path('export.tar')
        expect((await berth(box, driver, 'export', '-o', archive, 'changer')).stderr).toBe('')
        const listed = spawnSync('tar', ['--numeric-owner', '-tvf', archive], { encoding: 'utf8' }).stdout
        expect(listed).toMatch(/^-rw-r--r-- 0\/0 +2 .* made\/deep\/file$/m)
        expect(listed).not.toContain('.wh.')
        expect(listed).not.toContain('bin/pwd')
        expect((await berth(box, driver, 'rm', 'changer')).status).toBe(0)
      },
      needs,
    )

    engineTest(
      'says that the host image takes an overlay',
      async box => {
        const { status, stderr } = await berth(box, driver, 'run', '--rm', 'host', 'true')
        expect(status).toBe(125)
        expect(stderr).toBe(
          `berth: Cannot run image "host" with storage driver "${driver}": it would have to hide parts of the machine's own tree, expected overlay\n`,
        )
        expect(readdirSync(box.path(driver)).filter(name => name === 'containers')).toEqual([])
      },
      needs,
    )
  })

describe('berth --storage-driver erofs', () => {
  engineTest(
    'runs, compares and commits an image whose layers are images',
    async box => {
      const tar = box.path('rootfs.tar')
      writeFileSync(join(box.rootfs(), 'etc/passwd'), 'someone:x:1234:1235::/:/bin/sh\n')
      spawnSync('tar', ['-C', box.rootfs(), '-cf', tar, '.'])
      expect((await berth(box, 'erofs', 'import', tar, 'one:1')).stderr).toBe('')
      const script = 'id -u; grep -c " - erofs " /proc/self/mountinfo'
      const seen = await berth(box, 'erofs', 'run', '--rm', '-u', 'someone', 'one:1', 'sh', '-c', script)
      expect([seen.stdout, seen.stderr]).toEqual(['1234\n0\n', ''])
      const changed = await berth(box, 'erofs', 'run', '--name', 'kept', 'one:1', 'sh', '-c', 'echo x > /new')
      expect([changed.status, changed.stderr]).toEqual([0, ''])
      expect((await berth(box, 'erofs', 'diff', 'kept')).stdout).toBe('A /new\n')
      expect((await berth(box, 'erofs', 'commit', 'kept', 'two:1')).stderr).toBe('')
      expect((await berth(box, 'erofs', 'run', '--rm', '-u', 'someone', 'two:1', 'cat', '/new')).stdout).toBe('x\n')
      expect((await berth(box, 'erofs', 'rm', 'kept')).status).toBe(0)
      const layers = box.path('erofs', 'layers/sha256')
      expect(readdirSync(layers).map(hex => readdirSync(join(layers, hex)).sort())).toEqual([
        ['layer.erofs', 'layer.json'],
        ['layer.erofs', 'layer.json'],
      ])
      expect(readFileSync('/proc/mounts', 'utf8')).not.toContain(' erofs ')
    },
    ['kernel 6.12', 'command tar'],
  )
})

describe('berth --storage-driver', () => {
  engineTest('refuses a store that was made by another driver, and names that are none', async box => {
    expect((await box.berth(['--storage-driver', 'vfs', 'run', '--rm', 'host', 'true'])).stderr).toBe(
      `berth: Cannot use storage driver "vfs": the store at "${box.data}" was made by overlay, expected --storage-driver overlay or another --root\n`,
    )
    expect((await box.berth(['--storage-driver', 'zfs', 'ps'])).stderr).toBe(
      'berth: Cannot use storage driver "zfs": expected overlay, btrfs, fuse-overlayfs, vfs or erofs\n',
    )
  })

  engineTest('is overlay unless something else is said, and stays so', async box => {
    expect(readFileSync(join(box.data, 'storage-driver'), 'utf8')).toBe('overlay\n')
    expect((await box.berth(['--storage-driver', 'overlay', 'run', '--rm', 'host', 'true'])).status).toBe(0)
  })
})

// 100 containers of an image shall take less than 10 MB beyond it, whatever its size: 100 KB for each.
const CONTAINER_COUNT = 10
const LIMIT_BYTES = CONTAINER_COUNT * 100 * 1000

engineTest('a container takes less than 100 KB of the disk beyond its image', async box => {
  const rootfs = box.rootfs()
  box.file('rootfs/large', Buffer.alloc(64 * 1024 * 1024, 'content'))
  const before = allocatedBytes(box.data)
  const runs = Array.from({ length: CONTAINER_COUNT }, (_, index) => [
    'run',
    '--name',
    `c${index}`,
    '--rootfs',
    rootfs,
    'sh',
    '-c',
    'echo hello; echo x > /tmp/x',
  ])
  for (const args of runs) expect((await box.berth(args)).stdout).toBe('hello\n')
  expect(allocatedBytes(box.data) - before).toBeLessThan(LIMIT_BYTES)
  for (const [, , name = ''] of runs) expect((await box.berth(['rm', name])).status).toBe(0)
})

/** As `du` counts. */
function allocatedBytes(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return 0
  const below = stat.isDirectory() ? readdirSync(path).map(name => allocatedBytes(join(path, name))) : []
  return below.reduce((sum, bytes) => sum + bytes, stat.blocks * 512)
}
