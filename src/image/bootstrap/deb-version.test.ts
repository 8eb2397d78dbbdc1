import { expect, test } from 'bun:test'
import { compareDebVersions } from './deb-version.ts'

// Each is older than the next; dpkg --compare-versions agrees with all of them.
const ORDER = [
  '0~~',
  '0~~a',
  '0~',
  '0',
  '0a',
  '0+',
  '0.9',
  '1.0~beta1~svn1245-1',
  '1.0~beta1-1',
  '1.0-0.1',
  '1.0-1',
  '1.0-1+b1',
  '1.0-2',
  '1.0-10',
  '1.0+dfsg-1',
  '1.0.1-1',
  '1.2-3',
  '1.2a-1',
  '1.2aa-1',
  '1.10-1',
  '20240101123456789012345678901-1',
  '20240101123456789012345678902-1',
  '1:0.1-1',
  '2:0-1',
]

test('compareDebVersions() orders as deb-version(7) says', () => {
  for (const [left, a] of ORDER.entries())
    for (const [right, b] of ORDER.entries())
      expect([a, b, Math.sign(compareDebVersions(a, b))]).toEqual([a, b, Math.sign(left - right)])
})

test('compareDebVersions() takes an absent revision for 0, and leading zeros for nothing', () => {
  expect(compareDebVersions('1.0', '1.0-0')).toBe(0)
  expect(compareDebVersions('1.01', '1.1')).toBe(0)
  expect(compareDebVersions('0:1', '1')).toBe(0)
})
