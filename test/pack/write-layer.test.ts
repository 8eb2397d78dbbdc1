/** Trees as archives: what is in them, unpacked by others, and what a tree that changes or is hostile can do. */
import { describe, expect } from 'bun:test'
import { createHash } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { TarParser } from '../../src/lib/tar/parser.ts'
import { type Change, readChanges } from '../../src/snapshot/tree-changes.ts'
import type { VeilPath } from '../../src/snapshot/veil-view.ts'
import { type Compression, type WrittenLayer, writeLayer, writeTree } from '../../src/snapshot/write-layer.ts'
import { run, TemporaryDirectory, treeOf } from '../image/tree.ts'
import { testIf } from '../support/requirement.ts'
import { aclValue, capabilityValue, setXattr } from '../support/xattr.ts'

const rootTest = testIf('root')
const RANGE = { start: 1_400_000, size: 65_536 }

interface Archive extends WrittenLayer {
  readonly path: string
  readonly warnings: readonly string[]
}

async function written(
  path: string,
  write: (sink: (bytes: Uint8Array) => Promise<void>, warn: (message: string) => void) => Promise<WrittenLayer>,
): Promise<Archive> {
  const file = openSync(path, 'w')
  const warnings: string[] = []
  try {
    const layer = await write(
      async bytes => {
        writeSync(file, bytes)
      },
      message => warnings.push(message),
    )
    return { ...layer, path, warnings }
  } finally {
    closeSync(file)
  }
}

interface LayerInput {
  readonly upper: string
  readonly lowers?: readonly string[]
  readonly ids?: typeof RANGE | null
  readonly veil?: readonly VeilPath[]
  readonly latestSeconds?: number | null
  readonly compression?: Compression
}

function layer(
  path: string,
  { upper, lowers = [], ids = null, veil = [], latestSeconds = null, compression = 'none' }: LayerInput,
) {
  return written(path, (sink, warn) =>
    writeLayer({ upper, lowers, ids, veil }, { latestSeconds, compression, warn }, sink),
  )
}

function tree(path: string, directory: string): Promise<Archive> {
  const root = { kind: 'directory', path: directory } as const
  return written(path, (sink, warn) => writeTree(root, null, { latestSeconds: null, compression: 'none', warn }, sink))
}

/** Names, types and owners of an archive's entries. */
function entriesOf(path: string): readonly string[] {
  const bytes = run('cat', path)
  const told: string[] = []
  const parser = new TarParser({
    entry: ({ name, type, uid, gid, mtime }) => told.push(`${type} ${name} ${uid}:${gid} ${mtime.seconds}`),
    data: () => undefined,
    end: () => undefined,
  })
  parser.push(bytes)
  parser.finish()
  return told
}

function names(path: string): readonly string[] {
  return entriesOf(path).map(each => each.split(' ')[1] ?? '')
}

/** Every kind of file that a container can make. */
async function fill(root: string): Promise<void> {
  const at = (name: string): string => join(root, name)
  mkdirSync(at('d'))
  writeFileSync(at('d/f'), 'content\n')
  linkSync(at('d/f'), at('d/g'))
  symlinkSync(`${'x/'.repeat(80)}t`, at('d/l'))
  for (const length of [99, 100, 101, 155, 255]) writeFileSync(at('n'.repeat(length)), String(length))
  writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xe4, 0xff, 0x0a])]), 'bytes')
  let deep = root
  for (let depth = 0; depth < 60; depth++) deep = join(deep, `directory-${depth}`)
  mkdirSync(deep, { recursive: true })
  writeFileSync(join(deep, 'bottom'), 'deep')
  run('mkfifo', at('p'))
  run('mknod', at('c'), 'c', '4095', '1048575')
  run('mknod', at('b'), 'b', '7', '300')
  writeFileSync(at('setuid'), 's')
  chownSync(at('setuid'), 3_000_000, 4_000_000_000)
  chmodSync(at('setuid'), 0o6755)
  await setXattr(at('setuid'), 'user.note', 'a\0b')
  writeFileSync(at('acl'), 'a')
  await setXattr(at('acl'), 'system.posix_acl_access', aclValue(1000, 7))
  writeFileSync(at('cap'), 'c')
  await setXattr(at('cap'), 'security.capability', capabilityValue())
  writeFileSync(at('sparse'), 'head')
  truncateSync(at('sparse'), 5 * 1024 ** 3)
  appendFileSync(at('sparse'), 'tail')
  writeFileSync(at('holes'), 'head')
  truncateSync(at('holes'), 300_000)
  utimesSync(at('d/f'), 1, -1.5)
}

