import { describe, expect, test } from 'bun:test'
import { digestAlgorithm, digestHex, parseDigest } from './digest.ts'

const hex = '0123456789abcdef'.repeat(4)

describe('parseDigest()', () => {
  test.each([
    [`sha256:${hex}`, 'sha256', hex],
    [`sha512:${hex}${hex}`, 'sha512', `${hex}${hex}`],
  ])('accepts %s', (text, algorithm, encoded) => {
    const digest = parseDigest(text)
    expect<string>(digestAlgorithm(digest)).toBe(algorithm)
    expect(digestHex(digest)).toBe(encoded)
  })

  test.each([
    ['', /no algorithm:encoded/],
    [hex, /no algorithm:encoded/],
    [`SHA256:${hex}`, /no algorithm:encoded/],
    [`sha256:${hex.toUpperCase()}`, /lower-case hexadecimal/],
    [`sha256:${hex.slice(1)}`, /expected 64/],
    [`sha512:${hex}`, /expected 128/],
    ['sha256:../../../etc/passwd', /no algorithm:encoded/],
    [`sha256:${hex}\n`, /no algorithm:encoded|64/],
    [`md5:${hex}`, /the algorithm is md5/],
    [`constructor:${hex}`, /the algorithm is constructor/],
  ])('refuses %j', (text, message) => expect(() => parseDigest(text)).toThrow(message))
})
