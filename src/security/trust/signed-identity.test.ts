import { describe, expect, test } from 'bun:test'
import { matchesIdentity } from './signed-identity.ts'
import type { SignedIdentity } from './trust-policy.ts'

const DIGEST = `@sha256:${'a'.repeat(64)}`
const remap = (prefix: string, signedPrefix: string): SignedIdentity => ({
  type: 'remapIdentity',
  prefix,
  signedPrefix,
})
const exactReference = (dockerReference: string): SignedIdentity => ({ type: 'exactReference', dockerReference })
const exactRepository = (dockerRepository: string): SignedIdentity => ({ type: 'exactRepository', dockerRepository })
const [exact, byTag, repository] = (['matchExact', 'matchRepoDigestOrExact', 'matchRepository'] as const).map(type => ({
  type,
}))

type Row = readonly [rule: SignedIdentity | undefined, wanted: string | null, signed: string, matches: boolean]

describe('matchesIdentity()', () => {
  const rows: readonly Row[] = [
    [exact, 'example.com/a:1', 'example.com/a:1', true],
    [exact, 'docker.io/library/a:1', 'a:1', true],
    [exact, 'example.com/a:1', 'example.com/a:2', false],
    [exact, 'example.com/a:1', 'example.com/a', false],
    [exact, `example.com/a${DIGEST}`, 'example.com/a:1', false],
    [exact, `example.com/a${DIGEST}`, `example.com/a${DIGEST}`, true],
    [exact, null, 'example.com/a:1', false],
    [byTag, 'example.com/a:1', 'example.com/a:1', true],
    [byTag, 'example.com/a:1', 'example.com/a:2', false],
    [byTag, 'example.com/a:1', 'example.com/a', false],
    [byTag, `example.com/a${DIGEST}`, 'example.com/a:1', true],
    [byTag, `example.com/a${DIGEST}`, 'example.com/b:1', false],
    [repository, 'example.com/a:1', 'example.com/a:2', true],
    [repository, 'example.com/a:1', 'example.com/a', true],
    [repository, 'example.com/a:1', 'example.com/a/b', false],
    [repository, 'example.com/a:1', 'EXAMPLE/a b', false],
    [repository, 'example.com/a:1', '', false],
    [repository, null, 'example.com/a:1', false],
    [exactReference('example.com/a:1'), null, 'example.com/a:1', true],
    [exactReference('example.com/a:1'), 'example.com/a:2', 'example.com/a:2', false],
    [exactRepository('example.com/a'), null, 'example.com/a:7', true],
    [exactRepository('example.com/a'), null, 'example.com/b:7', false],
    [remap('mirror.test/v', 'vendor.test'), 'mirror.test/v/a:1', 'vendor.test/a:1', true],
    [remap('mirror.test/v', 'vendor.test'), 'mirror.test/v/a:1', 'mirror.test/v/a:1', false],
    [remap('mirror.test/v', 'vendor.test'), 'mirror.test/vv/a:1', 'mirror.test/vv/a:1', true],
    [remap('mirror.test/v/a', 'vendor.test/b'), 'mirror.test/v/a:1', 'vendor.test/b:1', true],
    [remap('mirror.test/v/a', 'vendor.test/b'), `mirror.test/v/a${DIGEST}`, 'vendor.test/b:9', true],
    [remap('mirror.test', 'vendor.test'), 'mirror.test:5000/a:1', 'vendor.test:5000/a:1', false],
    [remap('mirror.test:5000', 'vendor.test'), 'mirror.test:5000/a:1', 'vendor.test/a:1', true],
    [remap('mirror.test', 'vendor.test'), null, 'vendor.test/a:1', false],
  ]
  for (const [rule, wanted, signed, matches] of rows) {
    test(`${JSON.stringify(rule)}: ${signed} ${matches ? 'is' : 'is not'} for ${wanted}`, () => {
      expect(rule !== undefined && matchesIdentity(rule, wanted, signed)).toBe(matches)
    })
  }
})
