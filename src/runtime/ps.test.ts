import { expect, test } from 'bun:test'
import { chooseLines } from './ps.ts'

test('chooseLines() keeps the titles and the lines of the processes, by the PID column wherever it is', () => {
  const output = 'UID   PID  PPID CMD\nroot   12    1 sleep 12\nroot  120   12 sleep 7\n'
  expect(chooseLines(output, [12])).toBe('UID   PID  PPID CMD\nroot   12    1 sleep 12\n')
  expect(chooseLines('  PID COMMAND\n   12 sleep\n', [])).toBe('  PID COMMAND\n')
})

test('chooseLines() refuses output without a PID column', () => {
  expect(() => chooseLines('COMMAND\nsleep\n', [12])).toThrow('no PID column')
})
