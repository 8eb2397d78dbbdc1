import { expect, test } from 'bun:test'
import { checkOciVersion } from './oci-version.ts'

test.each(['1.0.0', '1.0.2-dev', '1.1.0-rc.1', '1.3.0', '1.3.7+build'])('checkOciVersion() accepts %p', version => {
  expect(checkOciVersion(version)).toEqual([])
})

test('checkOciVersion() warns of a later 1.x', () => {
  expect(checkOciVersion('1.10.0')).toEqual([
    'config.json has ociVersion 1.10.0, which is later than 1.3.0: its newer properties are ignored',
  ])
})

test.each(['0.9.0', '1.0.0-rc5', '2.0.0', '10.0.0', '1.0', ''])('checkOciVersion() refuses %p', version => {
  expect(() => checkOciVersion(version)).toThrow('expected 1.0.0 or a later 1.x')
})
