import { expect, test } from 'bun:test'
import { runcTable } from './list.ts'

test("runcTable() pads as runc's tables do: 12 columns or the widest and 3, the last one as it is", () => {
  const text = runcTable([
    ['ID', 'PID', 'STATUS', 'BUNDLE', 'CREATED', 'OWNER'],
    ['a-long-container', '7', 'running', '/tmp/b', '2026-01-02T03:04:05.6Z', 'root'],
  ])
  expect(text).toBe(
    'ID                 PID         STATUS      BUNDLE      CREATED                  OWNER\n' +
      'a-long-container   7           running     /tmp/b      2026-01-02T03:04:05.6Z   root\n',
  )
})

test('runcTable() shows control characters instead of sending them to the terminal', () => {
  expect(runcTable([['a\x1b[2J']])).toBe('a\\x1b[2J\n')
})
