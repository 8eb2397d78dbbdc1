import { afterAll, beforeAll, describe, expect } from 'bun:test'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Slot } from '../../src/plan/slots.ts'
import type { Step } from '../../src/plan/step.ts'
import { testIf } from '../support/requirement.ts'
import { AVAILABLE, BUILDS, container, make, run, s, slot } from './init-driver.ts'

const EINVAL = 22
const EBADF = 9
const ENODEV = 19
const O_PATH = 0o10000000
const AT_EMPTY_PATH = 0x1000
const AT_RECURSIVE = 0x8000
const OPEN_TREE_CLONE = 1
const MOUNT_ATTR_RDONLY = 1
const MOUNT_ATTR_IDMAP = 0x100000
const MNT_DETACH = 2
const MS_BIND = 4096
const TIME_LIMIT_MS = 120_000
const scratch = mkdtempSync(join(tmpdir(), 'berth-mounts-'))
const rootTest = testIf('root')
const overlayTest = testIf('root', 'overlay')

afterAll(() => rmSync(scratch, { recursive: true }))
beforeAll(() => {
  Object.values(BUILDS).forEach(make)
  for (const name of ['lower1', 'lower2', 'upper', 'work', 'root', 'tree/d'])
    mkdirSync(join(scratch, name), { recursive: true })
  writeFileSync(join(scratch, 'lower1/top'), 'lower1')
  writeFileSync(join(scratch, 'lower2/top'), 'lower2')
  writeFileSync(join(scratch, 'lower2/bottom'), 'lower2')
  writeFileSync(join(scratch, 'tree/d/f'), 'content')
  writeFileSync(join(scratch, 'tree/f'), 'content')
}, TIME_LIMIT_MS)

const open = (path: string, out: Slot): Step => s('open', { path: join(scratch, path), flags: O_PATH, mode: 0, out })
const attach = (from: Slot, path: string): Step =>
  s('move_mount', { from, to: null, path: join(scratch, path), flags: 0 })
const tmpfs = (out: Slot, options: string[] = []): Step =>
  s('mount_fs', { fstype: 'tmpfs', source: 'none', options, attrs: 0, out })

