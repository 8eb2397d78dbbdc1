import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import {
  encodeAttach,
  encodeResize,
  encodeShimFrame,
  encodeSignal,
  encodeStdin,
  PAYLOAD_LIMIT_BYTES,
  type ShimFrame,
  ShimFrameParser,
} from './shim-frame.ts'

const frame = fc.record({ type: fc.nat(255), payload: fc.uint8Array({ maxLength: 300 }) })

function plain(frames: readonly ShimFrame[]): { type: number; payload: number[] }[] {
  return frames.map(({ type, payload }) => ({ type, payload: [...payload] }))
}

describe('ShimFrameParser', () => {
  test('returns the frames that were encoded, wherever the stream is split', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(3000)), (frames, cuts) => {
        const stream = Buffer.concat(frames.map(each => encodeShimFrame(each.type, each.payload)))
        const parser = new ShimFrameParser()
        const parsed: ShimFrame[] = []
        let at = 0
        for (const cut of [...cuts.filter(cut => cut < stream.length).toSorted((a, b) => a - b), stream.length]) {
          parsed.push(...parser.push(stream.subarray(at, cut)))
          at = cut
        }
        expect(plain(parsed)).toEqual(plain(frames))
      }),
    )
  })

  test('returns a frame with its last byte and not before, when bytes come one by one', () => {
    const stream = Buffer.concat([encodeShimFrame(3, Uint8Array.of(1, 2, 3)), encodeShimFrame(4)])
    const parser = new ShimFrameParser()
    const counts = [...stream].map(byte => parser.push(Uint8Array.of(byte)).length)
    expect(counts).toEqual([...Array(10).fill(0), 1, ...Array(7).fill(0), 1])
  })

  test('rejects padding that is not zero and a payload over the limit', () => {
    for (const header of [
      [1, 1, 0, 0, 0, 0, 0, 0],
      [1, 0, 0, 9, 0, 0, 0, 0],
      [1, 0, 0, 0, 1, 0, 1, 0],
    ]) {
      expect(() => new ShimFrameParser().push(Uint8Array.from(header))).toThrow(RangeError)
    }
  })
})

describe('the encoders', () => {
  test('encodeStdin() cuts into the longest payloads and keeps every byte', () => {
    const bytes = Uint8Array.from({ length: PAYLOAD_LIMIT_BYTES + 5 }, (_, index) => index % 251)
    const frames = new ShimFrameParser().push(Buffer.concat(encodeStdin(bytes)))
    expect(frames.map(each => each.payload.length)).toEqual([PAYLOAD_LIMIT_BYTES, 5])
    expect(Buffer.concat(frames.map(each => each.payload)).equals(bytes)).toBe(true)
  })

  test('write the layouts of the protocol', () => {
    expect([...encodeResize(24, 80)]).toEqual([2, 0, 0, 0, 4, 0, 0, 0, 24, 0, 80, 0])
    expect([...encodeSignal(15)]).toEqual([3, 0, 0, 0, 4, 0, 0, 0, 15, 0, 0, 0])
    expect([...encodeAttach({ stdout: false, stderr: true })]).toEqual([4, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0])
  })

  test('reject what the shim would refuse', () => {
    expect(() => encodeSignal(0)).toThrow('Cannot send signal "0"')
    expect(() => encodeSignal(65)).toThrow('Cannot send signal "65"')
    expect(() => encodeResize(70_000, 80)).toThrow('Cannot resize terminal to "70000x80"')
    expect(() => encodeShimFrame(0, new Uint8Array(PAYLOAD_LIMIT_BYTES + 1))).toThrow(RangeError)
  })
})