describe('writeTree()', () => {
  rootTest(
    'writes files of every kind so that GNU tar unpacks the same tree',
    async () => {
      using from = new TemporaryDirectory()
      using to = new TemporaryDirectory()
      using work = new TemporaryDirectory()
      await fill(from.path)
      const { path, warnings, archiveBytes } = await tree(join(work.path, 'a.tar'), from.path)
      expect(warnings).toEqual([])
      expect(archiveBytes).toBeLessThan(10 * 1024 * 1024)
      run('tar', '-C', to.path, '--numeric-owner', '--xattrs', '--xattrs-include=*', '-xpf', path)
      const lines = (directory: string): string[] => {
        // Of the five gigabytes only what is no hole: tar reads it as sparse too, and the root is the test's own.
        const all = treeOfSparse(directory)
        return all.filter(line => !line.startsWith('./ '))
      }
      expect(lines(to.path)).toEqual(lines(from.path))
    },
    60_000,
  )

  rootTest('leaves out sockets, with a warning', async () => {
    using from = new TemporaryDirectory()
    const server = createServer().listen(join(from.path, 'socket'))
    await new Promise(resolve => server.once('listening', resolve))
    try {
      const { warnings, entryCount } = await tree(join(from.path, '..', `${process.pid}.tar`), from.path)
      expect(warnings).toEqual(['left out "socket": it is a socket'])
      expect(entryCount).toBeLessThanOrEqual(1)
    } finally {
      server.close()
      run('rm', '-f', join(from.path, '..', `${process.pid}.tar`))
    }
  })

  rootTest('writes a file that changes while it is read with the size it had', async () => {
    using from = new TemporaryDirectory()
    using work = new TemporaryDirectory()
    const file = join(from.path, 'file')
    const size = 64 * 1024 * 1024
    writeFileSync(file, Buffer.alloc(size, 'x'))
    writeFileSync(join(from.path, 'next'), 'next')
    let isCut = false
    const { warnings, path } = await written(join(work.path, 'a.tar'), (sink, warn) =>
      writeTree(
        { kind: 'directory', path: from.path },
        null,
        { latestSeconds: null, compression: 'none', warn },
        async bytes => {
          if (!isCut) truncateSync(file, 4096)
          isCut = true
          await sink(bytes)
        },
      ),
    )
    expect(warnings.join()).toContain('"file" became')
    expect(run('tar', '-tvf', path).toString()).toContain(String(size))
    expect(names(path).filter(each => each !== './')).toEqual(['file', 'next'])
  })

  rootTest(
    'reads nothing outside while directories and links change places',
    async () => {
      using from = new TemporaryDirectory()
      using outside = new TemporaryDirectory()
      using work = new TemporaryDirectory()
      mkdirSync(join(from.path, 'a/b/c'), { recursive: true })
      mkdirSync(join(outside.path, 'b/c'), { recursive: true })
      for (let index = 0; index < 50; index++) {
        writeFileSync(join(from.path, `a/b/c/f${index}`), 'inside')
        writeFileSync(join(outside.path, `b/c/f${index}`), 'OUTSIDE')
      }
      const script = `cd "$0"; while :; do mv a x; ln -s "$1" a; rm a; mv x a; cd a/b/c; mv f7 y; ln -s "$1/b/c/f7" f7; rm f7; mkfifo f7; rm f7; mv y f7; cd ../../..; done`
      const swapper = Bun.spawn(['sh', '-c', script, from.path, outside.path], { stderr: 'ignore', stdout: 'ignore' })
      try {
        for (let round = 0; round < 25; round++) {
          try {
            const { path } = await tree(join(work.path, 'a.tar'), from.path)
            expect(run('cat', path).includes('OUTSIDE\0')).toBe(false)
          } catch (error) {
            // A name that changes faster than it can be opened: refused, and says so.
            expect(String(error)).toContain('ESTALE')
          }
        }
      } finally {
        swapper.kill('SIGKILL')
        await swapper.exited
      }
    },
    60_000,
  )
})

