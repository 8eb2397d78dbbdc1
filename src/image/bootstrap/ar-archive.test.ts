import { describe, expect, test } from 'bun:test'
import { readAr } from './ar-archive.ts'

function member(name: string, content: string, size = content.length): string {
  const header =
    name.padEnd(16) + '0'.padEnd(12) + '0'.padEnd(6) + '0'.padEnd(6) + '100644'.padEnd(8) + String(size).padEnd(10)
  return `${header}\`\n${content}${content.length % 2 === 1 ? '\n' : ''}`
}

async function* inPieces(text: string, bytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < text.length; at += bytes) yield Buffer.from(text.slice(at, at + bytes), 'latin1')
}

async function membersOf(text: string, pieceBytes: number): Promise<[string, string][]> {
  const found: [string, string][] = []
  for await (const { name, content } of readAr(inPieces(text, pieceBytes))) {
    const pieces: Uint8Array[] = []
    for await (const piece of content()) pieces.push(piece)
    found.push([name, Buffer.concat(pieces).toString('latin1')])
  }
  return found
}

const ARCHIVE = `!<arch>\n${member('debian-binary', '2.0\n')}${member('odd/', 'abc')}${member('data.tar', 'x'.repeat(100))}`

describe('readAr()', () => {
  test.each([1, 7, 60, 4096])('reads members from pieces of %p bytes', async bytes => {
    expect(await membersOf(ARCHIVE, bytes)).toEqual([
      ['debian-binary', '2.0\n'],
      ['odd', 'abc'],
      ['data.tar', 'x'.repeat(100)],
    ])
  })

  test('skips a member that is not read', async () => {
    const names: string[] = []
    for await (const { name } of readAr(inPieces(ARCHIVE, 13))) names.push(name)
    expect(names).toEqual(['debian-binary', 'odd', 'data.tar'])
  })

  test('refuses an archive that is cut off at any place but between members', async () => {
    const ends = [...ARCHIVE.matchAll(/`\n/g)].length
    expect(ends).toBe(3)
    let wholeCount = 0
    for (let bytes = 0; bytes < ARCHIVE.length; bytes++) {
      const read = await membersOf(ARCHIVE.slice(0, bytes), 50).catch((error: unknown) => String(error))
      if (typeof read !== 'string') wholeCount++
      else expect(read).toContain("Cannot read the package's archive")
    }
    // After the magic, after each of the first two members, and before the padding of the odd one.
    expect(wholeCount).toBe(4)
  })

  test.each([
    ['another file', 'PK\x03\x04 and more bytes'],
    ['a header without its end', ARCHIVE.replace('`\n', '``')],
    ['a size that is no number', `!<arch>\n${member('a', 'abcd', Number.NaN)}`],
    ['a negative size', `!<arch>\n${member('a', 'abcd', -4)}`],
  ])('refuses %s', async (_, text) => {
    await expect(membersOf(text, 4096)).rejects.toThrow("Cannot read the package's archive")
  })
})
