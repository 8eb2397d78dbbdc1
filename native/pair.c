/* Launcher and child: the socket pair between them, and who survives whom. */
#include "exec.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Receives one message into the scratch space. Its bytes, 0 at end of file, or -errno; `fd` is -1 or an fd that came. */
static int receive(struct context *ctx, int *fd)
{
    union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control;
    struct iovec data = { ctx->scratch, SCRATCH_BYTES };
    struct msghdr message;
    ssize_t got;
    /* ECONNRESET says once that the peer left messages of ours unread; what it sent before is still to come. */
    do {
        message = (struct msghdr){ .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                                   .msg_controllen = sizeof control };
        got = recvmsg(ctx->pair, &message, MSG_CMSG_CLOEXEC);
    } while (got < 0 && (errno == EINTR || errno == ECONNRESET));
    if (got < 0)
        return -errno;
    *fd = -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(header), sizeof *fd);
    return (int)got;
}

/* The child closed the pair outside the protocol: tells how it died. */
static int child_lost(struct context *ctx)
{
    int status, pidfd SCOPED = kernel_pidfd_open(ctx->child);
    struct pollfd gone = { .fd = pidfd, .events = POLLIN };
    /* It closes its files a moment before it can be reaped. */
    if (pidfd >= 0 && RETRY(poll(&gone, 1, 1000)) > 0 && waitpid(ctx->child, &status, WNOHANG) == ctx->child) {
        ctx->child = 0;
        say(ctx, "the child ended with ");
        say_wait_status(ctx, status);
    }
    return -ECANCELED;
}

/* Takes a record of the child that is not for the launcher itself. OUTCOME_KNOWN when it ends the plan. */
static int forward(struct context *ctx, const struct record *record)
{
    const char *payload = ctx->scratch + sizeof *record;
    if (record->kind != RECORD_FAIL)
        return write_all(ctx->report, ctx->scratch, sizeof *record + record->payload_bytes);
    uint32_t bytes = record->payload_bytes - (uint32_t)sizeof ctx->failure_errno;
    memcpy(&ctx->failure_errno, payload, sizeof ctx->failure_errno);
    ctx->failure = *record;
    ctx->failure_message_bytes = bytes < RECORD_MAX_MESSAGE ? bytes : RECORD_MAX_MESSAGE;
    memcpy(ctx->failure_message, payload + sizeof ctx->failure_errno, ctx->failure_message_bytes);
    return OUTCOME_KNOWN;
}

/* The next message that is not forwarded: 0 with its header, -ENODATA at end of file, OUTCOME_KNOWN, or -errno. */
static int receive_own(struct context *ctx, struct record *record, int *fd)
{
    for (;;) {
        int got = receive(ctx, fd);
        if (got <= 0)
            return got < 0 ? got : -ENODATA;
        if ((size_t)got < sizeof *record)
            return -EPROTO;
        memcpy(record, ctx->scratch, sizeof *record);
        if (record->payload_bytes != (size_t)got - sizeof *record)
            return -EPROTO;
        if (ctx->is_child || record->kind >= RECORD_POST)
            return 0;
        if (record->kind == RECORD_FAIL && record->payload_bytes < sizeof ctx->failure_errno)
            return -EPROTO;
        int error = forward(ctx, record);
        if (error < 0)
            return error;
    }
}

/* Waits for a message of this kind; `fd` receives what came with POST_FD. */
int pair_receive(struct context *ctx, enum record_kind kind, int64_t tag, int *fd)
{
    if (ctx->pair < 0)
        return -ENOTCONN;
    struct record record;
    int64_t got_tag = 0;
    int error = receive_own(ctx, &record, fd);
    if (error == -ENODATA) {
        if (ctx->is_child)
            _exit(1); /* The launcher is dead, and nobody is left to report to. */
        return child_lost(ctx);
    }
    if (error < 0)
        return error;
    if (record.payload_bytes == sizeof got_tag)
        memcpy(&got_tag, ctx->scratch + sizeof record, sizeof got_tag);
    bool wants_fd = kind == RECORD_POST_FD;
    if (record.kind == kind && got_tag == tag && (*fd >= 0) == wants_fd)
        return 0;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return -EPROTO;
}

/* Waits for LEAVE, and unless the child then waits for start, for the end of file that means execve. */
int pair_wait_leave(struct context *ctx, bool waits_for_start)
{
    bool leaving = false;
    struct record record;
    while (!leaving || !waits_for_start) {
        int fd = -1, error = receive_own(ctx, &record, &fd);
        if (error == -ENODATA)
            return leaving ? 0 : child_lost(ctx);
        if (error < 0)
            return error;
        if (record.kind != RECORD_LEAVE)
            return -EPROTO;
        leaving = true;
    }
    return 0;
}

/* True when the child has reported a failure: then that is why the launcher's own step failed. */
bool pair_take_failure(struct context *ctx)
{
    struct pollfd readable = { .fd = ctx->pair, .events = POLLIN };
    while (ctx->pair >= 0 && RETRY(poll(&readable, 1, 0)) > 0 && readable.revents & POLLIN) {
        struct record record;
        int fd = -1, error = receive_own(ctx, &record, &fd);
        if (fd >= 0)
            close(fd);
        if (error < 0)
            return error == OUTCOME_KNOWN;
    }
    return false;
}

void child_run(struct context *ctx)
{
    int error = run_stage(ctx, STAGE_CHILD);
    if (error >= 0)
        error = run_stage(ctx, STAGE_EXEC);
    if (error < 0)
        send_errno_record(ctx, RECORD_FAIL, -error);
    else
        child_leave(ctx);
    _exit(error < 0);
}

/* From here on the child must not die with the launcher: PR_SET_PDEATHSIG would survive execve, and a launcher may
 * end while its child waits for start. LEAVE fails when the launcher is dead already; what is left of the window is
 * the moment until the execve or the accept. */
void child_leave(struct context *ctx)
{
    if (!ctx->is_child || ctx->pair < 0)
        return;
    prctl(PR_SET_PDEATHSIG, 0);
    if (send_record(ctx, RECORD_LEAVE, NULL, 0) < 0)
        _exit(1);
}

void child_reap(struct context *ctx, int signal, int *status)
{
    *status = 0;
    if (ctx->child > 0) {
        if (signal)
            kill(ctx->child, signal);
        RETRY(waitpid(ctx->child, status, 0));
    }
    ctx->child = 0;
}

/* The container's first process as this side sees it. */
pid_t container_pid(const struct context *ctx)
{
    return ctx->child > 0 ? ctx->child : getpid();
}
