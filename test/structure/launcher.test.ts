import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const TOOLS = join(import.meta.dir, '../../tools')
const BUILT_AT = 1_000_000
const SOURCES = [
  'src/a.ts',
  'src/a.test.ts',
  'native/main.c',
  'package.json',
  'package-lock.json',
  'native/build/berth-init',
]

let root = ''

/** A checkout that was built at BUILT_AT, all its files and directories older by a second, or as old. */
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'berth-launcher-'))
  for (const dir of ['src', 'native', 'native/build', 'dist']) mkdirSync(join(root, dir))
  for (const path of [...SOURCES, 'dist/berth', 'dist/.built']) writeFileSync(join(root, path), '')
  chmodSync(join(root, 'dist/berth'), 0o755)
  for (const path of [...SOURCES, 'src', 'native', 'native/build']) setTime(path, BUILT_AT - 1)
  setTime('dist/.built', BUILT_AT)
})

afterEach(() => rmSync(root, { recursive: true }))

function setTime(path: string, seconds: number): void {
  utimesSync(join(root, path), seconds, seconds)
}

function stale(): string {
  return spawnSync('sh', ['-c', '. "$1"; stale "$2"', 'sh', join(TOOLS, 'stale'), root], { encoding: 'utf8' }).stdout
}

describe('stale', () => {
  test('says nothing of a build newer than its sources', () => expect(stale()).toBe(''))

  test.each(['src/a.ts', 'native/main.c', 'package.json', 'package-lock.json'])('names %s when it was edited', path => {
    setTime(path, BUILT_AT + 1)
    expect(stale()).toBe(`${join(root, path)}\n`)
  })

  test('notices a deleted source by its directory', () => {
    unlinkSync(join(root, 'src/a.ts'))
    expect(stale()).toBe(`${join(root, 'src')}\n`)
  })

  test.each(['src/a.test.ts', 'native/build/berth-init'])('does not care for %s', path => {
    setTime(path, BUILT_AT + 1)
    expect(stale()).toBe('')
  })

  test.each(['dist/berth', 'dist/.built'])('says so when %s is missing', path => {
    unlinkSync(join(root, path))
    expect(stale()).toBe('missing\n')
  })
})

describe('need', () => {
  const need = (path: string, ...tools: string[]) =>
    spawnSync('/bin/sh', ['-c', '. "$0"; need "$@"', join(TOOLS, 'step'), ...tools], {
      encoding: 'utf8',
      env: { PATH: path },
    })

  test('names every missing tool and the packages that have them', () => {
    const { status, stderr } = need('/nonexistent', 'cc:gcc', 'make:make')
    expect(stderr).toBe(
      'berth: Cannot build Berth: cc, make not found\n  on Debian and Ubuntu: apt-get install gcc make\n',
    )
    expect(status).toBe(1)
  })

  test('says nothing when all are there', () => {
    const { status, stderr } = need('/usr/bin:/bin', 'sh:dash', 'ls:coreutils')
    expect(stderr).toBe('')
    expect(status).toBe(0)
  })
})
