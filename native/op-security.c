/* Steps on what a process is and may do. Ids and capabilities are set by raw calls: they are the only thread's. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CAPABILITY_BITS 64
#define PTY_SLAVE_MAJOR_FIRST 136
#define PTY_SLAVE_MAJOR_LAST 143
#define IOPRIO_WHO_PROCESS 1
#define KEY_POS_ALL 0x3f000000u
#define KEY_USR_VIEW 0x00010000u
#define KEY_USR_READ 0x00020000u
#define KEY_USR_SEARCH 0x00080000u
#define KEY_USR_LINK 0x00100000u

/* 0 self, -1 the child, else that pid; a child that isn't there must not turn into the caller itself. */
static int who_pid(const struct context *ctx, int64_t who, pid_t *pid)
{
    *pid = who == -1 ? ctx->child : (pid_t)who;
    return *pid < 0 || (who == -1 && *pid == 0) ? -ESRCH : 0;
}

int op_sethostname(struct context *ctx, const union arg *args)
{
    (void)ctx;
    return result(sethostname(args[0].bytes, args[0].length));
}

int op_setdomainname(struct context *ctx, const union arg *args)
{
    (void)ctx;
    return result(setdomainname(args[0].bytes, args[0].length));
}

int op_prctl(struct context *ctx, const union arg *args)
{
    (void)ctx;
    return result(syscall(SYS_prctl, (int)args[0].i, args[1].i, args[2].i, args[3].i, args[4].i));
}

int op_prlimit(struct context *ctx, const union arg *args)
{
    pid_t pid;
    const uint64_t limits[] = { (uint64_t)args[2].i, (uint64_t)args[3].i };
    int error = who_pid(ctx, args[0].i, &pid);
    return error < 0 ? error : result(syscall(SYS_prlimit64, pid, (int)args[1].i, limits, NULL));
}

int op_sched_setattr(struct context *ctx, const union arg *args)
{
    pid_t pid;
    uint32_t size;
    int error = who_pid(ctx, args[0].i, &pid);
    if (error < 0)
        return error;
    if (args[1].length < sizeof size)
        return -EINVAL;
    memcpy(&size, args[1].bytes, sizeof size);
    /* The kernel reads as many bytes as the structure claims. */
    return size > args[1].length ? -EINVAL : result(syscall(SYS_sched_setattr, pid, args[1].bytes, 0));
}

int op_sched_setaffinity(struct context *ctx, const union arg *args)
{
    pid_t pid;
    int error = who_pid(ctx, args[0].i, &pid);
    return error < 0 ? error : result(syscall(SYS_sched_setaffinity, pid, (size_t)args[1].length, args[1].bytes));
}

int op_ioprio_set(struct context *ctx, const union arg *args)
{
    pid_t pid;
    int error = who_pid(ctx, args[0].i, &pid);
    return error < 0 ? error : result(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, (int)args[1].i));
}

int op_set_mempolicy(struct context *ctx, const union arg *args)
{
    (void)ctx;
    uint64_t bits = (uint64_t)args[2].i;
    if (bits > (uint64_t)args[1].length * 8)
        return -EINVAL;
    /* The kernel takes one bit less than it is told. */
    return result(syscall(SYS_set_mempolicy, (int)args[0].i, bits ? args[1].bytes : NULL, bits ? bits + 1 : 0));
}

int op_personality(struct context *ctx, const union arg *args)
{
    (void)ctx;
    return result(syscall(SYS_personality, (unsigned)args[0].i)) < 0 ? -errno : 0;
}

/* A session keyring of the container's own, which stays searchable after the process has changed its user. */
int op_keyring(struct context *ctx, const union arg *args)
{
    (void)ctx;
    const char *name = args[0].length ? args[0].bytes : NULL;
    long id = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);
    if (id < 0)
        return -errno;
    uint32_t permissions = KEY_POS_ALL | KEY_USR_VIEW | KEY_USR_READ | KEY_USR_SEARCH | KEY_USR_LINK;
    return result(syscall(SYS_keyctl, KEYCTL_SETPERM, id, permissions));
}

int op_umask(struct context *ctx, const union arg *args)
{
    ctx->umask = (mode_t)args[0].i & 0777;
    return 0;
}

