import { BerthError } from '../../lib/error.ts'
import { S_IFDIR, S_IFMT } from '../../linux/open-flags.ts'
import type { InodeFacts } from './erofs-image.ts'

const ACCESS = 'system.posix_acl_access'
const DEFAULT = 'system.posix_acl_default'
const CAPABILITY = 'security.capability'

/** Bytes of `security.capability` by the number of its revision. Source: linux/capability.h. */
const CAPABILITY_BYTES: ReadonlyMap<number, number> = new Map([
  [0x02, 20],
  [0x03, 24],
])

/** Kinds of entries of an ACL, in the order in which they stand. Source: linux/posix_acl_xattr.h. */
const TAGS = { owner: 0x01, user: 0x02, group: 0x04, groups: 0x08, mask: 0x10, other: 0x20 } as const
const ACL_VERSION = 2
const HEADER_BYTES = 4
const ENTRY_BYTES = 8

/**
 * What a writable filesystem makes of a file whose attributes are set: an access ACL gives the file its permissions, and is not kept when
 * they say the same. Nobody sets the attributes of an image, so it is done here.
 * @throws {BerthError} invalidArgument: Linux would refuse an attribute
 */
export function withAttributes(facts: InodeFacts): InodeFacts {
  const { xattrs } = facts
  if (xattrs.size === 0) return facts
  const capability = xattrs.get(CAPABILITY)
  if (capability !== undefined && CAPABILITY_BYTES.get(capability.charCodeAt(3)) !== capability.length)
    throw refused(CAPABILITY)
  const initial = xattrs.get(DEFAULT)
  if (initial !== undefined) {
    parseAcl(DEFAULT, initial)
    if ((facts.mode & S_IFMT) !== S_IFDIR) throw refused(DEFAULT)
  }
  const access = xattrs.get(ACCESS)
  const acl = access === undefined ? null : parseAcl(ACCESS, access)
  if (acl === null) return facts
  const group = acl.get(TAGS.mask) ?? acl.get(TAGS.group) ?? 0
  const mode = (facts.mode & ~0o777) | ((acl.get(TAGS.owner) ?? 0) << 6) | (group << 3) | (acl.get(TAGS.other) ?? 0)
  return acl.has(TAGS.mask) ? { ...facts, mode } : { ...facts, mode, xattrs: without(xattrs, ACCESS) }
}

/** Permissions by tag. */
function parseAcl(name: string, value: string): ReadonlyMap<number, number> {
  const bytes = Buffer.from(value, 'latin1')
  const isWhole = bytes.length > HEADER_BYTES && (bytes.length - HEADER_BYTES) % ENTRY_BYTES === 0
  if (!isWhole || bytes.readUInt32LE(0) !== ACL_VERSION) throw refused(name)
  const found = new Map<number, number>()
  let last = 0
  for (let at = HEADER_BYTES; at < bytes.length; at += ENTRY_BYTES) {
    const [tag, permissions] = [bytes.readUInt16LE(at), bytes.readUInt16LE(at + 2)]
    const isMany = tag === TAGS.user || tag === TAGS.groups
    const isKnown = isMany || tag === TAGS.owner || tag === TAGS.group || tag === TAGS.mask || tag === TAGS.other
    if (!isKnown || tag < last || (tag === last && !isMany) || permissions > 7) throw refused(name)
    found.set(tag, permissions)
    last = tag
  }
  const isComplete = [TAGS.owner, TAGS.group, TAGS.other].every(tag => found.has(tag))
  const needsMask = found.has(TAGS.user) || found.has(TAGS.groups)
  if (!isComplete || (needsMask && !found.has(TAGS.mask))) throw refused(name)
  return found
}

function without(xattrs: ReadonlyMap<string, string>, name: string): ReadonlyMap<string, string> {
  return new Map([...xattrs].filter(([each]) => each !== name))
}

function refused(name: string): BerthError {
  return new BerthError(
    'invalidArgument',
    `Cannot unpack the layer: a file has an attribute "${name}" that Linux refuses`,
  )
}
