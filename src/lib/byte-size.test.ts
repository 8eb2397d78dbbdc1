import { expect, test } from 'bun:test'
import { parseByteSize } from './byte-size.ts'

test.each([
  ['0', 0n],
  ['100', 100n],
  ['100b', 100n],
  ['64k', 65_536n],
  ['64KiB', 65_536n],
  ['512m', 536_870_912n],
  ['1.5G', 1_610_612_736n],
  ['1.3', 1n],
  ['2 TB', 2_199_023_255_552n],
  ['7p', 7_881_299_347_898_368n],
] as const)('parseByteSize() reads %p', (text, bytes) => {
  expect(parseByteSize(text, 'size')).toBe(bytes)
})

test.each(['', '-1', 'm', '10x', '1e3', '1.m', '0x10', '10 m b', '9223372036854775808', '9000p'])(
  'parseByteSize() refuses %p',
  text => {
    expect(() => parseByteSize(text, 'size')).toThrow(`Cannot use size "${text}"`)
  },
)
