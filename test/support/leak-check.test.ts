import { describe, expect, test } from 'bun:test'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expectNoLeaks, leaksSince, snapshotHost } from './leak-check.ts'

describe('leaksSince()', () => {
  test('names a file in a given directory', () => {
    const dir = mkdtempSync(join(tmpdir(), 'berth-leak-'))
    const before = snapshotHost([dir])
    writeFileSync(join(dir, 'left'), '')
    expect(leaksSince(before)).toContain(`file: ${join(dir, 'left')}`)
    rmSync(dir, { recursive: true })
    expect(leaksSince(before)).toEqual([])
  })

  test('names an open file', () => {
    const before = snapshotHost()
    const fd = openSync('/dev/zero', 'r')
    expect(leaksSince(before)).toContain(`fd: ${fd} /dev/zero`)
    closeSync(fd)
    expect(leaksSince(before)).toEqual([])
  })

  test('names a running child, and its namespaces', async () => {
    const before = snapshotHost()
    const child = Bun.spawn(['sleep', '60'])
    expect(leaksSince(before)).toContain(`process: sleep (pid ${child.pid})`)
    child.kill()
    await child.exited
    await expectNoLeaks(before)
  })
})
