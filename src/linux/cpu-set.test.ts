import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { cpuMask, parseCpuList } from './cpu-set.ts'

const good: readonly (readonly [text: string, numbers: readonly number[]])[] = [
  ['', []],
  ['0', [0]],
  ['0-3,7', [0, 1, 2, 3, 7]],
  [' 5 , 1-2,,', [1, 2, 5]],
  ['3,3,2-4', [2, 3, 4]],
  ['8191', [8191]],
]
test.each(good)('parseCpuList() reads %p', (text, numbers) => {
  expect(parseCpuList(text)).toEqual(numbers)
})

test.each(['a', '1-', '-1', '3-1', '1-2-3', '8192', '0-99999999999', '0x1', '1 2', '1;2'])(
  'parseCpuList() refuses %p',
  text => {
    expect(() => parseCpuList(text)).toThrow(`Cannot parse CPU list ${JSON.stringify(text)}: `)
  },
)

const cpus = fc.uniqueArray(fc.integer({ min: 0, max: 300 })).map(list => list.sort((a, b) => a - b))

test('parseCpuList() reads back any list of numbers', () => {
  fc.assert(fc.property(cpus, list => expect(parseCpuList(list.join(','))).toEqual(list)))
})

test('cpuMask() has whole 64-bit words in which just the bits of the CPUs are set', () => {
  fc.assert(
    fc.property(cpus, list => {
      const mask = cpuMask(list)
      expect(mask.length % 8).toBe(0)
      const bits = [...mask].flatMap((byte, at) =>
        [...Array(8).keys()].filter(bit => byte & (1 << bit)).map(bit => at * 8 + bit),
      )
      expect(bits).toEqual(list)
    }),
  )
  expect(cpuMask([0, 9])).toEqual(new Uint8Array([1, 2, 0, 0, 0, 0, 0, 0]))
})
