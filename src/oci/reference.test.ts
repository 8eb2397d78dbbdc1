import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { FUZZ_TIMEOUT_MS, fuzzRuns, mutationsOf } from '../../test/support/fuzz.ts'
import { BerthError } from '../lib/error.ts'
import { parseDigest } from './digest.ts'
import {
  familiarReference,
  parseReference,
  printReference,
  printRepository,
  type Reference,
  withDefaultTag,
} from './reference.ts'

const hex = '0123456789abcdef'.repeat(4)
const digest = `sha256:${hex}`
const longPath = 'a'.repeat(255)

const good: readonly (readonly [text: string, printed: string, familiar: string])[] = [
  ['debian', 'docker.io/library/debian', 'debian'],
  ['debian:bookworm', 'docker.io/library/debian:bookworm', 'debian:bookworm'],
  ['user/app', 'docker.io/user/app', 'user/app'],
  ['docker.io/debian', 'docker.io/library/debian', 'debian'],
  ['docker.io/library/debian', 'docker.io/library/debian', 'debian'],
  ['index.docker.io/debian:12', 'docker.io/library/debian:12', 'debian:12'],
  ['Index.Docker.IO/user/app', 'docker.io/user/app', 'user/app'],
  ['library/debian', 'docker.io/library/debian', 'debian'],
  ['library/user/app', 'docker.io/library/user/app', 'library/user/app'],
  ['example.com/app', 'example.com/app', 'example.com/app'],
  ['EXAMPLE.com/app:Tag', 'example.com/app:Tag', 'example.com/app:Tag'],
  ['example.com:5000/a/b/c:1', 'example.com:5000/a/b/c:1', 'example.com:5000/a/b/c:1'],
  ['localhost/app', 'localhost/app', 'localhost/app'],
  ['Localhost:5000/app', 'localhost:5000/app', 'localhost:5000/app'],
  ['localhost:5000', 'docker.io/library/localhost:5000', 'localhost:5000'],
  ['localhost', 'docker.io/library/localhost', 'localhost'],
  ['docker.io/localhost/app', 'docker.io/localhost/app', 'docker.io/localhost/app'],
  ['docker.io/example.com/app', 'docker.io/example.com/app', 'docker.io/example.com/app'],
  ['docker.io/library/localhost/app', 'docker.io/library/localhost/app', 'library/localhost/app'],
  ['registry:5000/app', 'registry:5000/app', 'registry:5000/app'],
  ['192.0.2.1/app', '192.0.2.1/app', '192.0.2.1/app'],
  ['[::1]:5000/app', '[::1]:5000/app', '[::1]:5000/app'],
  ['[2001:DB8:0:0:0::1]/app', '[2001:db8::1]/app', '[2001:db8::1]/app'],
  ['xn--bcher-kva.example/app', 'xn--bcher-kva.example/app', 'xn--bcher-kva.example/app'],
  ['a.b_c__d-e---f', 'docker.io/library/a.b_c__d-e---f', 'a.b_c__d-e---f'],
  [`debian@${digest}`, `docker.io/library/debian@${digest}`, `debian@${digest}`],
  [`debian:12@${digest}`, `docker.io/library/debian:12@${digest}`, `debian:12@${digest}`],
  [`a@sha512:${hex}${hex}`, `docker.io/library/a@sha512:${hex}${hex}`, `a@sha512:${hex}${hex}`],
  [`debian:_${'x'.repeat(127)}`, `docker.io/library/debian:_${'x'.repeat(127)}`, `debian:_${'x'.repeat(127)}`],
  [`example.com/${longPath}`, `example.com/${longPath}`, `example.com/${longPath}`],
  [`library/${hex}`, `docker.io/library/${hex}`, `library/${hex}`],
  [`${hex}:tag`, `docker.io/library/${hex}:tag`, `${hex}:tag`],
  [`${hex.slice(1)}`, `docker.io/library/${hex.slice(1)}`, hex.slice(1)],
  ['sha256:short', 'docker.io/library/sha256:short', 'sha256:short'],
]

