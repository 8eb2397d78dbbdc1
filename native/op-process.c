/* Steps that make, find, join or become processes, and what passes into the program that is executed. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLONE_PARENT_FLAG 0x00008000ull
#define CLONE_NEWNS_FLAG 0x00020000u
#define CLONE_NEWUSER_FLAG 0x10000000ull
#define CLONE_INTO_CGROUP_FLAG 0x200000000ull
#define KERNEL_SIGNALS 64

/* struct clone_args of <linux/sched.h>, which does not go together with <sched.h>. */
struct clone_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

/* What the intermediate process of a clone with joins has to say. */
struct join_report {
    int32_t error, join, pid;
};

int kernel_pidfd_open(pid_t pid)
{
    return result(syscall(SYS_pidfd_open, pid, 0));
}

static pid_t clone3(uint64_t flags, int cgroup, int exit_signal)
{
    struct clone_arguments arguments = { .flags = flags, .exit_signal = (uint64_t)exit_signal };
    if (cgroup >= 0) {
        arguments.flags |= CLONE_INTO_CGROUP_FLAG;
        arguments.cgroup = (uint64_t)cgroup;
    }
    return (pid_t)result(syscall(SYS_clone3, &arguments, sizeof arguments));
}

/* Die with the parent; `pair` is the end that tells whether it was dead already. */
static void die_with_parent(int pair)
{
    struct pollfd parent = { .fd = pair };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (RETRY(poll(&parent, 1, 0)) > 0 && parent.revents & POLLHUP)
        _exit(1);
}

static void __attribute__((noreturn)) child_start(struct context *ctx, int pair)
{
    ctx->is_child = true;
    ctx->child = 0;
    ctx->pair = ctx->report = pair;
    die_with_parent(pair);
    /* The plan and the records are the launcher's; what takes their numbers here closes with execve. */
    dup3(pair, STDIN_FILENO, O_CLOEXEC);
    dup3(pair, STDOUT_FILENO, O_CLOEXEC);
    child_run(ctx);
}

/* A process that appears in a container brings no directory of the host along: to a program with CAP_SYS_PTRACE there,
 * /proc/PID/fd is a door to it (CVE-2016-9962). Who joins a mount namespace has no use for the host's procfs, and the
 * cgroup has been entered. */
static void drop_directories(struct context *ctx, const union arg *joins, int cgroup)
{
    for (uint32_t at = 0; at < joins->length; at += 8) {
        uint32_t join[2];
        memcpy(join, joins->bytes + at, sizeof join);
        if (join[1] == CLONE_NEWNS_FLAG && ctx->proc >= 0) {
            close(ctx->proc);
            ctx->proc = -1;
        }
    }
    for (uint32_t slot = 0; cgroup >= 0 && slot < ctx->slot_count; slot++)
        if (ctx->slots[slot] == cgroup) {
            close(cgroup);
            ctx->slots[slot] = cgroup = -1;
        }
}

/* Joins the namespaces and makes the child the launcher's own by CLONE_PARENT (exit_signal is inherited then).
 * The cgroup was entered by the fork of this process: inside a joined cgroup or user namespace the kernel would
 * refuse CLONE_INTO_CGROUP (cgroups(7), delegation containment). */
static void __attribute__((noreturn)) intermediate(struct context *ctx, uint64_t flags, const union arg *joins,
                                                   int cgroup, int pair, int pipe)
{
    struct join_report report = { 0 };
    die_with_parent(pair);
    for (uint32_t at = 0; report.error >= 0 && at < joins->length; at += 8, report.join++) {
        uint32_t join[2];
        memcpy(join, joins->bytes + at, sizeof join);
        int fd = slot_fd(ctx, join[0]);
        report.error = fd < 0 ? fd : result(syscall(SYS_setns, fd, join[1]));
    }
    if (report.error >= 0) {
        drop_directories(ctx, joins, cgroup);
        report.pid = clone3(flags | CLONE_PARENT_FLAG, -1, 0);
        if (report.pid == 0) {
            close(pipe);
            child_start(ctx, pair);
        }
        report.error = report.pid < 0 ? report.pid : 0;
        report.join = 0;
    }
    write_all(pipe, (const char *)&report, sizeof report);
    _exit(0);
}

