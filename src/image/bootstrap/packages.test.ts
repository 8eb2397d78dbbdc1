import { describe, expect, test } from 'bun:test'
import { parseStanza, splitStanzas } from './control-file.ts'
import { PackageIndex } from './package-index.ts'
import { isVersionOf, parseRelation } from './relation.ts'
import { parseRelease } from './release-file.ts'
import { orderByPreDepends, resolvePackages } from './resolve-packages.ts'

const SHA = 'a'.repeat(64)
const ARCHIVE = 'http://archive.test/debian'

function stanza(name: string, fields: Readonly<Record<string, string>> = {}): string {
  const all = { Package: name, Version: '1.0', Filename: `pool/${name}.deb`, Size: '10', SHA256: SHA, ...fields }
  return Object.entries(all)
    .map(([field, value]) => `${field}: ${value}`)
    .join('\n')
}

function indexOf(...stanzas: readonly string[]): PackageIndex {
  const index = new PackageIndex()
  index.add(ARCHIVE, `${stanzas.join('\n\n')}\n\n`)
  return index
}

const namesOf = (packages: readonly { readonly name: string }[]): string[] => packages.map(({ name }) => name)

describe('parseStanza()', () => {
  test('reads fields by lower-case name, and continued values line by line', () => {
    const read = parseStanza('Package: a\nDescription: short\n long\n .\nSize:1', 'x')
    expect([...read]).toEqual([
      ['package', 'a'],
      ['description', 'short\nlong\n.'],
      ['size', '1'],
    ])
  })

  test.each([
    ['a line that is no field', 'Package: a\nnonsense'],
    ['a field twice', 'Package: a\npackage: b'],
    ['a continued line before any field', ' a'],
    ['a field without a name', ': a'],
  ])('refuses %s', (_, text) => {
    expect(() => parseStanza(text, 'it')).toThrow('Cannot read it')
  })

  test('splitStanzas() gives stanzas without the empty lines around them', () => {
    expect([...splitStanzas('a: 1\n\nb: 2\nc: 3\n\n\n')]).toEqual(['a: 1', 'b: 2\nc: 3'])
  })
})

describe('parseRelation()', () => {
  test('reads alternatives, versions, architectures and profiles', () => {
    expect(parseRelation('a, b:any (>= 1:2~) | c [amd64], d (<< 3) <!nocheck>', 'x')).toEqual([
      [{ name: 'a', version: null }],
      [
        { name: 'b', version: { operator: '>=', value: '1:2~' } },
        { name: 'c', version: null },
      ],
      [{ name: 'd', version: { operator: '<<', value: '3' } }],
    ])
  })

  test.each(['a b', 'A', 'a (1)', 'a (>= )', '-a', 'a |'])('refuses %p', text => {
    expect(() => parseRelation(text, 'x')).toThrow('Cannot read the relations of package "x"')
  })

  test.each([
    ['<<', '1.0', false],
    ['<=', '1.0', true],
    ['=', '1.0', true],
    ['>=', '1.1', false],
    ['>>', '0.9', true],
  ] as const)('isVersionOf() knows that 1.0 is %s %s: %p', (operator, value, expected) => {
    expect(isVersionOf({ name: 'a', version: { operator, value } }, '1.0')).toBe(expected)
  })
})

