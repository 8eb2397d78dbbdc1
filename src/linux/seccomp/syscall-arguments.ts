/**
 * How many bits of each system call argument the kernel looks at.
 *
 * A register has 64 bits, but `SYSCALL_DEFINEn` casts it to the declared type first, so `socket(0x1_00000026, …)` is
 * `socket(AF_ALG, …)`. A filter that compares all 64 bits lets that pass a rule about 38 (the class of podman's
 * CVE-2026-123876), so comparisons use exactly the bits that the kernel uses.
 *
 * One letter per argument: `i` int, unsigned int, pid_t, uid_t, key_serial_t, … (32 bits); `h` umode_t (16 bits);
 * `l` long, size_t, pointer, u64 (64 bits). Arguments left out, and calls not listed, count as 64 bits.
 * Source: include/linux/syscalls.h and the SYSCALL_DEFINEs of Linux 6.18.
 */
import { type Abi, X32_SYSCALL_BIT } from './architectures.ts'

const SIGNATURES: Readonly<Record<string, string>> = Object.freeze({
  // Sockets: int family, type, protocol, level, option, and unsigned int flags.
  socket: 'iii',
  socketpair: 'iiil',
  socketcall: 'il',
  bind: 'ili',
  connect: 'ili',
  listen: 'ii',
  shutdown: 'ii',
  accept: 'ill',
  accept4: 'illi',
  sendto: 'illili',
  recvfrom: 'illill',
  sendmsg: 'ili',
  recvmsg: 'ili',
  sendmmsg: 'ilii',
  recvmmsg: 'iliil',
  setsockopt: 'iiili',
  getsockopt: 'iiill',

  // What a process is. personality takes unsigned int; clone takes unsigned long, but keeps only lower_32_bits()
  // (kernel/fork.c). unshare is absent on purpose: it takes 64 bits and refuses unknown high ones with EINVAL.
  personality: 'i',
  clone: 'i',
  setns: 'ii',
  prctl: 'illll',
  arch_prctl: 'il',
  seccomp: 'iil',
  modify_ldt: 'ill',
  iopl: 'i',
  ioperm: 'lli',
  kcmp: 'iiill',
  rseq: 'liii',
  membarrier: 'iii',
  exit: 'i',
  exit_group: 'i',
  kill: 'ii',
  tkill: 'ii',
  tgkill: 'iii',
  rt_sigqueueinfo: 'iil',
  rt_tgsigqueueinfo: 'iiil',
  pidfd_open: 'ii',
  pidfd_getfd: 'iii',
  pidfd_send_signal: 'iili',
  waitid: 'iilil',
  wait4: 'ilil',
  execveat: 'illli',
  process_vm_readv: 'illlll',
  process_vm_writev: 'illlll',
  process_madvise: 'illii',
  process_mrelease: 'ii',
  // ptrace takes four longs: absent on purpose.

  // Ids: uid_t and gid_t have 32 bits; the limit and priority calls take int.
  setuid: 'i',
  setgid: 'i',
  setreuid: 'ii',
  setregid: 'ii',
  setresuid: 'iii',
  setresgid: 'iii',
  setfsuid: 'i',
  setfsgid: 'i',
  setgroups: 'il',
  setpgid: 'ii',
  setpriority: 'iii',
  getpriority: 'ii',
  ioprio_set: 'iii',
  ioprio_get: 'ii',
  setrlimit: 'il',
  getrlimit: 'il',
  prlimit64: 'iill',
  sched_setscheduler: 'iil',
  sched_setparam: 'il',
  sched_setattr: 'ili',
  sched_setaffinity: 'iil',
  clock_settime: 'il',
  clock_adjtime: 'il',
  clock_nanosleep: 'iill',

  // Files: unsigned int fd and command, int flags, umode_t mode, unsigned dev.
  ioctl: 'iil',
  fcntl: 'iil',
  open: 'lih',
  openat: 'ilih',
  creat: 'lh',
  mknod: 'lhi',
  mknodat: 'ilhi',
  mkdir: 'lh',
  mkdirat: 'ilh',
  chmod: 'lh',
  fchmod: 'ih',
  fchmodat: 'ilh',
  fchmodat2: 'ilhi',
  chown: 'lii',
  lchown: 'lii',
  fchown: 'iii',
  fchownat: 'iliii',
  access: 'li',
  faccessat: 'ili',
  faccessat2: 'ilii',
  linkat: 'ilili',
  unlinkat: 'ili',
  renameat2: 'ilili',
  utimensat: 'illi',
  statx: 'iliil',
  name_to_handle_at: 'illli',
  open_by_handle_at: 'ili',
  setxattr: 'lllli',
  lsetxattr: 'lllli',
  fsetxattr: 'illli',
  flock: 'ii',
  lseek: 'ili',
  fallocate: 'iill',
  fadvise64: 'illi',
  sync_file_range: 'illi',
  copy_file_range: 'ililli',
  splice: 'ililli',
  tee: 'iili',
  vmsplice: 'illi',
  preadv2: 'illlli',
  pwritev2: 'illlli',
  pipe2: 'li',
  dup2: 'ii',
  dup3: 'iii',
  close: 'i',
  close_range: 'iii',
  eventfd2: 'ii',
  epoll_create1: 'i',
  signalfd4: 'illi',
  timerfd_create: 'ii',
  inotify_init1: 'i',
  inotify_add_watch: 'ili',
  fanotify_init: 'ii',
  fanotify_mark: 'iilil',
  memfd_create: 'li',
  memfd_secret: 'i',
  userfaultfd: 'i',

  // Mounts: the new calls take unsigned int flags; mount's are an unsigned long and so absent.
  umount2: 'li',
  fsopen: 'li',
  fspick: 'ili',
  fsconfig: 'iilli',
  fsmount: 'iii',
  move_mount: 'ilili',
  open_tree: 'ili',
  open_tree_attr: 'ilill',
  mount_setattr: 'ilill',
  quotactl: 'ilil',
  quotactl_fd: 'iiil',
  swapon: 'li',

  // The kernel itself: int commands and options.
  bpf: 'ili',
  keyctl: 'illll',
  add_key: 'lllli',
  request_key: 'llli',
  perf_event_open: 'liiil',
  syslog: 'ili',
  reboot: 'iiil',
  kexec_file_load: 'iilll',
  init_module: 'lll',
  finit_module: 'ili',
  delete_module: 'li',
  io_uring_setup: 'il',
  io_uring_enter: 'iiiill',
  io_uring_register: 'iili',
  landlock_create_ruleset: 'lli',
  landlock_add_rule: 'iili',
  landlock_restrict_self: 'ii',
  getrandom: 'lli',

  // Memory: advice, modes and futex operations are int; mmap and mprotect take unsigned long and so are absent.
  madvise: 'lli',
  mlock2: 'lli',
  mlockall: 'i',
  pkey_mprotect: 'llli',
  pkey_free: 'i',
  mbind: 'llllli',
  set_mempolicy: 'ill',
  migrate_pages: 'illl',
  move_pages: 'illlli',
  futex: 'liilli',
  shmget: 'ili',
  shmat: 'ili',
  shmctl: 'iil',
  semget: 'iii',
  semctl: 'iiil',
  msgget: 'ii',
  msgctl: 'iil',
  msgsnd: 'illi',
  msgrcv: 'illli',
  // The upper half of ipc's `call` is a version, and `call & 0xffff` is what is done (ipc/syscall.c).
  ipc: 'hilll',
})

const BITS: Readonly<Record<string, 16 | 32 | 64>> = Object.freeze({ h: 16, i: 32, l: 64 })

/** x32 numbers from 512 up have entries of their own, compat_sys_*: their longs have 32 bits. */
const X32_COMPAT_FIRST = 512

/** The exceptions among them: compat_sys_preadv64() and its kin take a 64-bit file position in one register. */
const X32_POSITION_CALLS: ReadonlySet<string> = new Set(['preadv', 'pwritev', 'preadv2', 'pwritev2'])
const X32_POSITION_INDEX = 3

/** How many of the argument's bits the kernel uses; `number` is the call's number under `abi`. */
export function argumentBits(abi: Abi, number: number, name: string, index: number): 16 | 32 | 64 {
  const declared = BITS[SIGNATURES[name]?.[index] ?? 'l'] ?? 64
  if (declared === 16) return 16
  // A 64-bit process may make an i386 call with full registers (int 0x80); the handlers see their low halves.
  if (abi === 'i386' || abi === 'arm') return 32
  if (abi === 'x32' && number - X32_SYSCALL_BIT >= X32_COMPAT_FIRST) {
    return X32_POSITION_CALLS.has(name) && index === X32_POSITION_INDEX ? 64 : 32
  }
  return declared
}
