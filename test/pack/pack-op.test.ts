/** The steps `pack` and `names` by themselves: what they say of a tree, and what a hostile one can make them do. */
import { beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, linkSync, mkdirSync, renameSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { ENAMETOOLONG } from '../../src/lib/errno.ts'
import { O_DIRECTORY, O_PATH } from '../../src/linux/open-flags.ts'
import type { TreeEntry } from '../../src/snapshot/tree-entry.ts'
import { type TreeHandler, TreeReader } from '../../src/snapshot/tree-reader.ts'
import { run as shell, TemporaryDirectory } from '../image/tree.ts'
import { BUILDS, type Build, make, type Outcome, plan, run as runInit, s, slot } from '../native/init-driver.ts'
import { testIf } from '../support/requirement.ts'
import { setXattr } from '../support/xattr.ts'

const rootTest = testIf('root')

interface Told extends TreeEntry {
  content: string
  hasChanged: boolean
}

class Collector implements TreeHandler {
  readonly isFull = false
  readonly told: Told[] = []
  entry(entry: TreeEntry): void {
    this.told.push({ ...entry, content: '', hasChanged: false })
  }
  segment(): void {}
  data(bytes: Uint8Array): void {
    const last = this.told.at(-1)
    if (last !== undefined) last.content += Buffer.from(bytes).toString('latin1')
  }
  missing(bytes: number): void {
    const last = this.told.at(-1)
    if (last !== undefined) last.content += `(${bytes} missing)`
  }
  end(hasChanged: boolean): void {
    const last = this.told.at(-1)
    if (last !== undefined) last.hasChanged = hasChanged
  }
}

async function pack(build: Build, root: string, lower: string | null, content = 1): Promise<Outcome> {
  const open = (path: string, n: number) => s('open', { path, flags: O_PATH | O_DIRECTORY, mode: 0, out: slot(n) })
  const host = [
    open(root, 0),
    ...(lower === null ? [] : [open(lower, 1)]),
    s('pack', { root: slot(0), lower: lower === null ? null : slot(1), content }),
  ]
  return await runInit(build, plan({ host }))
}

function dataOf({ records }: Outcome): Buffer {
  return Buffer.concat(records.flatMap(record => (record.kind === 'data' ? [record.bytes] : [])))
}

function toldOf(outcome: Outcome): readonly Told[] {
  const collector = new Collector()
  const reader = new TreeReader(collector)
  expect(outcome.records.at(-1)?.kind).toBe('done')
  const bytes = dataOf(outcome)
  expect(reader.push(bytes)).toBe(bytes.length)
  expect(reader.isDone).toBe(true)
  return collector.told
}

describe('TreeReader', () => {
  test('survives any bytes: it reads them or throws a RangeError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), bytes => {
        // Small lengths, so that more than the header is reached.
        for (const at of [105, 106, 107, 109, 110, 111, 113, 114, 115, 117, 118, 119, 121, 122, 123])
          if (at < bytes.length) bytes[at] = 0
        try {
          new TreeReader(new Collector()).push(Buffer.from(bytes))
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError)
        }
      }),
    )
  })
})

