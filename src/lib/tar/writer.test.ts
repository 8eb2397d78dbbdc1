import { describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { testIf } from '../../../test/support/requirement.ts'
import type { TarEntry, TarEntryType } from './entry.ts'
import { BLOCK_BYTES, type Segment, TarFormatError } from './header.ts'
import { TarParser } from './parser.ts'
import { type TarInput, TarWriter } from './writer.ts'

interface Written {
  readonly input: TarInput
  /** The data of its segments, or all of it. */
  readonly content: string
}

interface Told extends TarEntry {
  content: string
  offsets: number[]
}

const BASE: TarInput = {
  type: 'file',
  name: 'a',
  linkname: '',
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  sizeBytes: 0,
  devmajor: 0,
  devminor: 0,
  xattrs: new Map(),
}

function write(entries: readonly Written[]): Uint8Array {
  const writer = new TarWriter()
  for (const { input, content } of entries) {
    writer.entry(input)
    writer.data(Buffer.from(content, 'latin1'))
  }
  writer.finish()
  return writer.take()
}

function one(fields: Partial<TarInput>, content = ''): Uint8Array {
  return write([{ input: { ...BASE, sizeBytes: content.length, ...fields }, content }])
}

function parse(archive: Uint8Array): Told[] {
  const told: Told[] = []
  const parser = new TarParser({
    entry: entry => told.push({ ...entry, content: '', offsets: [] }),
    data: (offset, bytes) => {
      const last = told.at(-1)
      if (last === undefined) return
      last.content += Buffer.from(bytes).toString('latin1')
      last.offsets.push(offset)
    },
    end: () => undefined,
  })
  parser.push(archive)
  parser.finish()
  return told
}

const byteText = (minLength: number, maxLength: number, alphabet = fc.integer({ min: 1, max: 255 })) =>
  fc.array(alphabet, { minLength, maxLength }).map(bytes => String.fromCharCode(...bytes))
/** Of many slashes, so that names are cut; around 100 and 256 bytes, where the fields end. */
const path = fc.oneof(
  byteText(1, 20),
  byteText(90, 300, fc.constantFrom(0x61, 0x2f, 0xe4)),
  fc.integer({ min: 98, max: 102 }).map(length => 'n'.repeat(length)),
  fc.integer({ min: 250, max: 262 }).map(length => `${'p'.repeat(154)}/${'n'.repeat(length - 155)}`),
)
const id = fc.oneof(fc.integer({ min: 0, max: 0xffff_fffe }), fc.constantFrom(0, 2_097_151, 2_097_152))
const mtime = fc.record({
  seconds: fc.oneof(fc.integer({ min: -1e12, max: 1e12 }), fc.constantFrom(-1, 0, 8 ** 11 - 1, 8 ** 11)),
  nanoseconds: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 999_999_999 })),
})
const xattrs = fc
  .array(
    fc.tuple(byteText(1, 10, fc.integer({ min: 0x41, max: 0xff })), byteText(0, 30, fc.integer({ min: 0, max: 255 }))),
  )
  .map(pairs => new Map(pairs.map(([name, value]) => [`user.${name}`, value])))
const attributes = fc.record({ name: path, mode: fc.integer({ min: 0, max: 0o7777 }), uid: id, gid: id, mtime, xattrs })
const segments = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 1, max: 1500 })), { maxLength: 30 })
  .map(pairs => {
    let end = 0
    return pairs.map(([gap, bytes]): Segment => {
      const offset = end + gap + 1
      end = offset + bytes
      return { offset, bytes }
    })
  })

