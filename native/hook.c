/* hook: one program of the user's, its state on stdin, the end of its output kept for the message. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TAIL_BYTES 400

struct hook {
    pid_t pid;
    int pidfd, input, output;
    const char *state;   /* what stdin still has to take */
    size_t state_bytes;
    int64_t deadline_ms; /* -1: none */
    char tail[TAIL_BYTES];
    size_t tail_bytes;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Runs in the memory of the launcher, which waits until the execve (vfork): only system calls here. */
static int hook_execute(const struct context *ctx, const union arg *args, int input, int output)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* A group of its own, so that a timeout ends what the hook has started, too. */
    setpgid(0, 0);
    reset_signals();
    umask(ctx->umask);
    if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
        return errno;
    char *only_path[] = { args[0].bytes, NULL };
    execve(args[0].bytes, args[1].count ? args[1].list : only_path, args[2].list);
    return errno;
}

/* A program whose output is for the user: it goes to our stderr. */
int op_call(struct context *ctx, const union arg *args)
{
    volatile int exec_error = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        reset_signals();
        umask(ctx->umask);
        int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (dup2(nothing, STDIN_FILENO) >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0)
            execve(args[0].bytes, args[1].list, args[2].list);
        exec_error = errno;
        _exit(127);
    }
    int status, error = pid < 0 ? -errno : 0;
    if (error < 0)
        return error;
    RETRY(waitpid(pid, &status, 0));
    if (exec_error || status == 0)
        return -exec_error;
    say_wait_status(ctx, status);
    return -ECHILD;
}

/* Starts the hook; the ends of the pipes that stay are nonblocking, so that neither side can make the other wait. */
static int hook_start(struct context *ctx, const union arg *args, struct hook *hook)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0)
        return -errno;
    if (pipe2(out, O_CLOEXEC) < 0) {
        int error = -errno;
        close(in[0]);
        close(in[1]);
        return error;
    }
    hook->input = in[1];
    hook->output = out[0];
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    volatile int exec_error = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        exec_error = hook_execute(ctx, args, in[0], out[1]);
        _exit(127);
    }
    int error = pid < 0 ? -errno : -exec_error;
    close(in[0]);
    close(out[1]);
    if (pid > 0 && error < 0)
        RETRY(waitpid(pid, NULL, 0));
    if (error < 0)
        return error;
    hook->pid = pid;
    hook->pidfd = kernel_pidfd_open(pid);
    return hook->pidfd < 0 ? hook->pidfd : 0;
}

static void feed(struct hook *hook)
{
    ssize_t written = hook->state_bytes ? write(hook->input, hook->state, hook->state_bytes) : 0;
    if (written > 0) {
        hook->state += written;
        hook->state_bytes -= (size_t)written;
    }
    bool refused = written < 0 && errno != EAGAIN && errno != EINTR; /* EPIPE: a hook need not read its state. */
    if (hook->state_bytes == 0 || refused) {
        close(hook->input);
        hook->input = -1;
    }
}

/* Takes what is there and keeps the end of it. */
static void drain(struct hook *hook)
{
    char bytes[TAIL_BYTES];
    while (hook->output >= 0) {
        ssize_t got = RETRY(read(hook->output, bytes, sizeof bytes));
        if (got < 0)
            return;
        if (got == 0) {
            close(hook->output);
            hook->output = -1;
            return;
        }
        size_t new_bytes = (size_t)got, room = TAIL_BYTES - new_bytes;
        size_t keep = hook->tail_bytes < room ? hook->tail_bytes : room;
        memmove(hook->tail, hook->tail + hook->tail_bytes - keep, keep);
        memcpy(hook->tail + keep, bytes, new_bytes);
        hook->tail_bytes = keep + new_bytes;
    }
}

/* Until the hook itself has ended; what it left running may hold its output open for ever. */
static int hook_wait(struct hook *hook)
{
    for (;;) {
        struct pollfd fds[] = {
            { .fd = hook->pidfd, .events = POLLIN },
            { .fd = hook->input, .events = POLLOUT },
            { .fd = hook->output, .events = POLLIN },
        };
        int64_t left = hook->deadline_ms < 0 ? -1 : hook->deadline_ms - now_ms();
        if (hook->deadline_ms >= 0 && left <= 0)
            return -ETIMEDOUT;
        if (poll(fds, 3, left > INT32_MAX ? INT32_MAX : (int)left) < 0 && errno != EINTR)
            return -errno;
        if (fds[1].revents)
            feed(hook);
        if (fds[2].revents)
            drain(hook);
        if (fds[0].revents)
            return 0;
    }
}

static void close_hook(struct hook *hook)
{
    close_scoped(&hook->pidfd);
    close_scoped(&hook->input);
    close_scoped(&hook->output);
}

static int compose_state(struct context *ctx, const char *state, struct hook *hook)
{
    char *end = ctx->scratch + SCRATCH_BYTES, *at = put_with_pid(ctx->scratch, end, state, container_pid(ctx));
    hook->state = ctx->scratch;
    hook->state_bytes = (size_t)(at - ctx->scratch);
    return at == end ? -E2BIG : 0;
}

int op_hook(struct context *ctx, const union arg *args)
{
    struct hook hook __attribute__((cleanup(close_hook))) = { .pidfd = -1, .input = -1, .output = -1 };
    int error = compose_state(ctx, args[4].bytes, &hook);
    if (error >= 0)
        error = hook_start(ctx, args, &hook);
    if (error < 0)
        return error;
    hook.deadline_ms = args[3].i > 0 ? now_ms() + args[3].i : -1;
    error = hook_wait(&hook);
    if (error < 0)
        kill(-hook.pid, SIGKILL);
    int status = 0;
    RETRY(waitpid(hook.pid, &status, 0));
    drain(&hook);
    if (error == 0 && status == 0)
        return 0;
    if (error == 0) {
        say_wait_status(ctx, status);
        say(ctx, hook.tail_bytes ? ": " : "");
    }
    say_bytes(ctx, hook.tail, hook.tail_bytes);
    return error < 0 ? error : -ECHILD;
}
