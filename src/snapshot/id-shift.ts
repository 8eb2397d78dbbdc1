/** The host ids of a container: its id 0 is `start`. A container without a user namespace has none of its own. */
export interface IdShift {
  readonly start: number
  readonly size: number
}

/** The container's id for one of the host's; null: the container has no such id. */
export function containerId(hostId: number, shift: IdShift | null): number | null {
  if (shift === null) return hostId
  const id = hostId - shift.start
  return id >= 0 && id < shift.size ? id : null
}

/** A portable attribute as it means the same in the container; null: it names an id that the container does not have. */
export function shiftXattr(name: string, value: string, shift: IdShift | null): string | null {
  if (name === 'security.capability') return shiftCapability(value, shift)
  return name.startsWith('system.posix_acl_') ? shiftAcl(value, shift) : value
}

const CAPABILITY_REVISION_MASK = 0xff00_0000
const CAPABILITY_REVISION_2 = 0x0200_0000
const CAPABILITY_REVISION_3 = 0x0300_0000
const CAPABILITY_2_BYTES = 20
const CAPABILITY_3_BYTES = 24

/**
 * `security.capability` as it means the same in the container: revision 3 names the root that it belongs to, which for the container's
 * own root is what revision 2 says without. Null: it belongs to a root that the container does not have, or is malformed.
 * Source: capabilities(7) › File capability extended attribute versioning; linux/capability.h.
 */
function shiftCapability(value: string, shift: IdShift | null): string | null {
  const bytes = Buffer.from(value, 'latin1')
  if (bytes.length < CAPABILITY_2_BYTES) return null
  const magic = bytes.readUInt32LE(0)
  const revision = (magic & CAPABILITY_REVISION_MASK) >>> 0
  if (revision === CAPABILITY_REVISION_2) return value
  if (revision !== CAPABILITY_REVISION_3 || bytes.length !== CAPABILITY_3_BYTES) return null
  const rootId = containerId(bytes.readUInt32LE(CAPABILITY_2_BYTES), shift)
  if (rootId === null) return null
  if (rootId !== 0) {
    bytes.writeUInt32LE(rootId, CAPABILITY_2_BYTES)
    return bytes.toString('latin1')
  }
  bytes.writeUInt32LE(((magic & ~CAPABILITY_REVISION_MASK) | CAPABILITY_REVISION_2) >>> 0, 0)
  return bytes.toString('latin1', 0, CAPABILITY_2_BYTES)
}

const ACL_HEADER_BYTES = 4
const ACL_ENTRY_BYTES = 8
const ACL_USER = 0x02
const ACL_GROUP = 0x08

/**
 * A POSIX ACL with the container's ids. Null: it names an id that the container does not have, or is malformed.
 * Source: acl(5); linux/posix_acl_xattr.h.
 */
function shiftAcl(value: string, shift: IdShift | null): string | null {
  const bytes = Buffer.from(value, 'latin1')
  if (bytes.length < ACL_HEADER_BYTES || (bytes.length - ACL_HEADER_BYTES) % ACL_ENTRY_BYTES !== 0) return null
  for (let at = ACL_HEADER_BYTES; at < bytes.length; at += ACL_ENTRY_BYTES) {
    const tag = bytes.readUInt16LE(at)
    if (tag !== ACL_USER && tag !== ACL_GROUP) continue
    const id = containerId(bytes.readUInt32LE(at + 4), shift)
    if (id === null) return null
    bytes.writeUInt32LE(id, at + 4)
  }
  return bytes.toString('latin1')
}
