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

/* Waits until the child has executed its program: LEAVE, then end of file. */
int pair_wait_exec(struct context *ctx)
{
    bool leaving = false;
    struct record record;
    for (;;) {
        int fd = -1, error = receive_own(ctx, &record, &fd);
        if (error == -ENODATA)
            return leaving ? 0 : child_lost(ctx);
        if (error < 0)
            return error;
        if (record.kind != RECORD_LEAVE)
            return -EPROTO;
        leaving = true;
    }
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
    else if (ctx->pair >= 0)
        send_record(ctx, RECORD_LEAVE, NULL, 0);
    _exit(error < 0);
}

/* In a plan with wait_start the launcher may leave as soon as it has the child's last message, so the child stops
 * dying with it right before that one. From then on only the sending of it tells whether the launcher was there. */
void child_before_post(struct context *ctx)
{
    enum stage stage = ctx->stage;
    uint32_t i = ctx->step + 1;
    for (; stage <= STAGE_EXEC; stage++, i = 0) {
        for (; i < ctx->plan.step_count[stage]; i++) {
            enum op op = ctx->plan.steps[stage][i].op;
            if (op == OP_post || op == OP_send_fd)
                return;
            if (op == OP_wait_start) {
                prctl(PR_SET_PDEATHSIG, 0);
                return;
            }
        }
    }
}

/* The program must not die with the launcher: PR_SET_PDEATHSIG survives execve. LEAVE fails when the launcher is
 * dead already; what is left of the window is the execve itself. */
int child_before_exec(struct context *ctx)
{
    if (!ctx->is_child || ctx->pair < 0)
        return 0;
    prctl(PR_SET_PDEATHSIG, 0);
    if (send_record(ctx, RECORD_LEAVE, NULL, 0) < 0)
        _exit(1);
    return 0;
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
