import { describe, expect, test } from 'bun:test'
import { aclValue, capabilityValue } from '../../test/support/xattr.ts'
import { containerId, shiftXattr } from './id-shift.ts'

const SHIFT = { start: 1_400_000, size: 65_536 }

describe('containerId()', () => {
  test.each([
    [1_400_000, 0],
    [1_465_535, 65_535],
    [1_465_536, null],
    [1_399_999, null],
    [0, null],
  ])('%d of the host is %p', (host, id) => expect(containerId(host, SHIFT)).toBe(id))
  test('is the id itself without a range', () => expect(containerId(7, null)).toBe(7))
})

describe('shiftXattr()', () => {
  const shift = (name: string, value: Buffer): Buffer | null => {
    const shifted = shiftXattr(name, value.toString('latin1'), SHIFT)
    return shifted === null ? null : Buffer.from(shifted, 'latin1')
  }

  test("makes a capability of the container's root one of revision 2", () =>
    expect(shift('security.capability', capabilityValue(1_400_000))).toEqual(capabilityValue()))
  test('keeps that of another root with its id', () =>
    expect(shift('security.capability', capabilityValue(1_400_007))).toEqual(capabilityValue(7)))
  test('drops that of a root the container does not have, and a malformed one', () => {
    expect(shift('security.capability', capabilityValue(7))).toBeNull()
    expect(shift('security.capability', Buffer.from('x'))).toBeNull()
  })
  test('shifts the users and groups of an ACL, and nothing else in it', () =>
    expect(shift('system.posix_acl_access', aclValue(1_400_001, 1_400_002))).toEqual(aclValue(1, 2)))
  test("drops an ACL with ids that are not the container's", () =>
    expect(shift('system.posix_acl_default', aclValue(1, 1_400_002))).toBeNull())
  test('leaves others as they are', () => expect(shift('user.x', Buffer.from('y'))).toEqual(Buffer.from('y')))
})
