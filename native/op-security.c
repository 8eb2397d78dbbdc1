/* Steps on what a process is and may do, as far as they take more than one call. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CAPABILITY_BITS 64
#define PTY_SLAVE_MAJOR_FIRST 136
#define PTY_SLAVE_MAJOR_LAST 143
#define KEY_POS_ALL 0x3f000000u
#define KEY_USR_VIEW 0x00010000u
#define KEY_USR_READ 0x00020000u
#define KEY_USR_SEARCH 0x00080000u
#define KEY_USR_LINK 0x00100000u

int op_set_mempolicy(struct context *ctx, const union arg *args)
{
    (void)ctx;
    uint64_t bits = (uint64_t)args[2].i;
    if (bits > (uint64_t)args[1].length * 8)
        return -EINVAL;
    /* The kernel takes one bit less than it is told. */
    return result(syscall(SYS_set_mempolicy, (int)args[0].i, bits ? args[1].bytes : NULL, bits ? bits + 1 : 0));
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
    /* When nothing but execve follows, execve is all that the filter must allow. */
    uint32_t next = ctx->step + 1;
    if (next < ctx->plan.step_count[ctx->stage] && ctx->plan.steps[ctx->stage][next].op == OP_execve)
        child_prepare_exec(ctx);
    int listener = result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
    return flags & SECCOMP_FILTER_FLAG_NEW_LISTENER ? keep_fd(ctx, &args[2], listener) : listener;
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

