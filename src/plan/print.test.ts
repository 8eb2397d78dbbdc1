import { describe, expect, test } from 'bun:test'
import { kindsOf, OP_NAMES, stepOf } from '../../test/support/plan-steps.ts'
import { EACCES, ENOENT } from '../lib/errno.ts'
import { CAPABILITIES, capabilityMask } from '../linux/capabilities.ts'
import { PROC_SUPER_MAGIC } from '../linux/fs-magic.ts'
import {
  MNT_DETACH,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOSUID,
  MS_NODEV,
  MS_REC,
  MS_SLAVE,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from '../linux/mount-flags.ts'
import { CLONE_NEWPID, CLONE_NEWUSER } from '../linux/namespaces.ts'
import {
  AT_EMPTY_PATH,
  AT_RECURSIVE,
  AT_REMOVEDIR,
  O_CREAT,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  S_IFCHR,
  S_IFDIR,
} from '../linux/open-flags.ts'
import { PR_SET_NO_NEW_PRIVS } from '../linux/prctl.ts'
import { RLIM_INFINITY } from '../linux/rlimits.ts'
import { type ArgKind, WIRE } from './ops.ts'
import { printPlan, printStep } from './print.ts'
import { hostPlan, step } from './step.ts'

const root = { index: 3, name: 'root' }
const proc = { index: 4, name: 'proc of the host' }

/** Each kind of argument: a value, and how it prints. */
const SAMPLES: readonly (readonly [ArgKind, unknown, string])[] = [
  ['int', -1, '-1'],
  ['octal', 0o755, '0755'],
  ['octal', 0, '0'],
  ['hex', 0xff, '0xff'],
  ['hex', -1n, '0xffffffffffffffff'],
  ['pid', 0, 'self'],
  ['pid', -1, 'child'],
  ['pid', 42, '42'],
  ['signal', 15, 'SIGTERM'],
  ['openFlags', O_RDONLY, 'O_RDONLY'],
  ['openFlags', O_RDWR, 'O_RDWR'],
  ['openFlags', O_WRONLY | O_CREAT, 'O_WRONLY|O_CREAT'],
  ['openFlags', O_PATH | O_DIRECTORY, 'O_DIRECTORY|O_PATH'],
  ['resolveFlags', RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, 'RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT'],
  ['resolveFlags', 0, '0'],
  [
    'openTreeFlags',
    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE,
    'OPEN_TREE_CLONE|AT_RECURSIVE|OPEN_TREE_CLOEXEC',
  ],
  ['attrFlags', MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 'MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV'],
  ['moveMountFlags', 0x44, 'MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH'],
  ['atFlags', AT_EMPTY_PATH | AT_RECURSIVE, 'AT_EMPTY_PATH|AT_RECURSIVE'],
  ['atFlags', AT_REMOVEDIR, 'AT_REMOVEDIR'],
  ['propagation', MS_SLAVE | MS_REC, 'MS_REC|MS_SLAVE'],
  ['mountFlags', MS_NODEV, 'MS_NODEV'],
  ['mountFlags', 0, '0'],
  ['umountFlags', MNT_DETACH, 'MNT_DETACH'],
  ['cloneFlags', CLONE_NEWUSER | CLONE_NEWPID, 'CLONE_NEWUSER|CLONE_NEWPID'],
  ['capMask', 0n, '0'],
  ['capMask', capabilityMask(['CAP_CHOWN', 'CAP_KILL']), 'CAP_CHOWN|CAP_KILL'],
  ['capMask', capabilityMask(CAPABILITIES), 'all capabilities'],
  ['capMask', capabilityMask(CAPABILITIES.filter(name => name !== 'CAP_BPF')), 'all but CAP_BPF'],
  ['rlimit', 7, 'RLIMIT_NOFILE'],
  ['rlimit', 99, '99'],
  ['limit', 1024n, '1024'],
  ['limit', RLIM_INFINITY, 'RLIM_INFINITY'],
  ['limit', -1, 'RLIM_INFINITY'],
  ['fsMagic', PROC_SUPER_MAGIC, 'proc'],
  ['fileType', S_IFCHR, 'S_IFCHR'],
  ['fileType', S_IFDIR, 'S_IFDIR'],
  ['prctlOption', PR_SET_NO_NEW_PRIVS, 'PR_SET_NO_NEW_PRIVS'],
  ['prctlOption', 9999, '9999'],
  ['seccompFlags', 2, '0x2'],
  ['text', 'a "b"\n', '"a \\"b\\"\\n"'],
  ['path', '/etc', '"/etc"'],
  ['bytes', '0 100000 65536\n', '"0 100000 65536\\n"'],
  ['bytes', new Uint8Array(48), '<48 bytes>'],
  ['bpf', new Uint8Array(48), '<6 instructions>'],
  ['ids', [4, 27], '[4 27]'],
  ['ids', [], '[]'],
  ['slots', [root, proc], '[@root @proc of the host]'],
  ['joins', [{ slot: root, type: CLONE_NEWUSER }], '[@root]'],
  ['texts', ['sh', '-c', ''], '["sh", "-c", ""]'],
  ['fd', root, '@root'],
  ['out', root, '@root'],
]

/** The first operation with an argument of this kind, all others being zero or nothing. */
function stepWith(kind: ArgKind, value: unknown) {
  const op = OP_NAMES.find(name => Object.values(kindsOf(name)).includes(kind))
  if (op === undefined) throw new Error(`no operation has an argument of the kind ${kind}`)
  const kinds = Object.entries(kindsOf(op))
  const place = kinds.findIndex(([, each]) => each === kind)
  const args = Object.fromEntries(kinds.map(([name, each], index) => [name, index === place ? value : plain(each)]))
  return stepOf(op, args, { why: 'test' })
}

function plain(kind: ArgKind): unknown {
  const special: Partial<Record<ArgKind, unknown>> = { ids: [], slots: [], joins: [], bpf: new Uint8Array() }
  return special[kind] ?? { i: 0, s: '', b: '', l: [], f: null, o: null }[WIRE[kind]]
}

describe('printStep()', () => {
  test.each(SAMPLES)('prints an argument of the kind %s', (kind, value, expected) => {
    const text = printStep(stepWith(kind, value))
    if (kind === 'out') expect(text).toEndWith(` = ${expected}`)
    else expect(text).toMatch(new RegExp(`[(,] ?${RegExp.escape(expected)}[,)]`))
  })

  test('knows every kind of argument', () => {
    expect(Object.keys(WIRE).filter(kind => !SAMPLES.some(([sample]) => sample === kind))).toEqual([])
  })

  test.each(OP_NAMES)('prints %s with as many arguments as it takes', op => {
    const kinds = Object.entries(kindsOf(op))
    const text = printStep(
      stepOf(op, Object.fromEntries(kinds.map(([name, kind]) => [name, plain(kind)])), { why: '' }),
    )
    expect(text).toStartWith(`${op}(`)
    expect(text).not.toMatch(/undefined|NaN|\[object/)
    const given = kinds.filter(([, kind]) => kind !== 'out').length
    expect(
      text
        .slice(op.length + 1, -1)
        .split(', ')
        .filter(part => part !== ''),
    ).toHaveLength(given)
  })

  test('prints what a step opens as its result, and nothing when it is not kept', () => {
    const pipe = step('pipe', { reader: root, writer: proc }, '')
    expect(printStep(pipe)).toBe('pipe() = @root, @proc of the host')
    expect(printStep(step('mkdirs', { root, path: '/srv', mode: 0o755, out: null }, ''))).toBe(
      'mkdirs(@root, "/srv", 0755)',
    )
  })

  test('says AT_FDCWD for no fd before a path, and none where there is just no fd', () => {
    expect(printStep(step('chmod', { fd: null, path: '/x', mode: 0 }, ''))).toBe('chmod(AT_FDCWD, "/x", 0)')
    expect(printStep(step('write', { dir: null, path: '/x', data: '' }, ''))).toBe('write(AT_FDCWD, "/x", "")')
    expect(printStep(step('clone', { flags: 0, cgroup: null, joins: [], pidfd: null }, ''))).toBe('clone(0, none, [])')
    const attr = { fd: null, path: '/', flags: 0, set: 0, clear: 0, propagation: MS_SLAVE, userns: null }
    expect(printStep(step('mount_setattr', attr, ''))).toBe('mount_setattr(AT_FDCWD, "/", 0, 0, 0, MS_SLAVE, none)')
  })

  test('spells bits that have no name as a number', () => {
    expect(printStep(step('unshare', { flags: CLONE_NEWPID | 0x1 }, ''))).toBe('unshare(0x1|CLONE_NEWPID)')
  })

  test('clips long texts', () => {
    const path = 'x'.repeat(1000)
    const text = printStep(step('chdir', { path }, ''))
    expect(text).toBe(`chdir("${path.slice(0, 159)}…)`)
  })
})

describe('printPlan()', () => {
  test('prints each stage that has steps, with numbers, reasons and flow', () => {
    const plan = hostPlan(
      [
        step('sigreset', {}, 'why not'),
        step('chdir', { path: '/a' }, { why: 'try', tolerate: [ENOENT, EACCES], skipOnFailure: 2 }),
        step('chdir', { path: '/b' }, { why: 'go on', tolerate: 'all' }),
        step('chdir', { path: '/c' }, { why: 'this, else that', tolerate: [ENOENT], skipOnSuccess: 1 }),
      ],
      3,
    )
    const undo = [step('unlink', { dir: null, path: '/a', flags: AT_REMOVEDIR }, 'clean up')]
    expect(printPlan({ ...plan, undo })).toMatchInlineSnapshot(`
      "--- host ---
        0  sigreset()  # why not
        1  chdir("/a") [ENOENT|EACCES: skip 2]  # try
        2  chdir("/b") [any error: go on]  # go on
        3  chdir("/c") [ENOENT: go on] [ok: skip 1]  # this, else that
      --- undo ---
        0  unlink(AT_FDCWD, "/a", AT_REMOVEDIR)  # clean up
      "
    `)
  })
})
