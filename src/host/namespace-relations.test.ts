import { describe, expect, test } from 'bun:test'
import { parseNamespaceInfo } from './namespace-relations.ts'

interface Info {
  readonly type: number
  readonly uid?: number
  readonly inode: bigint
  readonly parent?: bigint
  readonly owner?: bigint
  readonly parentErrno?: number
  readonly ownerErrno?: number
}

function bytes(info: Info): Uint8Array {
  const view = new DataView(new ArrayBuffer(48))
  view.setUint32(0, info.type, true)
  view.setUint32(4, info.uid ?? 0xffff_ffff, true)
  view.setBigUint64(16, info.inode, true)
  view.setBigUint64(24, info.parent ?? 0n, true)
  view.setBigUint64(32, info.owner ?? 0n, true)
  view.setInt32(40, info.parentErrno ?? 0, true)
  view.setInt32(44, info.ownerErrno ?? 0, true)
  return new Uint8Array(view.buffer)
}

describe('parseNamespaceInfo()', () => {
  test('reads a user namespace with its parent', () => {
    const info = parseNamespaceInfo(bytes({ type: 0x10000000, uid: 1000, inode: 7n, parent: 5n, owner: 5n }))
    expect(info).toEqual({ relation: { type: 'user', inode: 7, parent: 5, owner: 5, ownerUid: 1000 }, hidden: false })
  })

  test('a kind that does not nest has no parent, which hides nothing', () => {
    const info = parseNamespaceInfo(bytes({ type: 0x40000000, inode: 8n, owner: 5n, parentErrno: 22 }))
    expect(info).toMatchObject({ relation: { type: 'network', parent: null, owner: 5, ownerUid: null }, hidden: false })
  })

  test('EPERM hides parent and owner, but the initial user namespace has none', () => {
    const denied = { type: 0x10000000, parentErrno: 1, ownerErrno: 1 }
    expect(parseNamespaceInfo(bytes({ ...denied, inode: 9n }))).toMatchObject({ hidden: true })
    expect(parseNamespaceInfo(bytes({ ...denied, inode: 0xefff_fffdn }))).toMatchObject({ hidden: false })
  })

  test('leaves out a kind of namespace that a later kernel may have', () => {
    expect(parseNamespaceInfo(bytes({ type: 0x1, inode: 9n }))).toBeUndefined()
  })

  test('throws on a short record', () => {
    expect(() => parseNamespaceInfo(new Uint8Array(47))).toThrow(RangeError)
  })
})
