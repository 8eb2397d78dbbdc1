import { S_IFCHR, S_IFMT, S_IFREG } from '../linux/open-flags.ts'
import { type FileFacts, isDirectory } from './tree-entry.ts'

/**
 * What overlayfs means by an entry of an upper directory. Source: overlayfs.rst › whiteouts and opaque directories, redirect_dir,
 * metadata only copy up, Nesting overlayfs mounts.
 */
export type OverlayMark =
  | 'none'
  /** Removes what lower layers have under its name. */
  | 'whiteout'
  /** A directory that hides what lower layers have in it. */
  | 'opaque'
  /** A directory whose content is also that of another one in lower layers: it was renamed. */
  | 'redirect'
  /** A file whose content is in a lower layer: only its attributes were changed. */
  | 'metacopy'

const PREFIX = 'trusted.overlay.'

/** Reads the marks of an overlay that was mounted with privileges: those that nobody in a container can set. */
export function overlayMark(facts: Pick<FileFacts, 'mode' | 'major' | 'minor' | 'sizeBytes' | 'xattrs'>): OverlayMark {
  const type = facts.mode & S_IFMT
  if (type === S_IFCHR) return facts.major === 0 && facts.minor === 0 ? 'whiteout' : 'none'
  const { xattrs } = facts
  if (xattrs.size === 0) return 'none'
  if (isDirectory(facts)) {
    if (xattrs.has(`${PREFIX}redirect`)) return 'redirect'
    // "x" only says that whiteouts in it are of the other form.
    return xattrs.get(`${PREFIX}opaque`) === 'y' ? 'opaque' : 'none'
  }
  if (xattrs.has(`${PREFIX}metacopy`)) return 'metacopy'
  return type === S_IFREG && facts.sizeBytes === 0 && xattrs.has(`${PREFIX}whiteout`) ? 'whiteout' : 'none'
}
