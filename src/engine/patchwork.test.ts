import { expect, test } from 'bun:test'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasMounts, makePatchwork, type PatchworkInput, readPatchwork } from './patchwork.ts'

class Tree implements Disposable {
  readonly path: string = mkdtempSync(join(tmpdir(), 'berth-patchwork-'))

  constructor(directories: readonly string[]) {
    for (const each of directories) mkdirSync(join(this.path, each), { recursive: true })
  }

  input(mountPoints: readonly string[], veil: PatchworkInput['veil'] = []): PatchworkInput {
    return {
      lower: join(this.path, 'lower'),
      upper: join(this.path, 'upper'),
      work: join(this.path, 'work'),
      veil,
      mountPoints: mountPoints.map(each => join(this.path, 'lower', each)),
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true })
  }
}

test('hasMounts() is about what is below a directory, not about the directory', () => {
  expect(hasMounts('/usr', ['/', '/usr', '/usrlocal'])).toBe(false)
  expect(hasMounts('/usr', ['/usr/lib'])).toBe(true)
  expect(hasMounts('/', ['/'])).toBe(false)
  expect(hasMounts('/', ['/proc'])).toBe(true)
})

test('readPatchwork() overlays the topmost directories that have no mounts, and shows mount points empty', () => {
  using tree = new Tree(['lower/usr/bin', 'lower/var/lib/data', 'lower/var/log', 'lower/proc', 'upper', 'work'])
  writeFileSync(join(tree.path, 'lower/var/file'), 'text')
  symlinkSync('usr/bin', join(tree.path, 'lower/bin'))
  const input = tree.input(['proc', 'var/lib/data'])
  const content = readPatchwork(input)
  expect(content.patches.map(({ target }) => target).sort()).toEqual(['/usr', '/var/log'])
  expect(content.links).toEqual([{ path: '/bin', target: 'usr/bin' }])
  expect(content.copies).toEqual(['/var/file'])

  makePatchwork(content, input)
  expect(readlinkSync(join(input.upper, 'bin'))).toBe('usr/bin')
  expect(readFileSync(join(input.upper, 'var/file'), 'utf8')).toBe('text')
  expect(statSync(join(input.upper, 'var/lib/data')).isDirectory()).toBe(true)
  for (const { upper, work } of content.patches) expect([existsSync(upper), existsSync(work)]).toEqual([true, true])
})

test('readPatchwork() hands each piece the part of the veil that is in it, and leaves out what is hidden', () => {
  using tree = new Tree(['lower/etc/ssh', 'lower/secret', 'lower/home/anna', 'lower/proc', 'upper', 'work'])
  const content = readPatchwork(
    tree.input(
      ['proc'],
      [
        { kind: 'parent', path: '/etc', mode: 0o755 },
        { kind: 'hidden', path: '/etc/ssh', mode: 0 },
        { kind: 'hidden', path: '/secret', mode: 0 },
        { kind: 'empty', path: '/home', mode: 0o755 },
      ],
    ),
  )
  expect(content.patches.map(({ target, veil }) => [target, veil?.entries])).toEqual([
    ['/etc', [{ kind: 'hidden', path: '/ssh', mode: 0 }]],
  ])
  expect(content.directories.map(({ path }) => path).sort()).toEqual(['/etc', '/home', '/proc'])
})
