/** An attribute's name, by Linux. */
const NAME_LIMIT_BYTES = 255

/**
 * Whether an extended attribute means the same on every machine. Labels of a security module belong to the machine that wrote them;
 * `trusted.overlay.*`, `user.overlay.*` and fuse-overlayfs's own would let a layer redirect look-ups in the layers below it.
 */
export function isPortableXattr(name: string): boolean {
  if (name.includes('\0') || name.length > NAME_LIMIT_BYTES) return false
  if (name.startsWith('user.')) return !/^user\.(?:overlay|fuseoverlayfs)\./.test(name)
  return ['security.capability', 'system.posix_acl_access', 'system.posix_acl_default'].includes(name)
}
