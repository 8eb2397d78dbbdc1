import { expect, test } from 'bun:test'
import { humanSize } from './human-size.ts'

test('humanSize() writes sizes as docker does', () => {
  const cases = [
    [0, '0B'],
    [999, '999B'],
    [1000, '1kB'],
    [1500, '1.5kB'],
    [1_982_260, '1.98MB'],
    [77_800_000, '77.8MB'],
    [1_234_567_890, '1.23GB'],
    [5e12, '5TB'],
  ] as const
  expect(cases.map(([bytes]) => humanSize(bytes))).toEqual(cases.map(([, text]) => text))
  expect(humanSize(1_982_260, 4)).toBe('1.982MB')
})