/** As treeOf, of trees with files too large to be held: their sparse maps are compared instead of their content. */
function treeOfSparse(directory: string): string[] {
  const big = join(directory, 'sparse')
  const head = createHash('sha256')
    .update(run('head', '-c', '65536', big))
    .update(run('tail', '-c', '65536', big))
    .digest('hex')
  const stat = run('stat', '-c', '%s %a %u %g', big).toString()
  run('truncate', '-s', '0', big)
  return [...treeOf(directory).filter(line => !line.startsWith('./sparse ')), `${head} ${stat}`]
}

describe('writeLayer()', () => {
  rootTest('shifts owners, ACLs and capabilities back, and overlay marks become whiteouts', async () => {
    using upper = new TemporaryDirectory()
    using lower = new TemporaryDirectory()
    using work = new TemporaryDirectory()
    const at = (name: string): string => join(upper.path, name)
    chmodSync(upper.path, 0o755)
    writeFileSync(at('f'), '')
    await setXattr(at('f'), 'system.posix_acl_access', aclValue(1_400_042, 1_400_043))
    mkdirSync(at('new'))
    mkdirSync(at('old'))
    mkdirSync(join(lower.path, 'old'))
    writeFileSync(join(lower.path, 'gone'), '')
    for (const each of ['new', 'old']) await setXattr(at(each), 'trusted.overlay.opaque', 'y')
    run('chown', '-R', '1400000:1400007', upper.path)
    run('chown', '1400000:1400000', upper.path)
    await setXattr(at('f'), 'security.capability', capabilityValue(1_400_000))
    run('mknod', at('gone'), 'c', '0', '0')
    const { path } = await layer(join(work.path, 'a.tar'), { upper: upper.path, lowers: [lower.path], ids: RANGE })
    expect(entriesOf(path).map(each => each.replace(/ \d+$/, ''))).toEqual([
      'file f 0:7',
      'file .wh.gone 0:0',
      'directory new/ 0:7',
      'directory old/ 0:7',
      'file old/.wh..wh..opq 0:0',
    ])
    const bytes = run('cat', path)
    expect(bytes.includes(Buffer.concat([Buffer.from('SCHILY.xattr.security.capability='), capabilityValue()]))).toBe(
      true,
    )
    expect(bytes.includes(aclValue(42, 43))).toBe(true)
  })

  rootTest(
    'gives the same bytes for the same upper, with times clamped to SOURCE_DATE_EPOCH',
    async () => {
      using upper = new TemporaryDirectory()
      using work = new TemporaryDirectory()
      await fill(upper.path)
      const input = { upper: upper.path, latestSeconds: 1_000_000, compression: 'gzip' } as const
      const first = await layer(join(work.path, 'a.gz'), input)
      run('find', upper.path, '-name', 'd*', '-exec', 'touch', '-h', '{}', '+')
      const second = await layer(join(work.path, 'b.gz'), input)
      expect(second.diffId).toBe(first.diffId)
      expect(run('sha256sum', '-b', second.path).toString().slice(0, 64)).toBe(
        run('sha256sum', '-b', first.path).toString().slice(0, 64),
      )
      const archive = gunzipSync(run('cat', first.path))
      expect(`sha256:${createHash('sha256').update(archive).digest('hex')}`).toBe(first.diffId)
    },
    60_000,
  )

  rootTest('gives the same archive with gzip, with zstd and with none, as their programs unpack it', async () => {
    using upper = new TemporaryDirectory()
    using work = new TemporaryDirectory()
    run('cp', '-r', join(import.meta.dir, '..'), upper.path)
    for (const [compression, program] of [
      ['gzip', 'gzip'],
      ['zstd', 'zstd'],
    ] as const) {
      const { path, diffId } = await layer(join(work.path, compression), { upper: upper.path, compression })
      const archive = Bun.which(program) === null ? null : run(program, '-dc', path)
      if (archive !== null) expect(`sha256:${createHash('sha256').update(archive).digest('hex')}`).toBe(diffId)
    }
  })

  rootTest('refuses what no layer can say, and names it', async () => {
    using work = new TemporaryDirectory()
    const cases: readonly [make: (upper: string) => void | Promise<void>, message: RegExp][] = [
      [upper => writeFileSync(join(upper, '.wh.x'), ''), /"\.wh\.x" into a layer/],
      [
        upper => mkdirSync(join(upper, 'host')),
        /"host": it belongs to user 0 of the host, expected .* 1400000 to 1465535/,
      ],
      [
        async upper => {
          mkdirSync(join(upper, 'r'))
          await setXattr(join(upper, 'r'), 'trusted.overlay.redirect', '/x')
          run('chown', '1400000:1400000', join(upper, 'r'))
        },
        /"r" into a layer: it is a renamed directory/,
      ],
    ]
    for (const [make, message] of cases) {
      using upper = new TemporaryDirectory()
      run('chown', '1400000:1400000', upper.path)
      await make(upper.path)
      await expect(layer(join(work.path, 'x'), { upper: upper.path, ids: RANGE })).rejects.toThrow(message)
    }
  })

  rootTest('leaves out what was put there for the container, until it is changed', async () => {
    using upper = new TemporaryDirectory()
    using work = new TemporaryDirectory()
    const at = (name: string): string => join(upper.path, name)
    chmodSync(upper.path, 0o755)
    for (const each of ['etc', 'home', 'root', 'proc']) mkdirSync(at(each), { mode: 0o755 })
    run('mknod', at('etc/shadow'), 'c', '0', '0')
    writeFileSync(at('root/own'), '')
    const veil: readonly VeilPath[] = [
      { kind: 'parent', path: '/etc', mode: 0o755 },
      { kind: 'hidden', path: '/etc/shadow', mode: 0 },
      { kind: 'empty', path: '/home', mode: 0o755 },
      { kind: 'empty', path: '/root', mode: 0o755 },
      { kind: 'mount', path: '/proc', mode: 0 },
    ]
    const input = { upper: upper.path, veil }
    expect(names((await layer(join(work.path, 'a'), input)).path)).toEqual(['root/', 'root/own'])
    chmodSync(at('home'), 0o700)
    expect(names((await layer(join(work.path, 'a'), input)).path)).toEqual(['home/', 'root/', 'root/own'])
    const changes = await readChanges({ upper: upper.path, lowers: ['/'], ids: null, veil })
    expect(changes.filter(each => each.path !== '/root')).toEqual([
      { kind: 'changed', path: '/home' },
      { kind: 'added', path: '/root/own' },
    ])
  })
})

