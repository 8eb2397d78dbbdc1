/**
 * Flags of open(2), openat2(2) and the `*at` calls, and the file types of inode(7), in their generic numbering
 * (x86-64; arm64 differs only in O_DIRECTORY, O_NOFOLLOW, O_DIRECT and O_LARGEFILE, see `openFlagsOf`).
 */

export const O_RDONLY = 0
export const O_WRONLY = 0o1
export const O_RDWR = 0o2
export const O_ACCMODE = 0o3
export const O_CREAT = 0o100
export const O_EXCL = 0o200
export const O_NOCTTY = 0o400
export const O_TRUNC = 0o1000
export const O_APPEND = 0o2000
export const O_NONBLOCK = 0o4000
export const O_DSYNC = 0o10000
export const O_DIRECT = 0o40000
export const O_LARGEFILE = 0o100000
export const O_DIRECTORY = 0o200000
export const O_NOFOLLOW = 0o400000
export const O_NOATIME = 0o1000000
export const O_CLOEXEC = 0o2000000
export const O_SYNC = 0o4010000
export const O_PATH = 0o10000000
export const O_TMPFILE = 0o20200000

/** How openat2(2) may resolve a path. */
export const RESOLVE_NO_XDEV = 0x01
export const RESOLVE_NO_MAGICLINKS = 0x02
export const RESOLVE_NO_SYMLINKS = 0x04
export const RESOLVE_BENEATH = 0x08
export const RESOLVE_IN_ROOT = 0x10
export const RESOLVE_CACHED = 0x20

export const AT_FDCWD = -100
export const AT_SYMLINK_NOFOLLOW = 0x100
/** faccessat(2) only; shares its number with AT_REMOVEDIR. */
export const AT_EACCESS = 0x200
/** unlinkat(2) only. */
export const AT_REMOVEDIR = 0x200
export const AT_SYMLINK_FOLLOW = 0x400
export const AT_NO_AUTOMOUNT = 0x800
export const AT_EMPTY_PATH = 0x1000
/** mount_setattr(2) and open_tree(2): the whole mount tree. */
export const AT_RECURSIVE = 0x8000

export const S_IFMT = 0o170000
export const S_IFIFO = 0o010000
export const S_IFCHR = 0o020000
export const S_IFDIR = 0o040000
export const S_IFBLK = 0o060000
export const S_IFREG = 0o100000
export const S_IFLNK = 0o120000
export const S_IFSOCK = 0o140000

/** The four flags whose numbers are per architecture, where arm64 departs from the generic ones. */
const ARM64: readonly (readonly [generic: number, arm64: number])[] = [
  [O_DIRECTORY, 0o40000],
  [O_NOFOLLOW, 0o100000],
  [O_DIRECT, 0o200000],
  [O_LARGEFILE, 0o400000],
]

/** Flags as written here → flags as the kernel of an architecture numbers them. */
export function openFlagsOf(arch: 'x64' | 'arm64', flags: number): number {
  if (arch === 'x64') return flags
  let rest = flags
  let result = 0
  for (const [generic, arm64] of ARM64) {
    if ((rest & generic) === 0) continue
    rest &= ~generic
    result |= arm64
  }
  return result | rest
}