const bad: readonly (readonly [text: string, reason: string])[] = [
  ['', 'it names no repository'],
  [':tag', 'it names no repository'],
  [`@${digest}`, 'it names no repository'],
  ['example.com/', 'it names no repository'],
  ['example.com/:tag', 'it names no repository'],
  ['/debian', 'a component of the repository is empty'],
  ['user//app', 'a component of the repository is empty'],
  ['user/', 'a component of the repository is empty'],
  ['example.com//app', 'a component of the repository is empty'],
  ['Debian', 'the repository has "Debian", expected lower-case'],
  ['User/app', 'the repository has "User", expected lower-case'],
  ['example.com/user/App', 'the repository has "App", expected lower-case'],
  ['-debian', 'the repository has "-debian"'],
  ['debian-', 'the repository has "debian-"'],
  ['a..b', 'the repository has "a..b"'],
  ['a___b', 'the repository has "a___b"'],
  ['a._b', 'the repository has "a._b"'],
  ['../etc/passwd', 'the host is ".."'],
  ['user/../app', 'the repository has ".."'],
  ['debian bookworm', 'the repository has "debian bookworm"'],
  ['debian\0', '"debian\\u0000"'],
  ['debian\n', '"debian\\n"'],
  ['dèbian', 'the repository has "dèbian"'],
  ['https://example.com/app', 'it is a URL, expected a name without https://'],
  ['docker://debian', 'expected a name without docker://'],
  ['debian:', 'the tag is ""'],
  ['debian:-x', 'the tag is "-x"'],
  ['debian:.x', 'the tag is ".x"'],
  ['debian:a:b', 'the tag is "a:b"'],
  ['debian:a b', 'the tag is "a b"'],
  [`debian:${'x'.repeat(129)}`, 'at most 128'],
  ['debian@', "the digest can't be used"],
  ['debian@sha256:abc', 'expected 64 lower-case'],
  [`debian@sha256:${hex.toUpperCase()}`, 'expected 64 lower-case'],
  [`debian@${digest}@${digest}`, "the digest can't be used"],
  [`debian@${digest}:tag`, "the digest can't be used"],
  [`debian@md5:${hex.slice(32)}`, 'the algorithm is md5'],
  [hex, 'it is the ID of an image'],
  [digest, 'it is the ID of an image'],
  [`sha512:${hex}${hex}`, 'it is the ID of an image'],
  ['example.com:0/app', 'the port is "0"'],
  ['example.com:65536/app', 'the port is "65536"'],
  ['example.com:080/app', 'the port is "080"'],
  ['example.com:/app', 'the port is ""'],
  ['example.com:5000:1/app', 'the port is "5000:1"'],
  ['-example.com/app', 'the host is "-example.com"'],
  ['example-.com/app', 'the host is "example-.com"'],
  ['example..com/app', 'the host is "example..com"'],
  ['.example.com/app', 'the host is ".example.com"'],
  ['example.com./app', 'the host is "example.com."'],
  ['exa_mple.com/app', 'the host is "exa_mple.com"'],
  ['user@example.com/app', "the digest can't be used"],
  ['127.1/app', 'the host is "127.1"'],
  ['0x7f.0.0.1/app', 'the host is "0x7f.0.0.1"'],
  ['192.0.2.999/app', 'the host is "192.0.2.999"'],
  ['[::1/app', 'the host is "[:'],
  ['[::g]/app', 'the host is "[::g]"'],
  ['[1:2:3]/app', 'the host is "[1:2:3]"'],
  ['[fe80::1%eth0]/app', 'the host is "[fe80::1%eth0]"'],
  [`example.com/${longPath}a`, 'the repository has 256 characters, expected at most 255'],
  ['a'.repeat(248), 'the repository has 256 characters'],
  [`${'a.'.repeat(130)}com/app`, 'the domain has 263 characters'],
  ['a/'.repeat(513), 'it has 1026 characters'],
]

