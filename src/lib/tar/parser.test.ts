import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { type ArchiveEntry, archive, encodeEntry, paxRecord } from '../../../test/support/tar-archive.ts'
import { BerthError } from '../error.ts'
import type { TarEntry } from './entry.ts'
import { TarParser } from './parser.ts'

interface Told extends TarEntry {
  content: [offset: number, bytes: string][]
}

/** All that the parser tells of an archive given in pieces of these sizes. */
function parse(bytes: Uint8Array, pieceBytes: readonly number[] = [bytes.length]): Told[] {
  const told: Told[] = []
  const parser = new TarParser({
    entry: entry => told.push({ ...entry, content: [] }),
    data: (offset, piece) => {
      const content = told.at(-1)?.content ?? []
      const last = content.at(-1)
      const text = Buffer.from(piece).toString('latin1')
      if (last !== undefined && last[0] + last[1].length === offset) last[1] += text
      else content.push([offset, text])
    },
    end: () => undefined,
  })
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const size = Math.max(1, pieceBytes[index % pieceBytes.length] ?? 1)
    parser.push(bytes.subarray(at, at + size))
    at += size
  }
  parser.finish()
  return told
}

function only(entry: ArchiveEntry): Told {
  const [told] = parse(archive(entry))
  if (told === undefined) throw new Error('nothing was told')
  return told
}

