import { expect, test } from 'bun:test'
import { nextLink } from './pages.ts'

test.each([
  [null, null],
  ['</v2/_catalog?last=a&n=1>; rel="next"', '/v2/_catalog?last=a&n=1'],
  ['<a>; rel=prev, <b>; rel=next', 'b'],
  ['<a>; title="x, y"; rel="prev next"', 'a'],
  ['<a>; rel="nextish"', null],
  ['<a>', null],
  ['rel=next', null],
])('nextLink() finds in %j the target %p', (header, expected) => expect(nextLink(header)).toBe(expected))
