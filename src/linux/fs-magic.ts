/** What statfs(2) says in `f_type`: which filesystem a file really lies on. Source: include/uapi/linux/magic.h, fs sources. */

export const AUTOFS_SUPER_MAGIC = 0x0187
export const BINFMTFS_MAGIC = 0x42494e4d
export const BPF_FS_MAGIC = 0xcafe4a11
export const BTRFS_SUPER_MAGIC = 0x9123683e
export const CEPH_SUPER_MAGIC = 0x00c36400
export const CGROUP_SUPER_MAGIC = 0x0027e0eb
export const CGROUP2_SUPER_MAGIC = 0x63677270
export const CIFS_SUPER_MAGIC = 0xff534d42
export const DEBUGFS_MAGIC = 0x64626720
export const DEVPTS_SUPER_MAGIC = 0x1cd1
export const ECRYPTFS_SUPER_MAGIC = 0xf15f
export const EROFS_SUPER_MAGIC_V1 = 0xe0f5e1e2
export const EXFAT_SUPER_MAGIC = 0x2011bab0
/** ext2, ext3 and ext4 share it. */
export const EXT4_SUPER_MAGIC = 0xef53
export const F2FS_SUPER_MAGIC = 0xf2f52010
export const FUSE_SUPER_MAGIC = 0x65735546
export const HUGETLBFS_MAGIC = 0x958458f6
export const ISOFS_SUPER_MAGIC = 0x9660
export const MQUEUE_MAGIC = 0x19800202
export const MSDOS_SUPER_MAGIC = 0x4d44
export const NFS_SUPER_MAGIC = 0x6969
export const NSFS_MAGIC = 0x6e736673
export const OVERLAYFS_SUPER_MAGIC = 0x794c7630
export const PIPEFS_MAGIC = 0x50495045
export const PROC_SUPER_MAGIC = 0x9fa0
export const PSTOREFS_MAGIC = 0x6165676c
export const RAMFS_MAGIC = 0x858458f6
export const RDTGROUP_SUPER_MAGIC = 0x07655821
export const SECURITYFS_MAGIC = 0x73636673
export const SELINUX_MAGIC = 0xf97cff8c
export const SMB2_SUPER_MAGIC = 0xfe534d42
export const SOCKFS_MAGIC = 0x534f434b
export const SQUASHFS_MAGIC = 0x73717368
export const SYSFS_MAGIC = 0x62656572
export const TMPFS_MAGIC = 0x01021994
export const TRACEFS_MAGIC = 0x74726163
export const V9FS_MAGIC = 0x01021997
export const VBOXSF_SUPER_MAGIC = 0x786f4256
export const XFS_SUPER_MAGIC = 0x58465342
export const ZFS_SUPER_MAGIC = 0x2fc12fc1

const NAMES: ReadonlyMap<number, string> = new Map([
  [AUTOFS_SUPER_MAGIC, 'autofs'],
  [BINFMTFS_MAGIC, 'binfmt_misc'],
  [BPF_FS_MAGIC, 'bpf'],
  [BTRFS_SUPER_MAGIC, 'btrfs'],
  [CEPH_SUPER_MAGIC, 'ceph'],
  [CGROUP_SUPER_MAGIC, 'cgroup'],
  [CGROUP2_SUPER_MAGIC, 'cgroup2'],
  [CIFS_SUPER_MAGIC, 'cifs'],
  [DEBUGFS_MAGIC, 'debugfs'],
  [DEVPTS_SUPER_MAGIC, 'devpts'],
  [ECRYPTFS_SUPER_MAGIC, 'ecryptfs'],
  [EROFS_SUPER_MAGIC_V1, 'erofs'],
  [EXFAT_SUPER_MAGIC, 'exfat'],
  [EXT4_SUPER_MAGIC, 'ext4'],
  [F2FS_SUPER_MAGIC, 'f2fs'],
  [FUSE_SUPER_MAGIC, 'fuse'],
  [HUGETLBFS_MAGIC, 'hugetlbfs'],
  [ISOFS_SUPER_MAGIC, 'iso9660'],
  [MQUEUE_MAGIC, 'mqueue'],
  [MSDOS_SUPER_MAGIC, 'vfat'],
  [NFS_SUPER_MAGIC, 'nfs'],
  [NSFS_MAGIC, 'nsfs'],
  [OVERLAYFS_SUPER_MAGIC, 'overlay'],
  [PIPEFS_MAGIC, 'pipefs'],
  [PROC_SUPER_MAGIC, 'proc'],
  [PSTOREFS_MAGIC, 'pstore'],
  [RAMFS_MAGIC, 'ramfs'],
  [RDTGROUP_SUPER_MAGIC, 'resctrl'],
  [SECURITYFS_MAGIC, 'securityfs'],
  [SELINUX_MAGIC, 'selinuxfs'],
  [SMB2_SUPER_MAGIC, 'smb2'],
  [SOCKFS_MAGIC, 'sockfs'],
  [SQUASHFS_MAGIC, 'squashfs'],
  [SYSFS_MAGIC, 'sysfs'],
  [TMPFS_MAGIC, 'tmpfs'],
  [TRACEFS_MAGIC, 'tracefs'],
  [V9FS_MAGIC, '9p'],
  [VBOXSF_SUPER_MAGIC, 'vboxsf'],
  [XFS_SUPER_MAGIC, 'xfs'],
  [ZFS_SUPER_MAGIC, 'zfs'],
])

/** The name a filesystem type has in mount(8); `fs 0x1234` when the number is not known. `magic` may come sign-extended. */
export function fsMagicName(magic: number): string {
  return NAMES.get(magic >>> 0) ?? `fs 0x${(magic >>> 0).toString(16)}`
}
