import { describe, expect, test } from 'bun:test'
import { bestMatch, linuxPlatform, type Platform, parsePlatform, platformDistance, printPlatform } from './platform.ts'

describe('parsePlatform()', () => {
  test.each([
    ['linux/amd64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['aarch64', 'linux/arm64'],
    ['linux/armhf', 'linux/arm/v7'],
    ['Linux/ARM/v6', 'linux/arm/v6'],
    ['constructor', 'linux/constructor'],
  ])('reads %s as %s', (text, expected) => expect(printPlatform(parsePlatform(text))).toBe(expected))

  test.each(['', 'linux/', 'a/b/c/d', 'linux/amd 64', '/'])('refuses %j', text => {
    expect(() => parsePlatform(text)).toThrow(/expected os\/architecture/)
  })
})

test("linuxPlatform() takes Node's names", () => {
  expect(['x64', 'arm64', 'ia32'].map(arch => printPlatform(linuxPlatform(arch)))).toEqual([
    'linux/amd64',
    'linux/arm64',
    'linux/386',
  ])
})

describe('platformDistance()', () => {
  test.each<[string, string, number | null]>([
    ['linux/amd64', 'linux/amd64', 0],
    ['linux/amd64', 'linux/amd64/v1', 0],
    ['linux/amd64', 'linux/amd64/v3', null],
    ['linux/amd64/v3', 'linux/amd64', 2],
    ['linux/arm64', 'linux/arm64/v8', 0],
    ['linux/arm/v7', 'linux/arm/v6', 1],
    ['linux/arm/v6', 'linux/arm/v7', null],
    ['linux/arm64', 'linux/arm/v8', null],
    ['linux/amd64', 'windows/amd64', null],
    ['linux/amd64', 'unknown/unknown', null],
    ['linux/riscv64', 'linux/riscv64', 0],
  ])('of %s to %s is %j', (wanted, offered, distance) => {
    expect(platformDistance(parsePlatform(wanted), parsePlatform(offered))).toBe(distance)
  })
})

test('platformDistance() is null for what needs a feature that is not there', () => {
  const plain = parsePlatform('linux/amd64')
  const withFeature = { ...plain, 'os.features': ['x'] }
  expect(platformDistance(plain, withFeature)).toBeNull()
  expect(platformDistance(withFeature, withFeature)).toBe(0)
  expect(platformDistance(withFeature, plain)).toBe(0)
  expect(platformDistance(plain, { ...plain, 'os.version': '1', 'os.features': [] })).toBe(0)
})

test('bestMatch() takes the newest variant that runs, and nothing that does not say what it is for', () => {
  const of = (text: string) => ({ platform: parsePlatform(text) })
  const candidates: readonly { readonly platform?: Platform }[] = [
    {},
    of('linux/arm/v5'),
    of('linux/arm/v6'),
    of('linux/arm/v8'),
    of('linux/arm/v6'),
  ]
  expect<unknown>(bestMatch(parsePlatform('linux/arm/v7'), candidates)).toBe(candidates[2])
  expect(bestMatch(parsePlatform('linux/amd64'), candidates)).toBeUndefined()
})
