import { expect, test } from 'bun:test'
import { parseDurationMs } from './events.ts'

test.each([
  ['5s', 5000],
  ['500ms', 500],
  ['1m30s', 90_000],
  ['1.5h', 5_400_000],
] as const)('parseDurationMs() reads %p', (text, ms) => {
  expect(parseDurationMs(text)).toBe(ms)
})

test.each(['', '5', '0s', '-1s', '5 s', '1d', 's'])('parseDurationMs() refuses %p', text => {
  expect(() => parseDurationMs(text)).toThrow(`Cannot use interval "${text}"`)
})
