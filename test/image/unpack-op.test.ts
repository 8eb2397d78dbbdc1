/** The step `unpack` by itself: what it makes, and what it does with streams that TypeScript would never send. */
import { beforeAll, describe, expect, test } from 'bun:test'
import { lstatSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { EPROTO } from '../../src/lib/errno.ts'
import { O_DIRECTORY, O_PATH } from '../../src/linux/open-flags.ts'
import { encodePlan } from '../../src/plan/encode.ts'
import { EntryEncoder } from '../../src/snapshot/entry-encoder.ts'
import { BUILDS, type Build, make, type Outcome, plan, run as runInit, s, slot } from '../native/init-driver.ts'
import { testIf } from '../support/requirement.ts'
import { TemporaryDirectory, treeOf } from './tree.ts'

const rootTest = testIf('root')

/** Runs `unpack` on a directory with this stream behind the plan. */
async function unpack(build: Build, root: string, stream: Uint8Array): Promise<Outcome> {
  const open = s('open', { path: root, flags: O_PATH | O_DIRECTORY, mode: 0, out: slot(0) })
  const host = [open, s('unpack', { root: slot(0) })]
  return await runInit(build, Buffer.concat([encodePlan(plan({ host })), stream]))
}

function stream(add: (encoder: EntryEncoder) => void): Buffer {
  const encoder = new EntryEncoder()
  add(encoder)
  return Buffer.concat(encoder.take())
}

function failureOf({ records }: Outcome): { errno: number; message: string } | null {
  const last = records.at(-1)
  return last?.kind === 'fail' ? { errno: last.errno, message: last.message } : null
}

const whole = stream(encoder => {
  const mtime = { seconds: 1_000_000_000, nanoseconds: 123_456_789 }
  const xattrs = new Map([['user.a', 'b\0c']])
  encoder.entry('file', 'd/f', { mode: 0o4755, uid: 3_000_000, gid: 7, mtime, xattrs })
  encoder.chunk(0, Buffer.from('start'))
  encoder.chunk(1_000_000, Buffer.from('end'))
  encoder.endOfFile(2_000_000)
  encoder.entry('symlink', 'd/l', { target: '../../outside', mtime })
  encoder.entry('link', 'd/h', { target: 'd/f' })
  encoder.entry('whiteout', 'd/f', { mode: 0o020000 })
  encoder.entry('attributes', 'd', { mode: 0o1777, uid: 1, mtime })
  encoder.entry('attributes', 'gone', { mode: 0o777 })
  encoder.entry('end', '')
})

for (const build of Object.keys(BUILDS) as Build[]) {
  describe(`unpack (${build})`, () => {
    beforeAll(() => {
      make(BUILDS[build])
    })

    rootTest('makes what the entries say', async () => {
      using root = new TemporaryDirectory()
      expect((await unpack(build, root.path, whole)).records.at(-1)?.kind).toBe('done')
      const file = statSync(join(root.path, 'd/f'), { bigint: true })
      expect([file.mode & 0o7777n, file.uid, file.gid, file.size, file.nlink]).toEqual([
        0o4755n,
        3_000_000n,
        7n,
        2_000_000n,
        2n,
      ])
      expect(file.mtimeNs).toBe(1_000_000_000_123_456_789n)
      expect(Number(file.blocks) * 512).toBeLessThan(100_000)
      expect(readFileSync(join(root.path, 'd/f')).subarray(999_998, 1_000_005).toString()).toBe('\0\0end\0\0')
      expect(treeOf(root.path).filter(line => line.includes('user.a=620063'))).toHaveLength(1)
      expect(statSync(join(root.path, 'd')).mode & 0o7777).toBe(0o1777)
      expect(lstatSync(join(root.path, 'd/l')).isSymbolicLink()).toBe(true)
    })

    test.each<[string, Buffer, RegExp]>([
      ['an unknown kind', Buffer.from(whole).fill(99, 0, 1), /entry "d\/f"/],
      ['a path without its NUL', Buffer.from(whole).fill('x', 51, 52), /^$/],
      ['a tail of 4 GiB', Buffer.from(whole).fill(0xff, 40, 44), /^$/],
      ['bytes behind the end', Buffer.concat([whole, Buffer.from('x')]), /^$/],
      ['an attribute longer than its entry', Buffer.from(whole).fill(0xff, 53, 54), /entry "d\/f"/],
    ])('refuses %s', async (_, bytes, message) => {
      if (process.getuid?.() !== 0) return
      using root = new TemporaryDirectory()
      const failure = failureOf(await unpack(build, root.path, bytes))
      expect(failure?.errno).toBe(EPROTO)
      expect(failure?.message ?? '').toMatch(message)
    })

    rootTest('refuses a stream that ends early', async () => {
      using root = new TemporaryDirectory()
      // Not with the driver, which keeps fd 0 open.
      const cut = whole.subarray(0, 60)
      const open = s('open', { path: root.path, flags: O_PATH | O_DIRECTORY, mode: 0, out: slot(0) })
      const frame = encodePlan(plan({ host: [open, s('unpack', { root: slot(0) })] }))
      const child = Bun.spawn([make(BUILDS[build]), 'plan'], {
        stdin: Buffer.concat([frame, cut]),
        stdout: 'pipe',
        env: {},
      })
      expect(await child.exited).toBe(1)
    })

    rootTest(
      'survives any changed byte',
      async () => {
        using directory = new TemporaryDirectory()
        const change = fc.tuple(fc.integer({ min: 0, max: whole.length - 1 }), fc.integer({ min: 0, max: 255 }))
        let index = 0
        await fc.assert(
          fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async changes => {
            const changed = Buffer.from(whole)
            for (const [at, value] of changes) changed[at] = value
            const root = join(directory.path, `${index++}`)
            mkdirSync(root)
            const open = s('open', { path: root, flags: O_PATH | O_DIRECTORY, mode: 0, out: slot(0) })
            const frame = encodePlan(plan({ host: [open, s('unpack', { root: slot(0) })] }))
            const child = Bun.spawn([make(BUILDS[build]), 'plan'], {
              stdin: Buffer.concat([frame, changed]),
              stdout: 'ignore',
              env: {},
            })
            expect([0, 1]).toContain(await child.exited)
          }),
          { numRuns: 40 },
        )
      },
      60_000,
    )
  })
}