static pid_t clone_joined(struct context *ctx, uint64_t flags, int cgroup, const union arg *joins, const int *pair)
{
    int pipes[2];
    struct join_report report;
    if (joins->length % 8)
        return -EINVAL;
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = clone3(0, cgroup, SIGCHLD);
    if (pid == 0) {
        close(pair[0]);
        close(pipes[0]);
        intermediate(ctx, flags, joins, cgroup, pair[1], pipes[1]);
    }
    close(pipes[1]);
    int got = pid < 0 ? pid : read_some(pipes[0], (char *)&report, sizeof report);
    close(pipes[0]);
    if (pid > 0)
        RETRY(waitpid(pid, NULL, 0));
    if (got < 0)
        return got;
    if ((size_t)got < sizeof report)
        return -ECHILD;
    if (report.join > 0) {
        say(ctx, "joining namespace ");
        say_number(ctx, report.join - 1);
    }
    return report.error < 0 ? report.error : report.pid;
}

int op_clone(struct context *ctx, const union arg *args)
{
    int pair[2];
    uint64_t flags = (uint64_t)args[0].i;
    if (ctx->is_helper)
        return -EINVAL;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    pid_t pid;
    if (args[2].length > 0) {
        pid = clone_joined(ctx, flags, args[1].fd, &args[2], pair);
    } else if ((pid = clone3(flags, args[1].fd, SIGCHLD)) == 0) {
        close(pair[0]);
        child_start(ctx, pair[1]);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return pid;
    }
    ctx->child = pid;
    ctx->pair = pair[0];
    uint32_t number = (uint32_t)pid;
    int error = send_record(ctx, RECORD_PID, &number, sizeof number);
    if (error < 0 || args[3].slot < 0)
        return error;
    return keep_fd(ctx, &args[3], kernel_pidfd_open(pid));
}

/* Opens a file of a process below the host's /proc. The pid is one of ours that is not reaped yet. */
int open_process_file(const struct context *ctx, pid_t pid, const char *name, int flags)
{
    char path[64], *end = path + sizeof path;
    if (pid <= 0)
        return -ESRCH;
    char *at = put_text(put_text(put_number(path, end, pid), end, "/"), end, name);
    return at == end ? -ENAMETOOLONG : result(RETRY(openat(ctx->proc, path, flags | O_CLOEXEC)));
}

static int write_map(const struct context *ctx, pid_t pid, const char *name, const union arg *map)
{
    int fd SCOPED = open_process_file(ctx, pid, name, O_WRONLY);
    return fd < 0 ? fd : write_all(fd, map->bytes, map->length);
}

int op_userns(struct context *ctx, const union arg *args)
{
    pid_t pid = clone3(CLONE_NEWUSER_FLAG, -1, SIGCHLD);
    if (pid < 0)
        return pid;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    int error = write_map(ctx, pid, "uid_map", &args[0]);
    if (error >= 0)
        error = write_map(ctx, pid, "gid_map", &args[1]);
    if (error >= 0)
        error = open_process_file(ctx, pid, "ns/user", O_RDONLY);
    kill(pid, SIGKILL);
    RETRY(waitpid(pid, NULL, 0));
    return keep_fd(ctx, &args[2], error);
}

int op_pipe(struct context *ctx, const union arg *args)
{
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return -errno;
    keep_fd(ctx, &args[0], pipes[0]);
    return keep_fd(ctx, &args[1], pipes[1]);
}

/* Ours may sit at a number that the program is to have: it moves away. */
static int move_away(int *fd, int number)
{
    if (*fd != number)
        return 0;
    int moved = fcntl(number, F_DUPFD_CLOEXEC, number + 1);
    if (moved < 0)
        return -errno;
    *fd = moved;
    return 0;
}