int op_setgroups(struct context *ctx, const union arg *args)
{
    (void)ctx;
    return args[0].length % 4 ? -EINVAL : result(syscall(SYS_setgroups, (size_t)args[0].length / 4, args[0].bytes));
}

int op_setresgid(struct context *ctx, const union arg *args)
{
    (void)ctx;
    gid_t gid = (gid_t)args[0].i;
    return result(syscall(SYS_setresgid, gid, gid, gid));
}

int op_setresuid(struct context *ctx, const union arg *args)
{
    (void)ctx;
    uid_t uid = (uid_t)args[0].i;
    return result(syscall(SYS_setresuid, uid, uid, uid));
}

int op_capset(struct context *ctx, const union arg *args)
{
    (void)ctx;
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct sets[2];
    for (int half = 0; half < 2; half++)
        sets[half] = (struct __user_cap_data_struct){
            .effective = (uint32_t)((uint64_t)args[0].i >> 32 * half),
            .permitted = (uint32_t)((uint64_t)args[1].i >> 32 * half),
            .inheritable = (uint32_t)((uint64_t)args[2].i >> 32 * half),
        };
    return result(syscall(SYS_capset, &header, sets));
}

int op_cap_bound(struct context *ctx, const union arg *args)
{
    (void)ctx;
    for (unsigned cap = 0; cap < CAPABILITY_BITS; cap++) {
        /* EINVAL: the kernel's last capability was the one before. */
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) < 0)
            return errno == EINVAL ? 0 : -errno;
        if (!((uint64_t)args[0].i >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return -errno;
    }
    return 0;
}

int op_cap_ambient(struct context *ctx, const union arg *args)
{
    (void)ctx;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -errno;
    for (unsigned cap = 0; cap < CAPABILITY_BITS; cap++)
        if ((uint64_t)args[0].i >> cap & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            return -errno;
    return 0;
}

int op_seccomp(struct context *ctx, const union arg *args)
{
    size_t count = args[0].length / sizeof(struct sock_filter);
    if (args[0].length % sizeof(struct sock_filter) || count > UINT16_MAX)
        return -EINVAL;
    struct sock_fprog program = { (unsigned short)count, (struct sock_filter *)(void *)args[0].bytes };
    unsigned flags = (unsigned)args[1].i;
    int listener = result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
    return flags & SECCOMP_FILTER_FLAG_NEW_LISTENER ? keep_fd(ctx, &args[2], listener) : listener;
}

int op_setsid(struct context *ctx, const union arg *args)
{
    (void)ctx;
    (void)args;
    return result(setsid()) < 0 ? -errno : 0;
}

/* The container's /dev/pts may be a fake: what comes out must be the slave of a pseudoterminal. */
int op_openpty(struct context *ctx, const union arg *args)
{
    struct stat stat;
    int unlocked = 0, flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
    int master = openat(dir_fd(&args[0]), "ptmx", flags | O_NOFOLLOW | O_NONBLOCK);
    if (master < 0)
        return -errno;
    if (ioctl(master, TIOCSPTLCK, &unlocked) < 0 || fcntl(master, F_SETFL, O_RDWR) < 0) {
        close(master);
        return -ENODEV;
    }
    int slave = ioctl(master, TIOCGPTPEER, flags);
    bool is_pty = slave >= 0 && fstat(slave, &stat) == 0 && S_ISCHR(stat.st_mode) &&
                  major(stat.st_rdev) >= PTY_SLAVE_MAJOR_FIRST && major(stat.st_rdev) <= PTY_SLAVE_MAJOR_LAST;
    struct winsize size = { .ws_row = (unsigned short)args[1].i, .ws_col = (unsigned short)args[2].i };
    if (is_pty && args[1].i > 0)
        is_pty = ioctl(slave, TIOCSWINSZ, &size) == 0;
    if (!is_pty) {
        close_scoped(&slave);
        close(master);
        return -ENODEV;
    }
    keep_fd(ctx, &args[3], master);
    return keep_fd(ctx, &args[4], slave);
}

int op_set_ctty(struct context *ctx, const union arg *args)
{
    (void)ctx;
    return result(ioctl(args[0].fd, TIOCSCTTY, 0));
}