describe('resolvePackages()', () => {
  test('takes what is essential or required, what is wanted, and what these need', () => {
    const index = indexOf(
      stanza('base', { Essential: 'yes', 'Pre-Depends': 'libc' }),
      stanza('tools', { Priority: 'required', Depends: 'libz | libzz' }),
      stanza('libc'),
      stanza('libz'),
      stanza('apt', { Depends: 'libz (>= 1)' }),
      stanza('other'),
    )
    expect(namesOf(resolvePackages(index, ['apt']))).toEqual(['apt', 'base', 'libc', 'libz', 'tools'])
  })

  test('prefers an alternative that is chosen already', () => {
    const index = indexOf(
      stanza('a', { Essential: 'yes', Depends: 'mawk | awk' }),
      stanza('mawk', { Provides: 'awk' }),
      stanza('gawk', { Provides: 'awk' }),
    )
    expect(namesOf(resolvePackages(index, ['gawk']))).toEqual(['a', 'gawk'])
    const other = indexOf(
      stanza('a', { Essential: 'yes', Depends: 'awk' }),
      stanza('mawk', { Provides: 'awk' }),
      stanza('zawk', { Provides: 'awk' }),
    )
    expect(namesOf(resolvePackages(other, ['zawk']))).toEqual(['a', 'zawk'])
  })

  test('takes a virtual package of a version only from who provides that version', () => {
    const index = indexOf(
      stanza('a', { Essential: 'yes', Depends: 'v (>= 2)' }),
      stanza('old', { Provides: 'v (= 1)' }),
      stanza('silent', { Provides: 'v' }),
      stanza('young', { Provides: 'v (= 3)' }),
    )
    expect(namesOf(resolvePackages(index, []))).toEqual(['a', 'young'])
  })

  test('takes the newest version of all archives, from where it is', () => {
    const index = indexOf(stanza('a', { Essential: 'yes', Version: '1.0-1' }))
    index.add('http://security.test/debian', `${stanza('a', { Essential: 'yes', Version: '1.0-1+deb12u1' })}\n\n`)
    expect(resolvePackages(index, [])).toMatchObject([
      { version: '1.0-1+deb12u1', archive: 'http://security.test/debian' },
    ])
  })

  test('names who needs a package that no archive has', () => {
    const index = indexOf(stanza('a', { Essential: 'yes', Depends: 'b (>= 2) | c' }), stanza('b'))
    expect(() => resolvePackages(index, [])).toThrow('a needs b (>= 2) | c, and no archive has it')
    expect(() => resolvePackages(index, ['z'])).toThrow('Cannot find package "z"')
  })

  test('ends where packages need each other', () => {
    const index = indexOf(stanza('a', { Essential: 'yes', Depends: 'b' }), stanza('b', { Depends: 'a' }))
    expect(namesOf(resolvePackages(index, []))).toEqual(['a', 'b'])
  })

  test('orderByPreDepends() puts what must be configured first in front, and refuses a circle', () => {
    const index = indexOf(
      stanza('a', { Essential: 'yes', 'Pre-Depends': 'c' }),
      stanza('b', { Essential: 'yes' }),
      stanza('c', { 'Pre-Depends': 'd' }),
      stanza('d'),
    )
    expect(namesOf(orderByPreDepends(resolvePackages(index, [])))).toEqual(['d', 'c', 'a', 'b'])
    const circle = indexOf(stanza('a', { Essential: 'yes', 'Pre-Depends': 'b' }), stanza('b', { 'Pre-Depends': 'a' }))
    expect(() => orderByPreDepends(resolvePackages(circle, []))).toThrow('must be configured before itself')
  })

  test.each([
    ['a path out of the archive', { Filename: '../../etc/passwd' }],
    ['a query', { Filename: 'pool/a.deb?x' }],
    ['no size', { Size: 'many' }],
    ['no digest', { SHA256: 'abc' }],
  ])('refuses a package with %s', (_, fields) => {
    expect(() => resolvePackages(indexOf(stanza('a', { Essential: 'yes', ...fields })), [])).toThrow()
  })
})

describe('parseRelease()', () => {
  const text = `Origin: Test\nSuite: stable\nCodename: bookworm\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nArchitectures: all amd64\nComponents: main\nAcquire-By-Hash: yes\nSHA256:\n ${SHA} 12 main/binary-amd64/Packages.gz\n`

  test('reads dates and files', () => {
    const release = parseRelease(text, 'x')
    expect(release).toMatchObject({
      codename: 'bookworm',
      dateMs: Date.UTC(2026, 6, 11, 10, 16, 37),
      validUntilMs: null,
      hasByHash: true,
    })
    expect([...release.files]).toEqual([
      ['main/binary-amd64/Packages.gz', { digest: `sha256:${SHA}`, sizeBytes: 12 }],
    ] as never)
  })

  test.each([
    ['a date that is none', text.replace('Sat, 11 Jul 2026 10:16:37 UTC', 'yesterday')],
    ['a file without a size', text.replace(' 12 ', ' ')],
    ['no files', text.slice(0, text.indexOf('SHA256'))],
  ])('refuses %s', (_, damaged) => {
    expect(() => parseRelease(damaged, 'the release')).toThrow('Cannot read the release')
  })
})