int op_dup2(struct context *ctx, const union arg *args)
{
    int target = (int)args[1].i, from = args[0].fd;
    if (from < 0 || target < 0)
        return -EBADF;
    if (from == target)
        return result(fcntl(target, F_SETFD, 0));
    bool reports_to_pair = ctx->report == ctx->pair;
    int error = move_away(&ctx->proc, target);
    if (error >= 0)
        error = move_away(&ctx->pair, target);
    if (reports_to_pair)
        ctx->report = ctx->pair;
    else if (error >= 0)
        error = move_away(&ctx->report, target);
    for (uint32_t slot = 0; error >= 0 && slot < ctx->slot_count; slot++)
        if (ctx->slots[slot] == target)
            error = move_away(&ctx->slots[slot], target);
    return error < 0 ? error : result(dup2(from, target));
}

/* All signals deliverable and at their defaults. The raw call: the libc hides two of them. */
void reset_signals(void)
{
    struct { void (*handler)(int); unsigned long flags; void *restorer; uint64_t mask; } fallback = { 0 };
    for (int number = 1; number <= KERNEL_SIGNALS; number++)
        syscall(SYS_rt_sigaction, number, &fallback, NULL, sizeof fallback.mask);
    uint64_t none = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
}

int op_sigreset(struct context *ctx, const union arg *args)
{
    (void)ctx;
    (void)args;
    reset_signals();
    return 0;
}

/* The next candidate is tried after these; EACCES wins over ENOENT in the end, as in execvp(3). */
static bool next_candidate(int error, int *outcome)
{
    if (error == -EACCES)
        *outcome = -EACCES;
    return error == -EACCES || error == -ENOENT || error == -ENOTDIR;
}

int op_access_exec(struct context *ctx, const union arg *args)
{
    (void)ctx;
    int outcome = -ENOENT;
    for (uint32_t i = 0; i < args[0].count; i++) {
        struct stat stat_;
        const char *path = args[0].list[i];
        int error = result(faccessat(AT_FDCWD, path, X_OK, AT_EACCESS));
        if (error >= 0)
            error = result(stat(path, &stat_));
        if (error >= 0 && !S_ISREG(stat_.st_mode))
            error = -EACCES;
        if (error >= 0 || !next_candidate(error, &outcome))
            return error;
    }
    return outcome;
}

/* The decoder left room for one more. */
static void add_home(struct context *ctx, const union arg *env)
{
    for (uint32_t i = 0; i < env->count; i++)
        if (!strncmp(env->list[i], HOME_PREFIX, strlen(HOME_PREFIX)))
            return;
    env->list[env->count] = ctx->home[0] ? ctx->home : NULL;
}

/* All that precedes execve. Close-on-exec is too late for the fds: the path of the program is looked up before, and
 * may lead through /proc/self/fd to what the host has open (CVE-2024-21626). Only sockets are left. */
void child_prepare_exec(struct context *ctx)
{
    if (!ctx->is_child || ctx->is_prepared)
        return;
    ctx->is_prepared = true;
    umask(ctx->umask);
    for (uint32_t slot = 0; slot < ctx->slot_count; slot++) {
        int fd = ctx->slots[slot];
        if (fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC)
            close(fd);
        ctx->slots[slot] = -1;
    }
    close(ctx->proc);
    child_leave(ctx);
}

int op_execve(struct context *ctx, const union arg *args)
{
    int outcome = -ENOENT;
    add_home(ctx, &args[2]);
    child_prepare_exec(ctx);
    if (!ctx->is_child)
        umask(ctx->umask);
    for (uint32_t i = 0; i < args[0].count; i++) {
        execve(args[0].list[i], args[1].list, args[2].list);
        if (!next_candidate(-errno, &outcome))
            return -errno;
    }
    if (!ctx->is_child)
        umask(0);
    return outcome;
}
