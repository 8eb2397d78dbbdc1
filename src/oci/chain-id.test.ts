import { expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { chainIdOf } from './chain-id.ts'
import { parseDigest } from './digest.ts'

const [a, b, c] = ['a', 'b', 'c'].map(digit => parseDigest(`sha256:${digit.repeat(64)}`))

function hash(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}

test('chainIdOf() is the diffID of a single layer, and hashes each further one with what is below it', () => {
  if (a === undefined || b === undefined || c === undefined) throw new Error('three digests')
  expect(chainIdOf([])).toBeNull()
  expect<string | null>(chainIdOf([a])).toBe(a)
  expect<string | null>(chainIdOf([a, b])).toBe(hash(`${a} ${b}`))
  expect<string | null>(chainIdOf([a, b, c])).toBe(hash(`${hash(`${a} ${b}`)} ${c}`))
  expect(chainIdOf([a, b, c])).not.toBe(chainIdOf([a, c, b]))
})
