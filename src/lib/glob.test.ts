import { expect, test } from 'bun:test'
import { matchesGlob } from './glob.ts'

test('matchesGlob() matches as path.Match of Go does', () => {
  const cases: readonly (readonly [text: string, pattern: string, matches: boolean])[] = [
    ['abc', 'abc', true],
    ['abc', '*', true],
    ['abc', '*c', true],
    ['a/b', '*', false],
    ['a/b', '*/*', true],
    ['abc', 'a?c', true],
    ['a/c', 'a?c', false],
    ['', '*', true],
    ['', '', true],
    ['a', '', false],
    ['abc', '[a-c]b[^d]', true],
    ['abc', '[^a]bc', false],
    ['a*', 'a\\*', true],
    ['ab', 'a\\*', false],
    ['a]', 'a[\\]]', true],
    ['aXbXc', 'a*b*c', true],
  ]
  for (const [text, pattern, matches] of cases)
    expect([text, pattern, matchesGlob(text, pattern)]).toEqual([text, pattern, matches])
})

test('matchesGlob() rejects a malformed pattern', () => {
  for (const pattern of ['[', '[a', '[]', '[a-', 'a\\', '[\\'])
    expect(() => matchesGlob('a', pattern)).toThrow('malformed')
})

test('matchesGlob() is quick with a pattern made to be slow', () => {
  expect(matchesGlob('a'.repeat(2000), `${'*a'.repeat(200)}b`)).toBe(false)
})
