/** Flags of clone3(2) other than the namespace ones, which are in namespaces.ts. The last two need 64 bits. */

export const CLONE_VM = 0x100
export const CLONE_FS = 0x200
export const CLONE_FILES = 0x400
export const CLONE_SIGHAND = 0x800
export const CLONE_PIDFD = 0x1000
export const CLONE_VFORK = 0x4000
export const CLONE_PARENT = 0x8000
/** Since Linux 5.5. */
export const CLONE_CLEAR_SIGHAND = 0x1_0000_0000
/** Since Linux 5.7, cgroup v2 only. */
export const CLONE_INTO_CGROUP = 0x2_0000_0000