const entry: fc.Arbitrary<Written> = fc.oneof(
  fc
    .record({ attributes, content: byteText(0, 1100, fc.integer({ min: 0, max: 255 })) })
    .map(({ attributes, content }) => ({
      input: { ...BASE, ...attributes, sizeBytes: content.length },
      content,
    })),
  fc.record({ attributes, segments, tail: fc.integer({ min: 0, max: 5000 }) }).map(({ attributes, segments, tail }) => {
    const last = segments.at(-1)
    const sizeBytes = (last === undefined ? 0 : last.offset + last.bytes) + tail
    const bytes = segments.reduce((sum, each) => sum + each.bytes, 0)
    return { input: { ...BASE, ...attributes, sizeBytes, segments }, content: 's'.repeat(bytes) }
  }),
  fc
    .record({
      attributes,
      type: fc.constantFrom<TarEntryType>('directory', 'fifo', 'character', 'block'),
      devmajor: fc.integer({ min: 0, max: 0xfff }),
      devminor: fc.integer({ min: 0, max: 0xf_ffff }),
    })
    .map(({ attributes, type, devmajor, devminor }) => {
      const isDevice = type === 'character' || type === 'block'
      return { input: { ...BASE, ...attributes, type, ...(isDevice ? { devmajor, devminor } : {}) }, content: '' }
    }),
  fc
    .record({ attributes, type: fc.constantFrom<TarEntryType>('symlink', 'link'), linkname: path })
    .map(({ attributes, type, linkname }) => ({ input: { ...BASE, ...attributes, type, linkname }, content: '' })),
)

describe('TarWriter', () => {
  test('writes what the parser reads as the same entries', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 6 }), entries => {
        const archive = write(entries)
        expect(archive.length % BLOCK_BYTES).toBe(0)
        const told = parse(archive)
        expect(told).toHaveLength(entries.length)
        for (const [index, { input, content }] of entries.entries()) {
          const { segments, ...fields } = input
          const { content: read = '', offsets = [], otherRecords = [], ...rest } = told[index] ?? {}
          expect(rest as unknown).toEqual(fields)
          expect(read).toBe(content)
          expect(otherRecords).toEqual([])
          if (segments !== undefined) expect(offsets).toEqual(segments.map(each => each.offset))
        }
      }),
      { numRuns: 300 },
    )
  })

  test('writes a plain ustar header where all fits into it', () => {
    const archive = one(
      { name: 'etc/motd', mode: 0o755, uid: 2_097_151, mtime: { seconds: 8 ** 11 - 1, nanoseconds: 0 } },
      'hello',
    )
    expect(archive.length).toBe(4 * BLOCK_BYTES)
    expect(Buffer.from(archive).toString('latin1', 257, 265)).toBe('ustar\x0000')
  })

  test.each([
    ['a name of 100 bytes', { name: 'n'.repeat(100) }, 3],
    ['a name of 101 bytes without a slash', { name: 'n'.repeat(101) }, 5],
    ['a name of 155 and 100 bytes', { name: `${'p'.repeat(155)}/${'n'.repeat(100)}` }, 3],
    ['a name of 156 and 100 bytes', { name: `${'p'.repeat(156)}/${'n'.repeat(100)}` }, 5],
    ['a link to 100 bytes', { type: 'symlink', linkname: 'n'.repeat(100) }, 3],
    ['a link to 101 bytes', { type: 'symlink', linkname: 'n'.repeat(101) }, 5],
    ['a user of 22 bits', { uid: 2_097_152 }, 5],
    ['a time before 1970', { mtime: { seconds: -1, nanoseconds: 0 } }, 5],
    ['a nanosecond', { mtime: { seconds: 0, nanoseconds: 1 } }, 5],
  ] satisfies [string, Partial<TarInput>, number][])(
    'takes extended records only when need be: %s',
    (_, fields, blocks) => {
      expect(one(fields).length).toBe(blocks * BLOCK_BYTES)
    },
  )

  test('says the size of a file of 8 GiB in a record', () => {
    const writer = new TarWriter()
    writer.entry({ ...BASE, sizeBytes: 8 ** 11 })
    expect(Buffer.from(writer.take()).toString('latin1')).toContain('19 size=8589934592\n')
    expect(writer.missingBytes).toBe(8 ** 11)
  })

  test('writes zeros as content', () => {
    const writer = new TarWriter()
    writer.entry({ ...BASE, sizeBytes: 3 })
    writer.data(Buffer.from('x'))
    writer.zeros(2)
    writer.finish()
    expect(parse(writer.take())[0]?.content).toBe('x\0\0')
  })

  test('marks names that are not UTF-8', () => {
    expect(Buffer.from(one({ name: '\xe4'.repeat(101) })).toString('latin1')).toContain('21 hdrcharset=BINARY\n')
    expect(Buffer.from(one({ name: '\xc3\xa4'.repeat(101) })).toString('latin1')).not.toContain('hdrcharset')
  })

  test('refuses an attribute whose name no record can hold', () => {
    expect(() => one({ xattrs: new Map([['user.a=b', '']]) })).toThrow(TarFormatError)
  })

  test('refuses more content than was announced, and the next entry before its end', () => {
    const writer = new TarWriter()
    writer.entry({ ...BASE, sizeBytes: 1 })
    expect(() => writer.data(Buffer.from('xy'))).toThrow('as much content')
    expect(() => writer.entry(BASE)).toThrow('complete')
    expect(() => writer.finish()).toThrow('complete')
  })
})

