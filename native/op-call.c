/* Steps that are one system call: how its arguments come from the step's. The calls that change ids are made by
 * number, because the libc's own are for all threads of a process. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OPEN_TREE_CLOEXEC O_CLOEXEC
#define MOVE_MOUNT_F_EMPTY_PATH 0x04u
#define MOVE_MOUNT_T_EMPTY_PATH 0x40u
#define IOPRIO_WHO_PROCESS 1
#define NO_PROCESS INT32_MAX /* above any pid_max */

/* A step that only succeeds or fails; what a successful call returns says nothing more. */
#define CALL(name, call) \
    int op_##name(struct context *ctx, const union arg *args) \
    { \
        (void)ctx, (void)args; \
        return (call) < 0 ? -errno : 0; \
    }

/* A step whose call gives an fd, or a -errno, for a slot. */
#define OPENS(name, out, call) \
    int op_##name(struct context *ctx, const union arg *args) \
    { \
        return keep_fd(ctx, &args[out], (call)); \
    }

#define DIR(n) dir_fd(&args[n])
#define FD(n) args[n].fd
#define TEXT(n) args[n].bytes
#define LENGTH(n) ((size_t)args[n].length)
#define INT(n) ((int)args[n].i)
#define U32(n) ((uint32_t)args[n].i)
#define U64(n) ((uint64_t)args[n].i)
#define WHO(n) who(ctx, args[n].i)

/* 0 self, -1 the child, else that pid. A child that isn't there is ESRCH, and never the caller. */
static pid_t who(const struct context *ctx, int64_t number)
{
    return number != -1 ? (pid_t)number : ctx->child > 0 ? ctx->child : NO_PROCESS;
}

/* The kernel reads as many bytes as the structure itself claims to have. */
static bool sched_attr_fits(const union arg *attr)
{
    uint32_t size = UINT32_MAX;
    memcpy(&size, attr->bytes, attr->length < sizeof size ? 0 : sizeof size);
    return size <= attr->length;
}

OPENS(open, 3, result(RETRY(open(TEXT(0), INT(1) | O_CLOEXEC, (mode_t)U32(2)))))
OPENS(openat2, 5, kernel_openat2(DIR(0), TEXT(1), U64(2), U64(3), U64(4)))
OPENS(mkdirs, 3, tree_mkdirs(DIR(0), TEXT(1), (mode_t)U32(2)))
OPENS(mkfile, 3, tree_mkfile(DIR(0), TEXT(1), (mode_t)U32(2)))
OPENS(open_child, 2, open_process_file(ctx, ctx->child, TEXT(0), INT(1)))
OPENS(open_tree, 3, result(syscall(SYS_open_tree, DIR(0), TEXT(1), U32(2) | OPEN_TREE_CLOEXEC)))
OPENS(pidfd_open, 1, kernel_pidfd_open(args[0].i ? WHO(0) : getpid()))

CALL(mkdir, mkdirat(DIR(0), TEXT(1), (mode_t)U32(2)))
CALL(unlink, unlinkat(DIR(0), TEXT(1), INT(2)))
CALL(chown, fchownat(DIR(0), TEXT(1), U32(2), U32(3), AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))

CALL(mount_setattr, syscall(SYS_mount_setattr, DIR(0), TEXT(1), U32(2),
                            &(struct mount_attributes){ U64(3), U64(4), U64(5), FD(6) < 0 ? 0 : (uint64_t)FD(6) },
                            sizeof(struct mount_attributes)))
CALL(move_mount, syscall(SYS_move_mount, FD(0), "", DIR(1), TEXT(2),
                         U32(3) | MOVE_MOUNT_F_EMPTY_PATH | (LENGTH(2) ? 0 : MOVE_MOUNT_T_EMPTY_PATH)))
CALL(umount, syscall(SYS_umount2, TEXT(0), INT(1)))
CALL(pivot_root, syscall(SYS_pivot_root, TEXT(0), TEXT(1)))
CALL(chroot, chroot(TEXT(0)))
CALL(fchdir, fchdir(FD(0)))
CALL(chdir, chdir(TEXT(0)))

CALL(setns, syscall(SYS_setns, FD(0), INT(1)))
CALL(unshare, syscall(SYS_unshare, INT(0)))
CALL(pidfd_signal, syscall(SYS_pidfd_send_signal, FD(0), INT(1), NULL, 0))
CALL(cloexec_from, syscall(SYS_close_range, U32(0), ~0u, CLOSE_RANGE_CLOEXEC))
CALL(setsid, setsid())
CALL(set_ctty, ioctl(FD(0), TIOCSCTTY, 0))
CALL(sync_fs, syncfs(FD(0)))

CALL(sethostname, sethostname(TEXT(0), LENGTH(0)))
CALL(setdomainname, setdomainname(TEXT(0), LENGTH(0)))
CALL(prctl, syscall(SYS_prctl, INT(0), U64(1), U64(2), U64(3), U64(4)))
CALL(prlimit, syscall(SYS_prlimit64, WHO(0), INT(1), ((const uint64_t[]){ U64(2), U64(3) }), NULL))
CALL(sched_setattr, sched_attr_fits(&args[1]) ? syscall(SYS_sched_setattr, WHO(0), args[1].bytes, 0) : (errno = EINVAL, -1))
CALL(sched_setaffinity, syscall(SYS_sched_setaffinity, WHO(0), LENGTH(1), args[1].bytes))
CALL(ioprio_set, syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, WHO(0), INT(1)))
CALL(personality, syscall(SYS_personality, U32(0)))
CALL(setresgid, syscall(SYS_setresgid, U32(0), U32(0), U32(0)))
CALL(setresuid, syscall(SYS_setresuid, U32(0), U32(0), U32(0)))
CALL(setgroups, LENGTH(0) % 4 ? (errno = EINVAL, -1) : syscall(SYS_setgroups, LENGTH(0) / 4, args[0].bytes))