describe('parseReference()', () => {
  test.each(good)('reads %s', (text, printed, familiar) => {
    const reference = parseReference(text)
    expect(printReference(reference)).toBe(printed)
    expect(familiarReference(reference)).toBe(familiar)
    expect(parseReference(printed)).toEqual(reference)
    expect(parseReference(familiar)).toEqual(reference)
  })

  test.each(bad)('refuses %j', (text, reason) => {
    expect(() => parseReference(text)).toThrow(BerthError)
    expect(() => parseReference(text)).toThrow('Cannot parse reference "')
    expect(() => parseReference(text)).toThrow(reason)
  })

  test('takes a reference apart', () => {
    expect(parseReference(`registry.test:5000/team/app:1.0@${digest}`)).toEqual({
      domain: 'registry.test:5000',
      path: 'team/app',
      tag: '1.0',
      digest: parseDigest(digest),
    })
  })

  test('shortens what it quotes of a long text', () => {
    expect(() => parseReference(`${'X'.repeat(100_000)}`)).toThrow(/^.{1,300}$/)
  })
})

describe('withDefaultTag()', () => {
  test.each([
    ['debian', 'debian:latest'],
    ['debian:12', 'debian:12'],
    [`debian@${digest}`, `debian@${digest}`],
  ])('of %s gives %s', (text, expected) => {
    expect(familiarReference(withDefaultTag(parseReference(text)))).toBe(expected)
  })
})

test('printRepository() leaves tag and digest out', () => {
  expect(printRepository(parseReference(`debian:12@${digest}`))).toBe('docker.io/library/debian')
})

const word = fc.stringMatching(/^[a-z0-9]{1,8}$/)
const component = fc.oneof(
  word,
  fc.tuple(word, fc.constantFrom('.', '_', '__', '-', '--'), word).map(parts => parts.join('')),
  fc.constantFrom('localhost', 'library', 'docker.io', hex),
)
const label = fc.stringMatching(/^[a-z]([a-z-]{0,6}[a-z])?$/).filter(text => !text.startsWith('xn-'))
const host = fc.oneof(
  fc.tuple(label, label).map(labels => labels.join('.')),
  fc.constantFrom('localhost', 'docker.io', 'index.docker.io', '[::1]', '[2001:db8::7]', '192.0.2.7'),
)
const domain = fc.oneof(
  host,
  fc.tuple(fc.oneof(host, label), fc.integer({ min: 1, max: 65535 })).map(parts => parts.join(':')),
)
const reference: fc.Arbitrary<Reference> = fc
  .record({
    domain: domain.map(each => (each === 'index.docker.io' ? 'docker.io' : each)),
    path: fc.array(component, { minLength: 1, maxLength: 3 }).map(parts => parts.join('/')),
    tag: fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/)),
    digest: fc.option(fc.constantFrom(parseDigest(digest), parseDigest(`sha512:${hex}${hex}`))),
  })
  .map(each =>
    each.domain === 'docker.io' && !each.path.includes('/') ? { ...each, path: `library/${each.path}` } : each,
  )

test(
  'parseReference() reads back what printReference() and familiarReference() write',
  () => {
    fc.assert(
      fc.property(reference, each => {
        expect(parseReference(printReference(each))).toEqual(each)
        expect(parseReference(familiarReference(each))).toEqual(each)
      }),
      fuzzRuns(500),
    )
  },
  FUZZ_TIMEOUT_MS,
)

test(
  'parseReference() of mutated references is a reference that reads back, or a BerthError',
  () => {
    fc.assert(
      fc.property(mutationsOf(good.map(([text]) => text)), bytes => {
        const text = Buffer.from(bytes).toString('latin1')
        let parsed: Reference
        try {
          parsed = parseReference(text)
        } catch (error) {
          expect(error).toBeInstanceOf(BerthError)
          return
        }
        expect(parseReference(printReference(parsed))).toEqual(parsed)
        expect(parseReference(familiarReference(parsed))).toEqual(parsed)
        expect(printReference(parsed)).toMatch(/^[A-Za-z0-9_.:@[\]/-]+$/)
      }),
      fuzzRuns(3000),
    )
  },
  FUZZ_TIMEOUT_MS,
)
