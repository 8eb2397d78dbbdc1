/** Constants of the old and the new mount API: mount(2), umount2(2), open_tree(2), move_mount(2), mount_setattr(2). */

// mount(2) flags; the kernel ignores those of an operation (bind, remount, propagation) that do not apply to it.
export const MS_RDONLY = 1
export const MS_NOSUID = 2
export const MS_NODEV = 4
export const MS_NOEXEC = 8
export const MS_SYNCHRONOUS = 0x10
export const MS_REMOUNT = 0x20
export const MS_MANDLOCK = 0x40
export const MS_DIRSYNC = 0x80
export const MS_NOSYMFOLLOW = 0x100
export const MS_NOATIME = 0x400
export const MS_NODIRATIME = 0x800
export const MS_BIND = 0x1000
export const MS_MOVE = 0x2000
export const MS_REC = 0x4000
export const MS_SILENT = 0x8000
export const MS_POSIXACL = 0x1_0000
export const MS_UNBINDABLE = 0x2_0000
export const MS_PRIVATE = 0x4_0000
export const MS_SLAVE = 0x8_0000
export const MS_SHARED = 0x10_0000
export const MS_RELATIME = 0x20_0000
export const MS_I_VERSION = 0x80_0000
export const MS_STRICTATIME = 0x100_0000
export const MS_LAZYTIME = 0x200_0000

// fsmount(2) and mount_setattr(2): attributes of one mount, not of its filesystem.
export const MOUNT_ATTR_RDONLY = 0x1
export const MOUNT_ATTR_NOSUID = 0x2
export const MOUNT_ATTR_NODEV = 0x4
export const MOUNT_ATTR_NOEXEC = 0x8
/** The field that holds one of RELATIME, NOATIME and STRICTATIME; to change it, clear the whole field. */
export const MOUNT_ATTR__ATIME = 0x70
export const MOUNT_ATTR_RELATIME = 0x00
export const MOUNT_ATTR_NOATIME = 0x10
export const MOUNT_ATTR_STRICTATIME = 0x20
export const MOUNT_ATTR_NODIRATIME = 0x80
/** mount_setattr(2) only, since Linux 5.12. */
export const MOUNT_ATTR_IDMAP = 0x10_0000
/** Since Linux 5.14. */
export const MOUNT_ATTR_NOSYMFOLLOW = 0x20_0000

export const OPEN_TREE_CLONE = 1
/** Equal to O_CLOEXEC. */
export const OPEN_TREE_CLOEXEC = 0o2000000

export const MOVE_MOUNT_F_SYMLINKS = 0x1
export const MOVE_MOUNT_F_AUTOMOUNTS = 0x2
export const MOVE_MOUNT_F_EMPTY_PATH = 0x4
export const MOVE_MOUNT_T_SYMLINKS = 0x10
export const MOVE_MOUNT_T_AUTOMOUNTS = 0x20
export const MOVE_MOUNT_T_EMPTY_PATH = 0x40
/** Since Linux 5.15. */
export const MOVE_MOUNT_SET_GROUP = 0x100
/** Since Linux 6.5. */
export const MOVE_MOUNT_BENEATH = 0x200

export const FSOPEN_CLOEXEC = 1
export const FSMOUNT_CLOEXEC = 1
export const FSPICK_CLOEXEC = 1
export const FSPICK_SYMLINK_NOFOLLOW = 2
export const FSPICK_NO_AUTOMOUNT = 4
export const FSPICK_EMPTY_PATH = 8

export const MNT_FORCE = 1
export const MNT_DETACH = 2
export const MNT_EXPIRE = 4
export const UMOUNT_NOFOLLOW = 8
