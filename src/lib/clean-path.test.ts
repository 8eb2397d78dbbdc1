import { expect, test } from 'bun:test'
import { cleanPath } from './clean-path.ts'

test.each([
  ['/proc', '/proc'],
  ['//proc/', '/proc'],
  ['/a/./b/../c', '/a/c'],
  ['/../..', '/'],
  ['', '/'],
  ['/', '/'],
  ['relative/.', '/relative'],
  ['/..a/b..', '/..a/b..'],
])('cleanPath() of "%s" is "%s"', (path, expected) => expect(cleanPath(path)).toBe(expected))
