import { describe, expect, test } from 'bun:test'
import { parseRetryAfter, refusalError, shortUrl } from './registry-error.ts'

const NOW = Date.parse('2026-01-01T00:00:00Z')

test.each([
  [null, null],
  ['0', 0],
  ['120', 120_000],
  ['Thu, 01 Jan 2026 00:00:30 GMT', 30_000],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ['soon', null],
  ['-5', null],
  ['99999999999999999999', null],
])('parseRetryAfter() reads %j as %p milliseconds', (value, expected) => {
  expect(parseRetryAfter(value, NOW)).toBe(expected)
})

test.each([
  ['https://a.test/v2/x?token=secret#part', 'https://a.test/v2/x?…'],
  ['https://user:secret@a.test:5000/v2/', 'https://a.test:5000/v2/'],
])('shortUrl() shows %s as %s', (url, expected) => expect(shortUrl(url)).toBe(expected))

describe('refusalError()', () => {
  const refusal = {
    action: 'fetch manifest "registry.test/app:1"',
    method: 'GET',
    url: 'https://registry.test/v2/app/manifests/1?x=y',
    status: 404,
    headers: new Headers(),
    body: '',
    secrets: [],
    host: 'registry.test',
    hasCredentials: false,
  }
  const messageOf = (facts: Partial<typeof refusal>) => refusalError({ ...refusal, ...facts }, NOW).message
  const prefix = 'Cannot fetch manifest "registry.test/app:1": GET https://registry.test/v2/app/manifests/1?… gave'

  test.each([
    [{}, ' 404'],
    [{ body: '{"errors":[{"code":"A","message":"b"},{"code":"C"}]}' }, ' 404 (A: b; C)'],
    [{ body: '{"errors":[{"code":"A","message":null}]}' }, ' 404 (A)'],
    [{ body: '{"errors":"x"}' }, ' 404'],
    [{ body: '{' }, ' 404'],
    [{ body: '<html>' }, ' 404'],
    [{ status: 401 }, ' 401; nobody is logged in to registry.test; see "berth login registry.test"'],
    [
      { status: 403, hasCredentials: true },
      ' 403; the account that is logged in to registry.test may not do this, or its password has changed; see "berth login registry.test"',
    ],
    [{ status: 413 }, ' 413; the registry, or a proxy before it, takes no request of this size'],
    [
      { status: 400, body: 'Client sent an HTTP request to an HTTPS server.' },
      ' 400; set server = "https://registry.test" in registries.d/registry.test/hosts.toml when the registry speaks https',
    ],
  ])('of %j says%s', (facts, expected) => expect(messageOf(facts)).toBe(prefix + expected))

  test.each([
    [400, 'invalidArgument', false],
    [401, 'unauthorized', false],
    [403, 'forbidden', false],
    [404, 'notFound', false],
    [429, 'unavailable', true],
    [500, 'unavailable', true],
    [418, 'unavailable', false],
  ])('of %d is %s', (status, category, isTransient) => {
    expect(refusalError({ ...refusal, status }, NOW)).toMatchObject({ status, category, isTransient })
  })
})
