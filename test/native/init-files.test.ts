import { afterAll, beforeAll, beforeEach, describe, expect } from 'bun:test'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Step } from '../../src/plan/step.ts'
import { testIf } from '../support/requirement.ts'
import { AVAILABLE, BUILDS, make, plan, run, s, slot } from './init-driver.ts'

const ENOENT = 2
const EEXIST = 17
const EXDEV = 18
const ENODEV = 19
const ENOTDIR = 20
const EINVAL = 22
const EFBIG = 27
const ELOOP = 40
const EOPNOTSUPP = 95
const O_PATH = 0o10000000
const S_IFCHR = 0o20000
const S_IFIFO = 0o10000
const S_IFDIR = 0o40000
const PROC_SUPER_MAGIC = 0x9fa0
const TIME_LIMIT_MS = 120_000
const scratch = mkdtempSync(join(tmpdir(), 'berth-files-'))
const outside = join(scratch, 'outside')
const root = join(scratch, 'root')
const rootTest = testIf('root')

const ROOT = slot(0)
const OUT = slot(1)
const inRoot = (...steps: Step[]) =>
  plan({ host: [s('open', { path: root, flags: O_PATH, mode: 0, out: ROOT }), ...steps] })
const mkdirs = (path: string, mode = 0o750): Step => s('mkdirs', { root: ROOT, path, mode, out: OUT })
const mkfile = (path: string, mode = 0o640): Step => s('mkfile', { root: ROOT, path, mode, out: OUT })
const mode = (path: string): number => lstatSync(join(root, path)).mode & 0o7777

afterAll(() => rmSync(scratch, { recursive: true }))
beforeAll(() => Object.values(BUILDS).forEach(make), TIME_LIMIT_MS)
beforeEach(() => {
  rmSync(root, { recursive: true, force: true })
  rmSync(outside, { recursive: true, force: true })
  mkdirSync(root)
  mkdirSync(outside)
})

