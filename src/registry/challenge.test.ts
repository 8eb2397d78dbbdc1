import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { parseChallenges } from './challenge.ts'

describe('parseChallenges()', () => {
  test.each([
    ['', []],
    ['Basic realm="a b"', [{ scheme: 'basic', parameters: { realm: 'a b' } }]],
    [
      'Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a/b:pull,push"',
      [
        {
          scheme: 'bearer',
          parameters: {
            realm: 'https://auth.example.com/token',
            service: 'registry',
            scope: 'repository:a/b:pull,push',
          },
        },
      ],
    ],
    [
      'Negotiate, Basic realm="x", BEARER Realm = "y" , error=invalid_token',
      [
        { scheme: 'negotiate', parameters: {} },
        { scheme: 'basic', parameters: { realm: 'x' } },
        { scheme: 'bearer', parameters: { realm: 'y', error: 'invalid_token' } },
      ],
    ],
    ['Basic realm="a\\"b"', [{ scheme: 'basic', parameters: { realm: 'a"b' } }]],
    [
      'Bearer realm=https://a.example.com/t?x=y',
      [{ scheme: 'bearer', parameters: { realm: 'https://a.example.com/t?x=y' } }],
    ],
    [
      'Basic realm="open',
      [
        { scheme: 'basic', parameters: {} },
        { scheme: 'realm', parameters: {} },
      ],
    ],
  ])('reads %j', (header, expected) => expect(parseChallenges(header)).toEqual(expected))

  test('ends on any text', () => {
    fc.assert(fc.property(fc.string(), header => parseChallenges(header).length <= 10))
  })
})
