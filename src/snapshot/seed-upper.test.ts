import { expect, test } from 'bun:test'
import { printPlan } from '../plan/print.ts'
import type { VeilEntry } from './root-source.ts'
import { type SeedPlace, seedPlan } from './seed-upper.ts'
import { VfsDriver } from './vfs-driver.ts'

const VEIL: readonly VeilEntry[] = [
  { kind: 'empty', path: '/root', mode: 0o700 },
  { kind: 'parent', path: '/etc', mode: 0o755 },
  { kind: 'hidden', path: '/etc/shadow', mode: 0 },
  { kind: 'parent', path: '/etc/ssl', mode: 0o755 },
  { kind: 'hidden', path: '/etc/ssl/private', mode: 0 },
]

/** What the plan does about the veil before the layer comes, and after it; calls and paths. */
function around(places: Readonly<Record<string, SeedPlace>>): readonly (readonly string[])[] {
  const seed = { path: '/l/root', veil: VEIL }
  const plan = seedPlan('/c', seed, new Map(Object.entries(places)), { start: 1_400_000, size: 65_536 })
  const lines = printPlan(plan).split('\n')
  const merge = lines.findIndex(line => line.includes('merge_tree'))
  const calls = (from: number, to: number): string[] =>
    lines.slice(from, to).flatMap(line => {
      const [, call, path = ''] = /(mkdir|mknod|setxattr)\(@upper, "([^"]*)"/.exec(line) ?? []
      return call === undefined ? [] : [`${call} ${path.replace(/^\//, '')}`]
    })
  return [calls(0, merge), calls(merge, lines.length)]
}

const ALL = ['mkdir root', 'setxattr root', 'mkdir etc', 'mknod etc/shadow', 'mkdir etc/ssl', 'mknod etc/ssl/private']

test('seedPlan() confines itself to the container and its layer before it writes', () => {
  const lines = printPlan(seedPlan('/c', { path: '/l/root', veil: VEIL }, new Map(), null)).split('\n')
  const at = (text: string): number => lines.findIndex(line => line.includes(text))
  expect(at('open_tree(AT_FDCWD, "/l/root"')).toBeGreaterThan(0)
  expect(at('pivot_root')).toBeLessThan(at('cap_bound'))
  expect(at('PR_SET_NO_NEW_PRIVS')).toBeLessThan(at('mkdir('))
  expect(lines.find(line => line.includes('merge_tree'))).toContain('merge_tree(@layer, @upper, @links, 0, 0, none, 1)')
})

const CASES: readonly (readonly [
  what: string,
  places: Readonly<Record<string, SeedPlace>>,
  before: readonly string[],
  after: readonly string[],
])[] = [
  ['is all there where the layer has nothing', {}, ALL, []],
  ['stays where the layer has a file of its own, which takes its place', { etc: 'directory' }, ALL, []],
  [
    'is under the directories of the layer, and closes those that are to be empty or hidden',
    { root: 'directory', etc: 'directory', 'etc/shadow': 'directory' },
    ['mkdir root', 'mkdir etc', 'mkdir etc/ssl', 'mknod etc/ssl/private'],
    ['setxattr root', 'setxattr etc/shadow'],
  ],
  ['goes through no link and no whiteout of the layer', { etc: 'other' }, ['mkdir root', 'setxattr root'], []],
  [
    'leaves nothing in a directory that hides all below it',
    { etc: 'directory', 'etc/ssl': 'opaque' },
    ['mkdir root', 'setxattr root', 'mkdir etc', 'mknod etc/shadow'],
    [],
  ],
]
for (const [what, places, before, after] of CASES)
  test(`the veil of seedPlan() ${what}`, () => expect(around(places)).toEqual([before, after]))

test('a driver that is no overlay refuses an image that is on top of the host', () => {
  const stack = { lowers: ['/'], isHost: true, seed: { path: '/l/root', veil: VEIL } }
  expect(() => new VfsDriver('/data').describe('/c', stack)).toThrow(
    'Cannot run an image that is on top of "host" with storage driver "vfs"',
  )
})
