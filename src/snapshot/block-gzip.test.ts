import { describe, expect, test } from 'bun:test'
import { gunzipSync } from 'node:zlib'
import { BlockGzip } from './block-gzip.ts'

async function compress(bytes: Uint8Array, pieceBytes: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  using gzip = new BlockGzip(async piece => {
    pieces.push(piece)
  })
  for (let at = 0; at < bytes.length; at += pieceBytes) await gzip.write(bytes.subarray(at, at + pieceBytes))
  await gzip.finish()
  return Buffer.concat(pieces)
}

describe('BlockGzip', () => {
  const block = 256 * 1024
  test.each([0, 1, block - 1, block, block + 1, 3 * block + 7])('writes gzip of %d bytes', async length => {
    const bytes = Buffer.from(Array.from({ length }, (_, index) => (index * index) >> 7))
    const compressed = await compress(bytes, 100_000)
    expect(gunzipSync(compressed).equals(bytes)).toBe(true)
    // The time and the operating system of the header are nobody's.
    expect(compressed.subarray(0, 10)).toEqual(Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]))
  })

  test('writes the same bytes however the input is cut', async () => {
    const bytes = Buffer.alloc(2 * block + 5, 'some text, ')
    expect((await compress(bytes, 7_777)).equals(await compress(bytes, bytes.length))).toBe(true)
  })

  test('throws what writing throws', async () => {
    using gzip = new BlockGzip(() => Promise.reject(new Error('full')))
    await expect(gzip.write(Buffer.alloc(2 * block)).then(() => gzip.finish())).rejects.toThrow('full')
  })
})