for (const build of AVAILABLE) {
  const inside = async (child: readonly Step[], script: string, host: readonly Step[] = []) => {
    const { stdout, stderr, records } = await run(build, container(child, script, { host }))
    expect(stderr).toBe('')
    expect(records.at(-1)).toEqual({ kind: 'exit', waitStatus: 0 })
    return stdout
  }
  const failing = async (child: readonly Step[]) => (await run(build, container(child, 'true'))).records.at(-1)

  describe(`mounts (${build})`, () => {
    rootTest('mount_fs() takes options and flags, and says what the kernel says', async () => {
      const child = [tmpfs(slot(0), ['size=8192', 'mode=0711']), attach(slot(0), 'root')]
      expect(await inside(child, `stat -c %a ${scratch}/root; df --output=size ${scratch}/root | tail -1`)).toMatch(
        /^711\n +8\n$/,
      )
      expect(await failing([tmpfs(slot(0), ['nonsense=1'])])).toMatchObject({
        errno: EINVAL,
        message: "tmpfs: Unknown parameter 'nonsense'",
      })
      expect(
        await failing([s('mount_fs', { fstype: 'nofs', source: '', options: [], attrs: 0, out: slot(0) })]),
      ).toMatchObject({ errno: ENODEV })
    })

    overlayTest('mount_overlay() stacks layers topmost first, in either form of the option', async () => {
      const host = [open('lower1', slot(0)), open('lower2', slot(1)), open('upper', slot(2)), open('work', slot(3))]
      for (const joined of [0, 1]) {
        const mount = s('mount_overlay', {
          joined,
          lowers: [slot(0), slot(1)],
          upper: slot(2),
          work: slot(3),
          options: [],
          attrs: 0,
          out: slot(4),
        })
        const script = `cd ${scratch}/root; cat top bottom; echo new >file${joined}`
        expect(await inside([attach(slot(4), 'root')], script, [...host, mount])).toBe('lower1lower2')
        expect(readFileSync(join(scratch, `upper/file${joined}`), 'utf8')).toBe('new\n')
      }
      const readonly = s('mount_overlay', {
        joined: 0,
        lowers: [slot(0), slot(1)],
        upper: null,
        work: null,
        options: [],
        attrs: 0,
        out: slot(4),
      })
      expect(
        await inside([attach(slot(4), 'root')], `cat ${scratch}/root/top; ! touch ${scratch}/root/x 2>/dev/null`, [
          ...host.slice(0, 2),
          readonly,
        ]),
      ).toBe('lower1')
      expect(await failing([{ ...readonly, args: { ...readonly.args, lowers: [slot(9)] } } as Step])).toMatchObject({
        errno: EBADF,
      })
    })

    rootTest('open_tree(), mount_setattr() and userns() make an idmapped, read-only view', async () => {
      const userns = s('userns', { uidMap: '0 1000 100\n', gidMap: '0 2000 100\n', out: slot(0) })
      const child = [
        open('tree', slot(1)),
        s('open_tree', { dir: slot(1), path: '', flags: OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH, out: slot(2) }),
        s('mount_setattr', {
          fd: slot(2),
          path: '',
          flags: AT_EMPTY_PATH,
          set: MOUNT_ATTR_RDONLY | MOUNT_ATTR_IDMAP,
          clear: 0,
          propagation: 0,
          userns: slot(0),
        }),
        attach(slot(2), 'root'),
      ]
      expect(
        await inside(child, `stat -c %u:%g ${scratch}/root/f; ! touch ${scratch}/root/x 2>/dev/null`, [userns]),
      ).toBe('1000:2000\n')
    })

    rootTest('mount() reaches its target by its fd, whatever is at /proc', async () => {
      const bind = (target: Slot, source: string): Step =>
        s('mount', { source: join(scratch, source), target, fstype: '', flags: MS_BIND, data: '' })
      const child = [
        open('root', slot(0)),
        open('tree/f', slot(1)),
        tmpfs(slot(2)),
        s('move_mount', { from: slot(2), to: null, path: '/proc', flags: 0 }),
        s('chdir', { path: '/etc' }),
        bind(slot(0), 'tree'),
        bind(slot(1), 'lower1/top'),
        s('umount', { path: '/proc', flags: MNT_DETACH }),
      ]
      expect(await inside(child, `pwd; cat ${scratch}/root/d/f ${scratch}/tree/f`)).toBe('/etc\ncontentlower1')
    })

    rootTest('mask() and readonly_path() cover what is there and keep links inside', async () => {
      const tree = [
        open('tree', slot(0)),
        tmpfs(slot(1)),
        s('open', { path: '/dev/null', flags: O_PATH, mode: 0, out: slot(3) }),
      ]
      const file = s('open_tree', { dir: slot(3), path: '', flags: OPEN_TREE_CLONE | AT_EMPTY_PATH, out: slot(2) })
      const mask = (path: string, options = {}): Step =>
        s('mask', { root: slot(0), path, directory: slot(1), file: slot(2) }, options)
      const child = [
        ...tree,
        file,
        mask('/d'),
        mask('f'),
        mask('absent', { tolerate: [2] }),
        mask('../tree/d', { tolerate: [2] }),
      ]
      expect(await inside(child, `cd ${scratch}/tree; ls d | wc -l; wc -c <f; stat -c %F f`)).toBe(
        '0\n0\ncharacter special file\n',
      )
      const readonly = [open('tree', slot(0)), s('readonly_path', { root: slot(0), path: 'd' })]
      expect(await inside(readonly, `cd ${scratch}/tree; cat d/f; ! touch d/x 2>/dev/null; touch y && rm y`)).toBe(
        'content',
      )
    })

    rootTest('pivot_root(), chroot() and check_cwd() know inside from outside', async () => {
      const enter = [
        s('open_tree', { dir: null, path: '/', flags: OPEN_TREE_CLONE | AT_RECURSIVE, out: slot(0) }),
        attach(slot(0), 'root'),
        s('open', { path: '/', flags: O_PATH, mode: 0, out: slot(1) }),
        s('chdir', { path: join(scratch, 'root') }),
        s('pivot_root', { newRoot: '.', putOld: '.' }),
        s('umount', { path: '.', flags: MNT_DETACH }),
      ]
      expect(await inside([...enter, s('chdir', { path: '/' }), s('check_cwd', {})], 'pwd; ls -d /etc')).toBe(
        '/\n/etc\n',
      )
      const message = 'the working directory is outside the root'
      expect(await failing([...enter, s('fchdir', { fd: slot(1) }), s('check_cwd', {})])).toMatchObject({
        errno: 2,
        message,
      })
      const chroot = [s('open', { path: '/', flags: O_PATH, mode: 0, out: slot(1) }), s('chroot', { path: scratch })]
      expect(await failing([...chroot, s('fchdir', { fd: slot(1) }), s('check_cwd', {})])).toMatchObject({
        errno: 2,
        message,
      })
    })

    rootTest('nothing of it is left on the host', () => {
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(scratch)
      expect(readdirSync(join(scratch, 'root'))).toEqual([])
    })
  })
}