describe('TarParser', () => {
  test('tells a file with its content', () => {
    const told = only({ name: 'etc/motd', content: 'hello', mode: 0o4755, uid: 7, gid: 8, mtime: 1234 })
    expect(told).toMatchObject({ type: 'file', name: 'etc/motd', mode: 0o4755, uid: 7, gid: 8, sizeBytes: 5 })
    expect(told.mtime).toEqual({ seconds: 1234, nanoseconds: 0 })
    expect(told.content).toEqual([[0, 'hello']])
  })

  test.each<[string, TarEntry['type']]>([
    ['1', 'link'],
    ['2', 'symlink'],
    ['3', 'character'],
    ['4', 'block'],
    ['5', 'directory'],
    ['6', 'fifo'],
    ['7', 'file'],
    ['\0', 'file'],
  ])('tells type %j as %s', (type, expected) => {
    expect(only({ name: 'a', type, linkname: 'b' }).type).toBe(expected)
  })

  test('tells an old directory by its slash', () => expect(only({ name: 'a/', type: '\0' }).type).toBe('directory'))

  test('takes path, link, ids, size and time from extended records, which win over all others', () => {
    const long = `${'d/'.repeat(200)}f`
    const pax = { path: long, linkpath: 'target', uid: '4000000000', gid: '3000000', mtime: '-1.25' }
    expect(only({ name: 'short', type: '2', linkname: 'x', pax })).toMatchObject({
      name: long,
      linkname: 'target',
      uid: 4_000_000_000,
      gid: 3_000_000,
      mtime: { seconds: -2, nanoseconds: 750_000_000 },
    })
  })

  test("takes long names and links of GNU's, up to their NUL", () => {
    const bytes = Buffer.concat([
      encodeEntry({ name: '././@LongLink', type: 'L', content: `${'n'.repeat(300)}\0` }),
      encodeEntry({ name: '././@LongLink', type: 'K', content: `${'l'.repeat(300)}\0` }),
      archive({ name: 'n', type: '2', linkname: 'l' }, { name: 'after' }),
    ])
    const [first, second] = parse(bytes)
    expect([first?.name, first?.linkname]).toEqual(['n'.repeat(300), 'l'.repeat(300)])
    expect(second?.name).toBe('after')
  })

  test('keeps bytes that are no UTF-8', () => expect(only({ name: 'a\xff\xfeb' }).name).toBe('a\xff\xfeb'))

  test('joins prefix and name of ustar', () => {
    expect(only({ name: 'b', edit: header => header.write('dir/a', 345) }).name).toBe('dir/a/b')
  })

  test('reads ids and times in base 256', () => {
    expect(only({ name: 'a', uid: 4_000_000_000, gid: 2_097_152, mtime: -5 })).toMatchObject({
      uid: 4_000_000_000,
      gid: 2_097_152,
      mtime: { seconds: -5, nanoseconds: 0 },
    })
  })

  test('tells extended attributes byte for byte, and other records by name', () => {
    const value = '\x01\0\0\x02\n=\xff'
    const told = only({
      name: 'a',
      pax: { 'SCHILY.xattr.security.capability': value, 'SCHILY.acl.access': 'x', atime: '1' },
    })
    expect([...told.xattrs]).toEqual([['security.capability', value]])
    expect(told.otherRecords).toEqual(['SCHILY.acl.access'])
  })

  test('leaves out global headers', () => {
    const global = encodeEntry({ name: 'g', type: 'g', content: paxRecord('path', 'evil') })
    expect(parse(Buffer.concat([global, archive({ name: 'a' })])).map(({ name }) => name)).toEqual(['a'])
  })

  test('does not take content for a link that has a size', () => {
    const edit = (header: Buffer) => header.write('00000001000', 124)
    const told = parse(archive({ name: 'a', type: '1', linkname: 'b', edit }, { name: 'c' }))
    expect(told.map(({ name, sizeBytes }) => [name, sizeBytes])).toEqual([
      ['a', 0],
      ['c', 0],
    ])
  })

  test('ignores what follows the two blocks of zeros', () => {
    expect(parse(Buffer.concat([archive({ name: 'a' }), Buffer.from('rubbish')]))).toHaveLength(1)
  })

  test('accepts an archive without its end marker, and without the padding before it', () => {
    const bytes = encodeEntry({ name: 'a', content: 'x' })
    expect(parse(bytes)).toHaveLength(1)
    expect(parse(bytes.subarray(0, 513))).toHaveLength(1)
    expect(() => parse(bytes.subarray(0, 512))).toThrow(/ends within an entry/)
  })

  describe('sparse files', () => {
    const content = 'aabbb'
    const expected = [
      [1000, 'aa'],
      [2000, 'bbb'],
    ]

    test("in GNU's own format", () => {
      const edit = (header: Buffer) => {
        for (const [index, value] of [1000, 2, 2000, 3].entries()) {
          header.write(value.toString(8).padStart(11, '0'), 386 + 12 * index)
        }
        header.write((5000).toString(8).padStart(11, '0'), 483)
      }
      expect(only({ name: 'a', type: 'S', content, edit })).toMatchObject({ sizeBytes: 5000, content: expected })
    })

    test('in format 1.0, with the map before the content', () => {
      const map = '2\n1000\n2\n2000\n3\n'
      const pax = {
        'GNU.sparse.major': '1',
        'GNU.sparse.minor': '0',
        'GNU.sparse.name': 'real',
        'GNU.sparse.realsize': '5000',
      }
      const told = only({ name: 'a', content: map.padEnd(512, '\0') + content, pax })
      expect(told).toMatchObject({ name: 'real', sizeBytes: 5000, content: expected })
    })

    test('in format 0.1, with the map in a record', () => {
      const pax = { 'GNU.sparse.map': '1000,2,2000,3', 'GNU.sparse.size': '5000' }
      expect(only({ name: 'a', content, pax })).toMatchObject({ sizeBytes: 5000, content: expected })
    })

    test.each(['1000,2', '2000,3,1000,2', '1000,2,4998,3', '1,x', '1000,2,2000'])('refuses the map %s', map => {
      const pax = { 'GNU.sparse.map': map, 'GNU.sparse.size': '5000' }
      expect(() => only({ name: 'a', content, pax })).toThrow(/sparse map/)
    })
  })

  test.each<[string, Uint8Array, RegExp]>([
    ['a wrong checksum', archive({ name: 'a' }).fill('x', 0, 1), /entry 0, byte 0: the checksum/],
    ['an unknown type', archive({ name: 'a', type: 'V' }), /its type is "V"/],
    ['a cut header', archive({ name: 'a' }).subarray(0, 100), /ends within an entry/],
    ['cut content', encodeEntry({ name: 'a', content: 'x'.repeat(600) }).subarray(0, 1100), /ends within an entry/],
    [
      'an extended header without its entry',
      encodeEntry({ name: 'a', pax: { path: 'b' } }).subarray(0, 1024),
      /ends within/,
    ],
    ['a header after one block of zeros', Buffer.concat([Buffer.alloc(512), archive({ name: 'a' })]), /single block/],
    ['a NUL in a path', archive({ name: 'a', pax: { path: 'b\0c' } }), /"path" holds a NUL/],
    ['a number with letters', archive({ name: 'a', edit: header => header.write('12x', 124) }), /size is "12x/],
    ['a negative size', archive({ name: 'a', edit: header => header.fill(0xff, 124, 136) }), /the size is -1/],
    ['an id of 2^32', archive({ name: 'a', pax: { uid: '4294967296' } }), /uid is 4294967296/],
    [
      'an extended header of 2 MiB',
      archive({ name: 'a', type: 'x', content: new Uint8Array(2 ** 21) }),
      /at most 1048576/,
    ],
    ['a record longer than its header', archive({ name: 'a', type: 'x', content: '99 a=b\n' }), /malformed/],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => parse(bytes)).toThrow(BerthError)
    expect(() => parse(bytes)).toThrow(message)
  })

  const entries = fc.array(
    fc.record({
      name: fc.string({ minLength: 1, maxLength: 90, unit: 'grapheme-ascii' }),
      content: fc.uint8Array({ maxLength: 1500 }),
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: fc.integer({ min: 0, max: 0xffff_fffe }),
      mtime: fc.integer({ min: -1e9, max: 1e11 }),
    }),
    { maxLength: 6 },
  )
  const sizes = fc.array(fc.integer({ min: 1, max: 1300 }), { minLength: 1, maxLength: 8 })

  test('tells what was written, however it is cut into pieces', () => {
    fc.assert(
      fc.property(entries, sizes, (written, pieceBytes) => {
        const told = parse(archive(...written), pieceBytes)
        const shown = told.map(({ name, mode, uid, mtime, content }) => [name, mode, uid, mtime.seconds, content])
        const expected = written.map(({ name, mode, uid, mtime, content }) => {
          const bytes = Buffer.from(content).toString('latin1')
          return [name, mode, uid, mtime, bytes === '' ? [] : [[0, bytes]]]
        })
        expect<unknown>(shown).toEqual(expected)
      }),
      { numRuns: 300 },
    )
  })

  test('survives any changed byte: it tells an archive or throws a BerthError', () => {
    const pax = { path: 'long', 'GNU.sparse.map': '0,3', 'GNU.sparse.size': '9' }
    const bytes = archive({ name: 'a', content: 'x'.repeat(700) }, { name: 'b', content: 'abc', pax })
    const change = fc.tuple(fc.integer({ min: 0, max: bytes.length - 1 }), fc.integer({ min: 0, max: 255 }))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), sizes, (changes, pieceBytes) => {
        const changed = Buffer.from(bytes)
        for (const [at, value] of changes) changed[at] = value
        // A changed header is found by its checksum; so that what is behind it is tried too, it is made right again.
        for (const at of [0, 1536, 2560]) fixChecksum(changed.subarray(at, at + 512))
        try {
          parse(changed, pieceBytes)
        } catch (error) {
          expect(error).toBeInstanceOf(BerthError)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

function fixChecksum(header: Buffer): void {
  header.fill(' ', 148, 156)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
}
