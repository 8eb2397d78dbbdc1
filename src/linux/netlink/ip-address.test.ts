import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { formatIpAddress, parseIpAddress } from './ip-address.ts'

describe('parseIpAddress()', () => {
  test.each([
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['::', '::'],
    ['::1', '::1'],
    ['fe80::', 'fe80::'],
    ['2001:DB8::1', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['::192.0.2.1', '::c000:201'],
    ['1:2:3:4:5:6:192.0.2.1', '1:2:3:4:5:6:c000:201'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ])('reads %s', (text, canonical) => {
    const bytes = parseIpAddress(text)
    expect(bytes && formatIpAddress(bytes)).toBe(canonical)
  })

  test.each([
    ['', 'empty'],
    ['1.2.3', 'three numbers'],
    ['1.2.3.4.5', 'five numbers'],
    ['1.2.3.256', 'a number over 255'],
    ['01.2.3.4', 'a leading zero, octal to some'],
    [' 1.2.3.4', 'a space'],
    ['1:2:3:4:5:6:7', 'seven groups'],
    ['1:2:3:4:5:6:7:8:9', 'nine groups'],
    ['1:2:3:4:5:6:7:8::', '"::" for no group'],
    ['1::2::3', 'two "::"'],
    [':::', 'three colons'],
    [':1::2', 'a colon in front'],
    ['1:', 'a colon at the end'],
    ['12345::', 'five digits'],
    ['1.2.3.4::', 'IPv4 in front'],
    ['fe80::1%eth0', 'a zone'],
    ['g::', 'no hexadecimal digit'],
  ])('rejects %p: %s', text => {
    expect(parseIpAddress(text)).toBeUndefined()
  })

  test('reads every address that formatIpAddress() writes', () => {
    const v4 = fc.uint8Array({ minLength: 4, maxLength: 4 })
    const v6 = fc
      .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 255 })), { minLength: 16, maxLength: 16 })
      .map(numbers => Uint8Array.from(numbers))
    fc.assert(
      fc.property(fc.oneof(v4, v6), bytes => {
        expect(parseIpAddress(formatIpAddress(bytes))).toEqual(bytes)
      }),
    )
  })
})
