import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseDriverName } from './driver-choice.ts'
import { driverProblem, openDriver } from './open-driver.ts'

const base = mkdtempSync(join(tmpdir(), 'berth-driver-'))
afterAll(() => rmSync(base, { recursive: true }))

let count = 0
const newRoot = (): string => join(base, String(count++))

describe('openDriver()', () => {
  test('writes its choice down, and takes it from there', async () => {
    const root = newRoot()
    expect((await openDriver(root, { asked: 'vfs', isRootless: false })).name).toBe('vfs')
    expect(readFileSync(join(root, 'storage-driver'), 'utf8')).toBe('vfs\n')
    expect((await openDriver(root, { asked: null, isRootless: false })).name).toBe('vfs')
    expect(readdirSync(root)).toEqual(['storage-driver'])
  })

  test('refuses a store that another driver made', async () => {
    const root = newRoot()
    await openDriver(root, { asked: 'vfs', isRootless: false })
    await expect(openDriver(root, { asked: 'overlay', isRootless: false })).rejects.toThrow(
      `Cannot use storage driver "overlay": the store at "${root}" was made by vfs, expected --storage-driver vfs or another --root`,
    )
  })

  test('lets one choice win when several are made at once', async () => {
    const root = newRoot()
    const names = await Promise.all(
      Array.from({ length: 8 }, async () => (await openDriver(root, { asked: 'vfs', isRootless: false })).name),
    )
    expect(new Set(names)).toEqual(new Set(['vfs']))
    expect(readdirSync(root)).toEqual(['storage-driver'])
  })

  test('writes nothing down when it only looks', async () => {
    const root = newRoot()
    await openDriver(root, { asked: 'vfs', isRootless: false, isDry: true })
    expect(existsSync(join(root, 'storage-driver'))).toBe(false)
  })

  test('takes overlays for a user without privileges, and says why not others', async () => {
    expect((await openDriver(newRoot(), { asked: null, isRootless: true })).name).toBe('overlay')
    await expect(openDriver(newRoot(), { asked: 'btrfs', isRootless: true })).rejects.toThrow(
      'Cannot use storage driver btrfs: it takes privileges on the host',
    )
  })

  test('refuses a choice that is no driver', async () => {
    const root = newRoot()
    await openDriver(root, { asked: 'vfs', isRootless: false })
    writeFileSync(join(root, 'storage-driver'), 'zfs\n')
    await expect(openDriver(root, { asked: null, isRootless: false })).rejects.toThrow(
      'Cannot use storage driver "zfs": expected overlay, btrfs, fuse-overlayfs, vfs or erofs',
    )
  })
})

test('driverProblem() says that subvolumes need btrfs', async () => {
  expect(await driverProblem('btrfs', '/proc', { isRootless: false })).toBe('"/proc" is not on btrfs')
  expect(await driverProblem('vfs', base, { isRootless: false })).toBeNull()
})

test('parseDriverName() takes the names of drivers alone', () => {
  expect(parseDriverName('fuse-overlayfs')).toBe('fuse-overlayfs')
  for (const text of ['', 'Overlay', 'overlay2', 'fuse', '../vfs'])
    expect(() => parseDriverName(text)).toThrow('Cannot use storage driver')
})