for (const build of AVAILABLE) {
  /** Runs steps after ROOT was opened; the errno of what failed, or 0. */
  async function outcome(...steps: Step[]): Promise<number> {
    const { records, stderr } = await run(build, inRoot(...steps))
    expect(stderr).toBe('')
    const last = records.at(-1)
    return last?.kind === 'fail' ? last.errno : 0
  }

  describe(`creation below a root (${build})`, () => {
    rootTest('mkdirs() makes what is missing with the exact mode and gives the directory', async () => {
      mkdirSync(join(root, 'a'), 0o700)
      const write = s('create_file', { dir: OUT, path: 'f', mode: 0o604, data: 'x' })
      expect(await outcome(mkdirs('/a/b//c/', 0o1777), write)).toBe(0)
      expect([mode('a'), mode('a/b'), mode('a/b/c'), mode('a/b/c/f')]).toEqual([0o700, 0o1777, 0o1777, 0o604])
      expect(await outcome(mkdirs(''), mkdirs('/'), mkdirs('a/b/../b/./new'))).toBe(0)
      expect(existsSync(join(root, 'a/b/new'))).toBe(true)
    })

    rootTest('links and .. never lead out of the root', async () => {
      symlinkSync(outside, join(root, 'absolute'))
      symlinkSync('../../outside', join(root, 'relative'))
      symlinkSync('loop', join(root, 'loop'))
      const paths = ['absolute/x', 'relative/y', '../../../z', 'absolute/../../w']
      expect(await outcome(...paths.map(path => mkdirs(path)))).toBe(0)
      expect(await outcome(mkfile('absolute/file'), mkfile('../../up/file'))).toBe(0)
      expect(readdirSync(outside)).toEqual([])
      expect(existsSync(join(root, outside, 'x'))).toBe(true)
      expect(readdirSync(join(root, 'outside'))).toEqual(['y'])
      expect(readdirSync(root)).toContain('z')
      expect(await outcome(mkdirs('loop/x'))).toBe(ELOOP)
    })

    rootTest('a dangling link gets its target made inside the root', async () => {
      symlinkSync('../run/lock', join(root, 'lock'))
      symlinkSync('/etc/real', join(root, 'conf'))
      expect(await outcome(mkdirs('lock/deep'), mkfile('conf'))).toBe(0)
      expect(lstatSync(join(root, 'run/lock/deep')).isDirectory()).toBe(true)
      expect(lstatSync(join(root, 'etc/real')).isFile()).toBe(true)
    })

    rootTest('a file in the way is ENOTDIR, too many components ELOOP', async () => {
      writeFileSync(join(root, 'f'), '')
      expect(await outcome(mkdirs('f/x'))).toBe(ENOTDIR)
      expect(await outcome(mkdirs('f'))).toBe(ENOTDIR)
      expect(await outcome(mkdirs('d/'.repeat(300)))).toBe(ELOOP)
    })

    rootTest('mkfile() keeps a file that exists', async () => {
      writeFileSync(join(root, 'f'), 'content')
      expect(await outcome(mkfile('f'), mkfile('new/f'), mkfile('new/f'))).toBe(0)
      expect(readFileSync(join(root, 'f'), 'utf8')).toBe('content')
      expect(mode('new/f')).toBe(0o640)
    })

    rootTest('mknod() makes a device once, with owner and mode, and refuses another in its place', async () => {
      const nod = (path: string, minor: number, type = S_IFCHR): Step =>
        s('mknod', { root: ROOT, path, type, mode: 0o666, major: 1, minor, uid: 12, gid: 34 })
      expect(await outcome(nod('dev/null', 3), nod('dev/null', 3), nod('p', 0, S_IFIFO), nod('r', 0, 0))).toBe(0)
      const stat = lstatSync(join(root, 'dev/null'))
      expect([stat.rdev, stat.uid, stat.gid, stat.mode]).toEqual([0x103, 12, 34, S_IFCHR | 0o666])
      expect(await outcome(nod('dev/null', 5))).toBe(EEXIST)
      for (const path of ['', '.', '..', 'x/..', 'x/']) expect(await outcome(nod(path, 3))).toBe(EINVAL)
    })

    rootTest('symlink() is done when the same link is there', async () => {
      const link = (target: string): Step => s('symlink', { target, root: ROOT, path: 'dev/fd' })
      expect(await outcome(link('/proc/self/fd'), link('/proc/self/fd'))).toBe(0)
      expect(await outcome(link('/proc/self'))).toBe(EEXIST)
      expect(readlinkSync(join(root, 'dev/fd'))).toBe('/proc/self/fd')
    })
  })

  describe(`files (${build})`, () => {
    rootTest('write() follows no link and read() none out of the root', async () => {
      writeFileSync(join(root, 'f'), '')
      writeFileSync(join(outside, 'secret'), 'secret')
      symlinkSync(join(outside, 'secret'), join(root, 'link'))
      expect(await outcome(s('write', { dir: ROOT, path: 'f', data: 'text' }))).toBe(0)
      expect(readFileSync(join(root, 'f'), 'utf8')).toBe('text')
      expect(await outcome(s('write', { dir: ROOT, path: 'link', data: 'text' }))).toBe(ELOOP)
      expect(await outcome(s('read', { dir: ROOT, path: 'link', limit: 100 }))).toBe(ENOENT)
    })

    rootTest('read() sends up to its limit and refuses more, and what is no file', async () => {
      const big = 'x'.repeat(150_000)
      writeFileSync(join(root, 'big'), big)
      writeFileSync(join(root, 'empty'), '')
      const read = (path: string, limit: number) => s('read', { dir: ROOT, path, limit })
      const { records } = await run(build, inRoot(read('big', big.length), read('empty', 0)))
      const data = records.flatMap(record => (record.kind === 'data' ? [Buffer.from(record.bytes).toString()] : []))
      expect(data.join('')).toBe(big)
      expect(data.at(-1)).toBe('')
      expect(await outcome(read('big', big.length - 1))).toBe(EFBIG)
      expect(
        await outcome(
          s('mknod', { root: ROOT, path: 'p', type: S_IFIFO, mode: 0o600, major: 0, minor: 0, uid: 0, gid: 0 }),
          read('p', 9),
        ),
      ).toBe(EINVAL)
    })

    rootTest('write_checked() refuses another filesystem than the one expected', async () => {
      writeFileSync(join(root, 'comm'), '')
      const direct = (dir: typeof OUT, magic: number) => s('write_checked', { dir, path: 'comm', magic, data: 'x' })
      const self = s('open', { path: '/proc/self', flags: O_PATH, mode: 0, out: OUT })
      expect(await outcome(self, direct(OUT, PROC_SUPER_MAGIC))).toBe(0)
      expect(await outcome(direct(ROOT, PROC_SUPER_MAGIC))).toBe(EXDEV)
      expect(readFileSync(join(root, 'comm'), 'utf8')).toBe('')
    })

    rootTest('create_file() leaves nothing when it fails, and touches nothing that exists', async () => {
      const create = (path: string) => s('create_file', { dir: ROOT, path, mode: 0o600, data: 'x' })
      expect(await outcome(create('f'), create('f'))).toBe(EEXIST)
      symlinkSync(join(outside, 'x'), join(root, 'l'))
      expect(await outcome(create('l'))).toBe(EEXIST)
      expect(readdirSync(outside)).toEqual([])
    })

    rootTest('chmod(), chown() and setxattr() act on the link or the fd itself', async () => {
      writeFileSync(join(root, 'f'), '')
      writeFileSync(join(outside, 'f'), '')
      chmodSync(join(outside, 'f'), 0o600)
      symlinkSync(join(outside, 'f'), join(root, 'l'))
      expect(
        await outcome(
          s('chmod', { fd: ROOT, path: 'f', mode: 0o4711 }),
          s('chmod', { fd: ROOT, path: '', mode: 0o701 }),
          s('chown', { fd: ROOT, path: 'l', uid: 7, gid: 8 }),
          s('setxattr', { dir: ROOT, path: 'f', name: 'user.x', value: 'y' }),
        ),
      ).toBe(0)
      expect([mode('f'), mode('.'), lstatSync(join(root, 'l')).uid]).toEqual([0o4711, 0o701, 7])
      expect(await outcome(s('chmod', { fd: ROOT, path: 'l', mode: 0o777 }))).toBe(EOPNOTSUPP)
      expect([statSync(join(outside, 'f')).mode & 0o777, statSync(join(outside, 'f')).uid]).toEqual([0o600, 0])
    })

    rootTest('check_type() and check_fs() tell what an fd is', async () => {
      const nul = s('open', { path: '/dev/null', flags: O_PATH, mode: 0, out: OUT })
      const type = (fd: typeof OUT, wanted: number, major: number, minor: number) =>
        s('check_type', { fd, type: wanted, major, minor })
      expect(await outcome(nul, type(OUT, S_IFCHR, 1, 3), type(OUT, S_IFCHR, -1, 0), type(ROOT, S_IFDIR, -1, 0))).toBe(
        0,
      )
      expect(await outcome(nul, type(OUT, S_IFCHR, 1, 5))).toBe(ENODEV)
      expect(await outcome(nul, type(OUT, S_IFDIR, -1, 0))).toBe(ENOTDIR)
      expect(await outcome(s('check_fs', { fd: ROOT, magic: PROC_SUPER_MAGIC }))).toBe(EXDEV)
    })

    rootTest(
      'copy_tree() copies content, kinds, owners, modes, times and attributes, and follows nothing',
      async () => {
        mkdirSync(join(root, 'from/d'), { recursive: true })
        mkdirSync(join(root, 'to'))
        writeFileSync(join(root, 'from/d/f'), 'x'.repeat(100_000))
        symlinkSync(outside, join(root, 'from/l'))
        chmodSync(join(root, 'from/d'), 0o1750)
        utimesSync(join(root, 'from/d/f'), 1, 2)
        const at = (path: string, out: typeof OUT): Step =>
          s('open', { path: join(root, path), flags: 0, mode: 0, out })
        const prepare = [
          s('mknod', { root: ROOT, path: 'from/p', type: S_IFIFO, mode: 0o622, major: 0, minor: 0, uid: 3, gid: 4 }),
          s('chown', { fd: ROOT, path: 'from/d/f', uid: 5, gid: 6 }),
          s('chmod', { fd: ROOT, path: 'from/d/f', mode: 0o6755 }),
          s('setxattr', { dir: ROOT, path: 'from/d/f', name: 'user.a', value: 'b' }),
        ]
        const copy = s('copy_tree', { from: slot(2), to: slot(3) })
        expect(await outcome(...prepare, at('from', slot(2)), at('to', slot(3)), copy)).toBe(0)
        const file = statSync(join(root, 'to/d/f'))
        expect([file.size, file.uid, file.gid, file.mode & 0o7777, file.mtimeMs]).toEqual([100_000, 5, 6, 0o6755, 2000])
        expect([mode('to/d'), readlinkSync(join(root, 'to/l')), lstatSync(join(root, 'to/p')).isFIFO()]).toEqual([
          0o1750,
          outside,
          true,
        ])
        expect(await outcome(at('from', slot(2)), at('to', slot(3)), copy)).toBe(EEXIST)
      },
    )
  })

  describe(`home (${build})`, () => {
    const execve = s('execve', { paths: ['/usr/bin/env'], argv: ['env'], env: ['A=b'] })
    const home = async (passwd: string | null, uid: number): Promise<string> => {
      mkdirSync(join(root, 'etc'), { recursive: true })
      if (passwd !== null) writeFileSync(join(root, 'etc/passwd'), passwd)
      const steps = [s('dup2', { fd: { index: 1, name: 'stdout' }, target: 1 }), execve]
      return (await run(build, inRoot(s('home', { root: ROOT, path: 'etc/passwd', uid }), ...steps))).stdout
    }

    rootTest('adds the home of the uid, and / when there is none', async () => {
      const passwd = `root:x:0:0:r:/root:/bin/sh\n${'filler:x:9:9::/:\n'.repeat(9000)}u:x:1000:1::/home/u:\nv:x:1000:1::/v:\nw:x:4294967296:0::/w:\nlast:x:77:7::/last`
      const cases: [string | null, number, string][] = [
        [passwd, 0, '/root'],
        [passwd, 1000, '/home/u'],
        [passwd, 77, '/last'],
        [passwd, 5, '/'],
        [null, 0, '/'],
        ['x'.repeat(200_000), 0, '/'],
        ['a:x:0\nb:x::0:::\n:::::\n', 0, '/'],
      ]
      for (const [content, uid, expected] of cases) {
        rmSync(join(root, 'etc'), { recursive: true, force: true })
        expect(await home(content, uid)).toBe(`A=b\nHOME=${expected}\n`)
      }
    })
  })
}
