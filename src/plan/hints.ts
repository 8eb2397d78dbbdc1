import type { OpName } from './ops.ts'

/** What an errno means at a given operation where its usual text misleads, and what to do about it. */
const HINTS: Readonly<Partial<Record<OpName | '*', Readonly<Record<string, string>>>>> = {
  move_mount: { ENOSPC: 'this mount namespace holds as many mounts as /proc/sys/fs/mount-max allows' },
  mount: { ENOSPC: 'this mount namespace holds as many mounts as /proc/sys/fs/mount-max allows' },
  clone: {
    EAGAIN: 'the limit on processes (pids cgroup, RLIMIT_NPROC or kernel.pid_max) is reached',
    ENOSPC: 'a limit in /proc/sys/user/max_*_namespaces is reached, or namespaces nest deeper than 32',
    EUSERS: 'user namespaces nest deeper than 32',
    EPERM: 'unprivileged user namespaces may be turned off (kernel.unprivileged_userns_clone, AppArmor)',
    EBUSY: 'the cgroup holds controllers for its children and so can hold no process itself',
  },
  userns: { ENOSPC: 'the limit in /proc/sys/user/max_user_namespaces is reached' },
  mount_overlay: {
    ELOOP: 'the directories of the overlay overlap',
    EINVAL:
      'before Linux 5.19 overlayfs takes no idmapped layers (--userns=host goes without); else the upper directory may be on a file system that it cannot write to',
  },
  mount_setattr: {
    EINVAL: 'this file system may not support idmapped mounts; a mount with userns=host, or a copy, goes without',
  },
  mount_fs: {
    EPERM:
      'in a user namespace proc and sysfs can be mounted only while an instance without anything mounted over it is visible, and mqueue and sysfs only with an ipc and a network namespace of its own',
    ENODEV: 'the kernel does not know this file system',
  },
  mount_image: {
    ENODEV: 'the kernel does not know this file system',
    ENOTBLK: 'files are mounted as EROFS since Linux 6.12, with CONFIG_EROFS_FS_BACKED_BY_FILE',
  },
  capset: {
    EPERM:
      'the engine itself does not hold one of these capabilities, so a container without a user namespace cannot have it',
  },
  setresuid: { EINVAL: "the user has no mapping in the container's user namespace" },
  setresgid: { EINVAL: "the group has no mapping in the container's user namespace" },
  setgroups: { EINVAL: "a supplementary group has no mapping in the container's user namespace" },
  prlimit: { EPERM: 'raising a hard limit needs CAP_SYS_RESOURCE' },
  write_child: { EPERM: 'lowering oom_score_adj needs CAP_SYS_RESOURCE; an id map may name only ids the caller owns' },
  execve: {
    ENOENT: 'the program, or the interpreter it names, is not in the container',
    ENOEXEC: 'not a program for this machine',
  },
  bpf_device: { EPERM: 'attaching a device program needs CAP_BPF or CAP_SYS_ADMIN on the host' },
  '*': { ENOSPC: 'no space left, or a limit of this kind of object is reached' },
}

/** The hint for a failure, if there is one. */
export function hintFor(op: OpName, errno: string): string | undefined {
  return HINTS[op]?.[errno] ?? HINTS['*']?.[errno]
}
