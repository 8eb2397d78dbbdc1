import { describe, expect, test } from 'bun:test'
import { type ArchiveEntry, archive } from '../../test/support/tar-archive.ts'
import { TarParser } from '../lib/tar/parser.ts'
import { ENTRY_KINDS, EntryEncoder } from './entry-encoder.ts'
import { parseEntryPath, parseMarker } from './entry-path.ts'
import { LayerComposer } from './layer-composer.ts'
import { DEFAULT_UNPACK_LIMITS } from './unpack-limits.ts'

/** What berth-init would be told, a line for each entry. */
function compose(...entries: readonly ArchiveEntry[]): {
  lines: string[]
  composer: LayerComposer
  warnings: string[]
} {
  const warnings: string[] = []
  const encoder = new EntryEncoder()
  const composer = new LayerComposer(encoder, DEFAULT_UNPACK_LIMITS, message => warnings.push(message))
  new TarParser(composer).push(archive(...entries))
  for (const _ of composer.finish());
  return { lines: decode(Buffer.concat(encoder.take())), composer, warnings }
}

function decode(bytes: Buffer): string[] {
  const lines: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const word = (index: number) => bytes.readUInt32LE(at + 4 * index)
    const kind = Object.entries(ENTRY_KINDS).find(([, number]) => number === word(0))?.[0]
    const [mode, uid, pathBytes, targetBytes, xattrBytes] = [word(1), word(2), word(7), word(10), word(11)]
    const text = (from: number, length: number) => bytes.toString('latin1', from, from + length)
    const path = text(at + 48, pathBytes - 1)
    const target = text(at + 48 + pathBytes, targetBytes - 1)
    const opaque = text(at + 48 + pathBytes + targetBytes, xattrBytes).includes('overlay.opaque') ? ' opaque' : ''
    at += 48 + pathBytes + targetBytes + xattrBytes
    if (kind === 'file') while (bytes.readBigUInt64LE(at + 8) > 0n) at += 16 + Number(bytes.readBigUInt64LE(at + 8))
    if (kind === 'file') at += 16
    lines.push(`${kind} ${path}${target === '' ? '' : ` -> ${target}`} ${mode.toString(8)} ${uid}${opaque}`)
  }
  return lines
}

describe('LayerComposer', () => {
  test('sets what belongs to directories last, implied ones first', () => {
    expect(compose({ name: './a/b', content: 'x', uid: 5 }, { name: 'a/', type: '5', mode: 0o1700 }).lines).toEqual([
      'file a/b 644 5',
      'directory a 0 0',
      'attributes . 755 0',
      'attributes a 1700 0',
      'end  0 0',
    ])
  })

  test("writes whiteouts and opaque directories in overlayfs's form", () => {
    const { lines, composer } = compose({ name: 'd', type: '5' }, { name: 'd/.wh.x' }, { name: 'e/.wh..wh..opq' })
    expect(lines).toEqual([
      'directory d 0 0',
      'whiteout d/x 20000 0',
      'parent e 0 0',
      'attributes . 755 0',
      'attributes e 755 0 opaque',
      'attributes d 644 0',
      'end  0 0',
    ])
    expect(composer.isRootOpaque).toBe(false)
  })

  test('takes a device 0:0 and the opaque attribute of overlayfs for what they are', () => {
    const pax = { 'SCHILY.xattr.trusted.overlay.opaque': 'y' }
    const { lines, warnings } = compose({ name: 'x', type: '3' }, { name: 'd', type: '5', mode: 0o755, pax })
    expect(lines).toContain('whiteout x 20000 0')
    expect(lines).toContain('attributes d 755 0 opaque')
    expect(warnings).toEqual([])
  })

  test.each<[string, ArchiveEntry[]]>([
    ['before', [{ name: '.wh.d' }, { name: 'd', type: '5', mode: 0o755 }]],
    ['behind', [{ name: 'd', type: '5', mode: 0o755 }, { name: '.wh.d' }]],
    ['before an implied', [{ name: '.wh.d' }, { name: 'd/f' }]],
  ])('makes a directory opaque that has a whiteout %s it: both count', (_, entries) => {
    expect(compose(...entries).lines).toContain('attributes d 755 0 opaque')
  })

  test('tells an opaque root apart, for overlayfs does not look for it', () => {
    const { lines, composer } = compose({ name: '.wh..wh..opq' })
    expect(composer.isRootOpaque).toBe(true)
    expect(lines).toEqual(['attributes . 755 0', 'end  0 0'])
  })

  test('forgets a directory, and all in it, that another entry replaces', () => {
    const entries = [{ name: 'd', type: '5' }, { name: 'd/e', type: '5' }, { name: 'd' }]
    expect(compose(...entries).lines.filter(line => line.startsWith('attributes'))).toEqual(['attributes . 755 0'])
  })

  test("leaves out aufs's files and says so once", () => {
    const { lines, warnings } = compose({ name: '.wh..wh.plnk/1' }, { name: '.wh..wh.aufs', content: 'x' })
    expect(lines).toHaveLength(2)
    expect(warnings).toEqual(["left out aufs's own files"])
  })
})

test.each([
  ['a/b', 'a/b'],
  ['./a//b/.', 'a/b'],
  ['/etc/passwd', 'etc/passwd'],
  ['./', ''],
  ['...', '...'],
])('parseEntryPath() reads %j as %j', (name, path) => expect(parseEntryPath(name)).toBe(path))

test.each<[string, ReturnType<typeof parseMarker>]>([
  ['a/.wh.b', { kind: 'whiteout', path: 'a/b' }],
  ['.wh.b', { kind: 'whiteout', path: 'b' }],
  ['a/.wh..wh..opq', { kind: 'opaque', path: 'a' }],
  ['.wh..wh..opq', { kind: 'opaque', path: '' }],
  ['.wh..wh.orph', { kind: 'aufs' }],
  ['a.wh.b', { kind: 'none' }],
  ['.whatever', { kind: 'none' }],
])('parseMarker() reads %s', (path, marker) => expect(parseMarker(path)).toEqual(marker))