testIf('root', 'command tar')('GNU tar unpacks what TarWriter writes', () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-tar-'))
  try {
    const long = `${'d'.repeat(120)}/${'f'.repeat(120)}`
    const archive = write([
      { input: { ...BASE, type: 'directory', name: `${'d'.repeat(120)}/`, mode: 0o755 }, content: '' },
      {
        input: {
          ...BASE,
          name: long,
          mode: 0o4711,
          uid: 3_000_000,
          gid: 4_000_000_000,
          mtime: { seconds: -2, nanoseconds: 500_000_001 },
          sizeBytes: 5,
          xattrs: new Map([['user.note', 'a\0b\n']]),
        },
        content: 'hello',
      },
      { input: { ...BASE, type: 'link', name: 'again', linkname: long }, content: '' },
      { input: { ...BASE, type: 'symlink', name: 'link', linkname: 't'.repeat(150) }, content: '' },
      {
        input: { ...BASE, name: 'holes', sizeBytes: 1 << 20, segments: [{ offset: 65536, bytes: 4 }] },
        content: 'data',
      },
      { input: { ...BASE, name: `${'\xff'.repeat(120)}`, sizeBytes: 1 }, content: '!' },
    ])
    const options = ['--numeric-owner', '--xattrs', '--xattrs-include=user.*', '--same-owner', '-p']
    const result = spawnSync('tar', ['-x', '-C', directory, ...options], {
      input: archive,
      env: { ...process.env, LC_ALL: 'C' },
    })
    expect(result.status).toBe(0)
    const stat = statSync(join(directory, 'again'), { bigint: true })
    expect(readFileSync(join(directory, long), 'utf8')).toBe('hello')
    expect([stat.uid, stat.gid, stat.nlink, stat.mode & 0o7777n, stat.mtimeNs]).toEqual([
      3_000_000n,
      4_000_000_000n,
      2n,
      0o4711n,
      -1_499_999_999n,
    ])
    const holes = readFileSync(join(directory, 'holes'))
    expect([holes.length, holes.toString('latin1', 65536, 65540), holes.reduce((sum, byte) => sum + byte, 0)]).toEqual([
      1 << 20,
      'data',
      100 + 97 + 116 + 97,
    ])
    expect(statSync(join(directory, 'holes')).blocks).toBeLessThan(2048)
    const list = spawnSync('tar', ['-tv', '--full-time'], {
      input: archive,
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    })
    expect(list.stdout.toString('latin1')).toContain(`-> ${'t'.repeat(150)}`)
    expect(readFileSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.alloc(120, 0xff)]), 'utf8')).toBe('!')
  } finally {
    rmSync(directory, { recursive: true })
  }
})
