/** Options of prctl(2) that a container runtime needs, and their arguments. */

export const PR_SET_PDEATHSIG = 1
export const PR_GET_DUMPABLE = 3
export const PR_SET_DUMPABLE = 4
export const PR_GET_KEEPCAPS = 7
export const PR_SET_KEEPCAPS = 8
export const PR_SET_NAME = 15
export const PR_GET_NAME = 16
export const PR_GET_SECCOMP = 21
export const PR_SET_SECCOMP = 22
export const PR_CAPBSET_READ = 23
export const PR_CAPBSET_DROP = 24
export const PR_GET_SECUREBITS = 27
export const PR_SET_SECUREBITS = 28
export const PR_SET_CHILD_SUBREAPER = 36
export const PR_GET_CHILD_SUBREAPER = 37
export const PR_SET_NO_NEW_PRIVS = 38
export const PR_GET_NO_NEW_PRIVS = 39
export const PR_CAP_AMBIENT = 47
export const PR_CAP_AMBIENT_IS_SET = 1
export const PR_CAP_AMBIENT_RAISE = 2
export const PR_CAP_AMBIENT_LOWER = 3
export const PR_CAP_AMBIENT_CLEAR_ALL = 4
export const PR_GET_SPECULATION_CTRL = 52
export const PR_SET_SPECULATION_CTRL = 53
/** Since Linux 5.14: core scheduling, `PR_SCHED_CORE_CREATE` gives the caller a cookie of its own. */
export const PR_SCHED_CORE = 62
export const PR_SCHED_CORE_CREATE = 1

/** Bits of PR_SET_SECUREBITS, see capabilities(7). */
export const SECBIT_NOROOT = 0x1
export const SECBIT_NO_SETUID_FIXUP = 0x4
export const SECBIT_KEEP_CAPS = 0x10
export const SECBIT_NO_CAP_AMBIENT_RAISE = 0x40