describe('readChanges()', () => {
  rootTest('tells added, changed and deleted from each other through several layers', async () => {
    using base = new TemporaryDirectory()
    const [upper, top, bottom] = ['upper', 'top', 'bottom'].map(each => join(base.path, each)) as [
      string,
      string,
      string,
    ]
    for (const each of [upper, top, bottom]) mkdirSync(join(each, 'd/sub'), { recursive: true })
    mkdirSync(join(upper, 'untouched'))
    mkdirSync(join(bottom, 'untouched'))
    writeFileSync(join(bottom, 'd/low'), '1')
    writeFileSync(join(bottom, 'd/hidden'), '1')
    run('mknod', join(top, 'd/hidden'), 'c', '0', '0')
    writeFileSync(join(top, 'd/sub/one'), '1')
    writeFileSync(join(top, 'd/sub/two'), '1')
    writeFileSync(join(upper, 'd/low'), 'longer')
    // Deleted in a lower layer already: it is new.
    writeFileSync(join(upper, 'd/hidden'), '1')
    writeFileSync(join(upper, 'd/sub/two'), 'other')
    await setXattr(join(upper, 'd/sub'), 'trusted.overlay.opaque', 'y')
    run('cp', '-p', join(top, 'd/sub/one'), join(bottom, 'same'))
    run('cp', '-p', join(top, 'd/sub/one'), join(upper, 'same'))
    const changes = await readChanges({ upper, lowers: [top, bottom], ids: null, veil: [] })
    expect(changes).toEqual<Change[]>([
      { kind: 'changed', path: '/d' },
      { kind: 'added', path: '/d/hidden' },
      { kind: 'changed', path: '/d/low' },
      { kind: 'changed', path: '/d/sub' },
      { kind: 'deleted', path: '/d/sub/one' },
      { kind: 'changed', path: '/d/sub/two' },
    ])
  })
})