for (const build of Object.keys(BUILDS) as Build[]) {
  describe(`pack (${build})`, () => {
    beforeAll(() => {
      make(BUILDS[build])
    })

    rootTest('tells all kinds of files, in the order of their bytes, with content and holes', async () => {
      using root = new TemporaryDirectory()
      const at = (name: string): string => join(root.path, name)
      mkdirSync(at('d'))
      writeFileSync(at('d/b'), 'hello')
      linkSync(at('d/b'), at('d/a'))
      writeFileSync(at('d.x'), '')
      symlinkSync('/etc/passwd', at('l'))
      shell('mkfifo', at('p'))
      shell('mknod', at('w'), 'c', '0', '0')
      writeFileSync(at('s'), 'start')
      truncateSync(at('s'), 1 << 20)
      const told = toldOf(await pack(build, root.path, null))
      expect(told.map(each => each.path)).toEqual(['', 'd', 'd/a', 'd/b', 'd.x', 'l', 'p', 's', 'w'])
      const [, , a, b, , l, , sparse] = told
      expect([a?.content, b?.content, a?.identity === b?.identity, a?.identity]).toEqual([
        'hello',
        'hello',
        true,
        expect.any(String),
      ])
      expect(l?.target).toBe('/etc/passwd')
      expect(sparse?.sizeBytes).toBe(1 << 20)
      expect(sparse?.segments?.reduce((sum, each) => sum + each.bytes, 0)).toBeLessThan(1 << 17)
      expect(sparse?.content.startsWith('start')).toBe(true)
    })

    rootTest('tells names of any bytes', async () => {
      using root = new TemporaryDirectory()
      const name = Buffer.concat([Buffer.from(`${root.path}/`), Buffer.from([0xff, 0x0a, 0x22])])
      writeFileSync(name, '')
      expect(toldOf(await pack(build, root.path, null))[1]?.path).toBe('\xff\n"')
    })

    rootTest('tells what a lower tree has under the same path, with attributes', async () => {
      using root = new TemporaryDirectory()
      using lower = new TemporaryDirectory()
      for (const each of [root.path, lower.path]) {
        mkdirSync(join(each, 'd'))
        writeFileSync(join(each, 'd/f'), each)
      }
      writeFileSync(join(root.path, 'new'), '')
      symlinkSync('/', join(lower.path, 'new2'))
      mkdirSync(join(root.path, 'new2'))
      writeFileSync(join(root.path, 'new2/etc'), '')
      await setXattr(join(lower.path, 'd/f'), 'user.x', 'y')
      chmodSync(join(lower.path, 'd'), 0o711)
      const told = toldOf(await pack(build, root.path, lower.path, 0))
      const found = new Map(told.map(each => [each.path, each.lower]))
      expect((found.get('d')?.mode ?? 0) & 0o777).toBe(0o711)
      expect(found.get('d/f')?.xattrs).toEqual(new Map([['user.x', 'y']]))
      expect(found.get('new')).toBeNull()
      // The lower tree's link is not followed.
      expect(found.get('new2/etc')).toBeNull()
      expect(told.every(each => each.segments === null && each.content === '')).toBe(true)
    })

    rootTest('opens neither pipes nor links nor devices', async () => {
      using root = new TemporaryDirectory()
      using outside = new TemporaryDirectory()
      writeFileSync(join(outside.path, 'secret'), 'SECRET')
      shell('mkfifo', join(root.path, 'pipe'))
      shell('mknod', join(root.path, 'null'), 'c', '1', '3')
      symlinkSync(outside.path, join(root.path, 'link'))
      symlinkSync(join(outside.path, 'secret'), join(root.path, 'link2'))
      const outcome = await pack(build, root.path, null)
      expect(toldOf(outcome).map(each => each.path)).toEqual(['', 'link', 'link2', 'null', 'pipe'])
      expect(dataOf(outcome).includes('SECRET')).toBe(false)
    })

    rootTest('crosses no mount', async () => {
      using root = new TemporaryDirectory()
      mkdirSync(join(root.path, 'm'))
      shell('mount', '-t', 'tmpfs', 'berth-test', join(root.path, 'm'))
      try {
        const { records } = await pack(build, root.path, null)
        expect(records.at(-1)).toMatchObject({ kind: 'fail', message: expect.stringContaining('entry "m"') })
      } finally {
        shell('umount', join(root.path, 'm'))
      }
    })

    rootTest('names the entry whose path is too long', async () => {
      using root = new TemporaryDirectory()
      // Deeper than a path can be long: two halves, put together.
      const half = Array.from({ length: 10 }, () => 'd'.repeat(250)).join('/')
      for (const each of ['a', 'b']) mkdirSync(join(root.path, each, half), { recursive: true })
      renameSync(join(root.path, 'b'), join(root.path, 'a', half, 'b'))
      const { records } = await pack(build, root.path, null)
      expect(records.at(-1)).toMatchObject({ kind: 'fail', errno: ENAMETOOLONG })
    })

    rootTest('names lists a directory, and follows no link to it', async () => {
      using root = new TemporaryDirectory()
      mkdirSync(join(root.path, 'd'))
      writeFileSync(join(root.path, 'd/a'), '')
      symlinkSync('d', join(root.path, 'l'))
      const names = async (path: string): Promise<Outcome> => {
        const open = s('open', { path: root.path, flags: O_PATH | O_DIRECTORY, mode: 0, out: slot(0) })
        const step = s('names', { root: slot(0), path: Buffer.from(path) })
        return await runInit(build, plan({ host: [open, step] }))
      }
      expect(dataOf(await names('d\0')).toString()).toBe('a\0')
      expect((await names('l\0')).records.at(-1)).toMatchObject({ kind: 'fail', errno: expect.any(Number) })
      expect((await names('d')).records.at(-1)).toMatchObject({ kind: 'fail' })
    })
  })
}
