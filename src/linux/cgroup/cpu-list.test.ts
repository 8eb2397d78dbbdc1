import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { cpuListMask, formatCpuList, parseCpuList } from './cpu-list.ts'

describe('parseCpuList()', () => {
  for (const [text, expected] of [
    ['', []],
    ['0', [0]],
    ['0-3,7', [0, 1, 2, 3, 7]],
    [' 5 ,1-2,,2\n', [1, 2, 5]],
  ] as const) {
    test(`reads ${JSON.stringify(text)}`, () => expect(parseCpuList(text)).toEqual([...expected]))
  }
  for (const text of ['a', '1-', '-1', '3-1', '1-2-3', '99999', '0x1']) {
    test(`rejects ${text}`, () => expect(() => parseCpuList(text)).toThrow('malformed range'))
  }
  test('undoes formatCpuList()', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 300 })), numbers => {
        expect(parseCpuList(formatCpuList(numbers))).toEqual(numbers.toSorted((a, b) => a - b))
      }),
    )
  })
})

test('cpuListMask() sets one bit per CPU, lowest byte first', () => {
  expect(cpuListMask('0-1,9')).toEqual(new Uint8Array([0b11, 0b10]))
})
