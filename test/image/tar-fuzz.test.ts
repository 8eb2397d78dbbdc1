/** The tar parser and GNU tar on the same archives with changed bytes: what both accept, both must understand alike. */
import { describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { BerthError } from '../../src/lib/error.ts'
import type { TarEntry } from '../../src/lib/tar/entry.ts'
import { TarParser } from '../../src/lib/tar/parser.ts'
import { FUZZ_TIMEOUT_MS, fuzzRuns, mutationsOf } from '../support/fuzz.ts'
import { testIf } from '../support/requirement.ts'
import { run, TemporaryDirectory } from './tree.ts'

const BLOCK = 512
const FORMATS = [
  ['--format=v7', '--exclude=fifo'],
  ['--format=ustar'],
  ['--format=oldgnu', '--sparse'],
  ['--format=gnu'],
  ['--format=posix', '--xattrs'],
  ['--format=posix', '--sparse', '--sparse-version=0.0'],
  ['--format=posix', '--sparse', '--sparse-version=0.1'],
  ['--format=posix', '--sparse', '--sparse-version=1.0'],
] as const

/** A tree with one of everything, as GNU tar writes it in each of its formats. */
function seeds(): readonly Buffer[] {
  using temporary = new TemporaryDirectory()
  const tree = join(temporary.path, 'tree')
  mkdirSync(join(tree, 'd'), { recursive: true })
  writeFileSync(join(tree, 'd/file'), 'content'.repeat(100))
  const script = `
    ln d/file d/hard; ln -s ../elsewhere d/soft; mkfifo d/fifo; : > d/empty
    truncate -s 100K d/holes; printf x | dd of=d/holes bs=1 seek=50000 conv=notrunc status=none
    touch -hd '2001-02-03 04:05:06.5 UTC' d/*; chmod 4755 d/file`
  run('sh', '-ec', `cd '${tree}'; ${script}`)
  const long = join(tree, 'd', 'n'.repeat(120))
  const longs = [long, `${long}-link`]
  return FORMATS.map(options => {
    // The older formats have no room for them.
    if (/gnu|posix/.test(options[0])) {
      writeFileSync(long, '')
      run('ln', '-sf', 't'.repeat(120), longs[1] ?? '')
    }
    return run('tar', '-C', tree, ...options, '--numeric-owner', '--sort=name', '-cf', '-', 'd')
  })
}

/** Our listing in the words of `tar --list --verbose`; null when the archive is refused. */
function ours(bytes: Uint8Array): readonly string[] | null {
  const lines: string[] = []
  const parser = new TarParser({
    entry: entry => lines.push(lineOf(entry)),
    data: () => undefined,
    end: () => undefined,
  })
  try {
    parser.push(bytes)
    parser.finish()
    return lines
  } catch (error) {
    expect(error).toBeInstanceOf(BerthError)
    return null
  }
}

function lineOf({ type, name, linkname, uid, gid, sizeBytes }: TarEntry): string {
  const link = type === 'symlink' ? ` -> ${linkname}` : type === 'link' ? ` link to ${linkname}` : ''
  const size = type === 'character' || type === 'block' ? '' : sizeBytes
  return `${uid}/${gid} ${size} ${(name.replace(/\/+$/, '') + link).replace(/^ +/, '')}`
}

/** GNU tar's listing without types, modes and times; null when it finds a fault. */
function theirs(bytes: Uint8Array): readonly string[] | null {
  const options = ['--list', '--verbose', '--numeric-owner', '--quoting-style=literal', '--full-time', '-P', '-f', '-']
  const { status, stdout, stderr } = spawnSync('tar', options, { input: bytes, env: { LC_ALL: 'C', TZ: 'UTC' } })
  if (status !== 0 || stderr.length > 0) return null
  return stdout
    .toString('latin1')
    .split('\n')
    .slice(0, -1)
    .map(line => {
      const [, kind, ids, size, name = ''] = /^(.)\S+ (\S+) +(\S+) \S+ \S+ +(.*)$/s.exec(line) ?? []
      return `${ids} ${kind === 'c' || kind === 'b' ? '' : size} ${name.replace(/\/+$/, '')}`
    })
}

/** GNU tar reads such a name on beyond its size, up to the next NUL; Go, with which images are written, does not, nor do we. */
function hasUnterminatedLongName(bytes: Uint8Array): boolean {
  for (let at = 0; at + 2 * BLOCK <= bytes.length; at += BLOCK) {
    const header = Buffer.from(bytes.subarray(at, at + BLOCK)).toString('latin1')
    const size = Number.parseInt(header.slice(124, 136), 8)
    if (/[KL]/.test(header[156] ?? '') && header.startsWith('ustar', 257) && bytes[at + BLOCK + size - 1] !== 0)
      return true
  }
  return false
}

/** A changed archive that prints in a line, for `base64 -d | zcat`. */
interface Changed {
  readonly bytes: Uint8Array
  readonly [fc.toStringMethod]: () => string
}

function changedArchives(): fc.Arbitrary<Changed> {
  return mutationsOf(seeds()).map(changed => {
    const bytes = withChecksums(changed)
    return { bytes, [fc.toStringMethod]: () => gzipSync(bytes).toString('base64') }
  })
}

/** Makes the checksums of what look like headers right again: else nearly every change ends there. */
function withChecksums(bytes: Uint8Array): Uint8Array {
  const fixed = Buffer.from(bytes)
  for (let at = 0; at + BLOCK <= fixed.length; at += BLOCK) {
    const header = fixed.subarray(at, at + BLOCK)
    if (!/^ustar|^\0{5}$/.test(header.toString('latin1', 257, 262)) || header[0] === 0 || header[148] === 0) continue
    header.fill(' ', 148, 156)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  }
  return fixed
}

describe('TarParser and GNU tar', () => {
  testIf('command tar')('list the same of archives in every format of GNU tar', () => {
    for (const seed of seeds()) {
      expect(ours(seed)).not.toBeNull()
      expect(ours(seed)).toEqual(theirs(seed))
    }
  })

  testIf('command tar')(
    'list the same of a changed archive when both accept it',
    () => {
      let [compared, accepted] = [0, 0]
      fc.assert(
        fc.property(changedArchives(), ({ bytes }) => {
          const [own, gnu] = [ours(bytes), theirs(bytes)]
          if (own !== null) accepted++
          if (own === null || gnu === null || hasUnterminatedLongName(bytes)) return
          // Its lines could not be told apart.
          if (own.some(line => line.includes('\n'))) return
          compared++
          expect(own).toEqual(gnu)
        }),
        fuzzRuns(400),
      )
      expect(compared).toBeGreaterThan(accepted / 10)
    },
    FUZZ_TIMEOUT_MS,
  )

  test(
    'never ends with anything but entries or a BerthError, whatever the bytes are',
    () => {
      fc.assert(
        fc.property(changedArchives(), fc.integer({ min: 1, max: 2000 }), ({ bytes }, pieceBytes) => {
          const whole = ours(bytes)
          const lines: string[] = []
          const parser = new TarParser({
            entry: entry => lines.push(lineOf(entry)),
            data: () => undefined,
            end: () => undefined,
          })
          try {
            for (let at = 0; at < bytes.length; at += pieceBytes) parser.push(bytes.subarray(at, at + pieceBytes))
            parser.finish()
            expect(lines).toEqual([...(whole ?? ['refused in one piece'])])
          } catch (error) {
            if (!(error instanceof BerthError)) throw error
            expect(whole).toBeNull()
          }
        }),
        fuzzRuns(1500),
      )
    },
    FUZZ_TIMEOUT_MS,
  )
})
