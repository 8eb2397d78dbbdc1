/* Steps in which two processes talk: child and launcher, launcher and TypeScript, a program and who connects. */
#include "exec.h"
#include "shim.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* One message of bytes with an fd attached; fd -1: none. */
static int send_with_fd(int socket, const struct iovec *parts, size_t count, int fd)
{
    union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = { .msg_iov = (struct iovec *)parts, .msg_iovlen = count };
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                                           .cmsg_len = CMSG_LEN(sizeof fd) };
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    }
    return result(RETRY(sendmsg(socket, &message, MSG_NOSIGNAL)));
}

static int pair_send(struct context *ctx, enum record_kind kind, int64_t tag, int fd)
{
    if (ctx->pair < 0)
        return -ENOTCONN;
    struct record record = { sizeof tag, (uint16_t)kind, (uint16_t)ctx->stage, ctx->step };
    struct iovec parts[] = { { &record, sizeof record }, { &tag, sizeof tag } };
    int sent = send_with_fd(ctx->pair, parts, 2, fd);
    if (sent >= 0)
        return 0;
    if (ctx->is_child)
        _exit(1);
    /* The child is gone: its failure record, or how it died, says more than EPIPE. */
    int unwanted = -1;
    int error = pair_receive(ctx, kind, tag, &unwanted);
    if (unwanted >= 0)
        close(unwanted);
    return error < 0 ? error : sent;
}

int op_post(struct context *ctx, const union arg *args)
{
    return pair_send(ctx, RECORD_POST, args[0].i, -1);
}

int op_await(struct context *ctx, const union arg *args)
{
    int fd = -1;
    return pair_receive(ctx, RECORD_POST, args[0].i, &fd);
}

int op_send_fd(struct context *ctx, const union arg *args)
{
    return args[0].fd < 0 ? -EBADF : pair_send(ctx, RECORD_POST_FD, 0, args[0].fd);
}

int op_recv_fd(struct context *ctx, const union arg *args)
{
    int fd = -1, error = pair_receive(ctx, RECORD_POST_FD, 0, &fd);
    return error < 0 ? error : keep_fd(ctx, &args[0], fd);
}

int op_ask(struct context *ctx, const union arg *args)
{
    int32_t tag = (int32_t)args[0].i;
    int error = send_record(ctx, RECORD_ASK, &tag, sizeof tag);
    uint8_t reply = 0;
    if (error < 0)
        return error;
    int got = read_some(STDIN_FILENO, (char *)&reply, 1);
    if (got == 0)
        return -ECANCELED;
    return got < 0 ? got : -(int)reply;
}

struct socket_name {
    int fd;
    struct sockaddr_un name;
};

static int bind_here(const void *argument)
{
    const struct socket_name *at = argument;
    return result(bind(at->fd, (const struct sockaddr *)&at->name, sizeof at->name));
}

int op_listen(struct context *ctx, const union arg *args)
{
    struct socket_name socket_at = { -1, { .sun_family = AF_UNIX } };
    if (args[1].length >= sizeof socket_at.name.sun_path)
        return -ENAMETOOLONG;
    memcpy(socket_at.name.sun_path, args[1].bytes, args[1].length);
    socket_at.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_at.fd < 0)
        return -errno;
    /* Before bind the mode is the socket's own and bind gives it to the name, so no moment is open to others. */
    int error = result(fchmod(socket_at.fd, (mode_t)args[2].i));
    if (error >= 0)
        error = in_directory(dir_fd(&args[0]), bind_here, &socket_at);
    if (error >= 0)
        error = result(listen(socket_at.fd, 16));
    if (error < 0) {
        close(socket_at.fd);
        return error;
    }
    return keep_fd(ctx, &args[3], socket_at.fd);
}

/* Waits until the peer has read what was written, for a second at most; false when it hung up instead. A program
 * that executes at once would close the connection before its peer saw it open, and Bun (1.4.5) then reports that
 * it could not connect, and loses what was written. There is no event for "read", so it is asked for. */
static bool was_heard(int connection)
{
    struct pollfd peer = { .fd = connection };
    struct timespec pause = { .tv_nsec = 50000 };
    for (int unread, round = 0; round < 20000; round++) {
        if (RETRY(ppoll(&peer, 1, &pause, NULL)) > 0 && peer.revents & POLLHUP)
            return false;
        if (ioctl(connection, SIOCOUTQ, &unread) < 0 || unread == 0)
            break;
    }
    return true;
}

int op_wait_start(struct context *ctx, const union arg *args)
{
    child_leave(ctx);
    for (;;) {
        int connection = accept4(args[0].fd, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (connection < 0)
            return -errno;
        if (write_all(connection, "A", 1) == 0 && was_heard(connection)) {
            if (ctx->pair >= 0)
                close(ctx->pair);
            ctx->pair = -1;
            ctx->report = connection;
            return 0;
        }
        close(connection); /* It left before it was served: whoever starts the container is still to come. */
    }
}

int op_send_fd_to(struct context *ctx, const union arg *args)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (args[0].length >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, args[0].bytes, args[0].length);
    int socket_fd SCOPED = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_fd < 0 || RETRY(connect(socket_fd, (struct sockaddr *)&address, sizeof address)) < 0)
        return -errno;
    char *end = ctx->scratch + SCRATCH_BYTES;
    struct iovec data = { ctx->scratch, 1 }; /* An fd needs at least one byte to go with. */
    ctx->scratch[0] = 0;
    if (args[2].length > 0)
        data.iov_len = (size_t)(put_with_pid(ctx->scratch, end, args[2].bytes, container_pid(ctx)) - ctx->scratch);
    if (data.iov_len == SCRATCH_BYTES)
        return -E2BIG;
    int sent = send_with_fd(socket_fd, &data, 1, args[1].fd);
    return sent < 0 ? sent : write_all(socket_fd, ctx->scratch + sent, data.iov_len - (size_t)sent);
}

/* DONE: nothing is undone from here on. The child executes its program, or waits for start. */
int launcher_done(struct context *ctx)
{
    bool waits_for_start = false;
    for (unsigned stage = STAGE_CHILD; stage <= STAGE_EXEC; stage++)
        for (uint32_t i = 0; i < ctx->plan.step_count[stage]; i++)
            waits_for_start |= ctx->plan.steps[stage][i].op == OP_wait_start;
    int error = ctx->child > 0 ? pair_wait_leave(ctx, waits_for_start) : 0;
    if (error >= 0)
        error = send_record(ctx, RECORD_DONE, NULL, 0);
    if (error < 0)
        return error;
    if (ctx->pair >= 0)
        close(ctx->pair);
    ctx->pair = -1;
    return 0;
}

static void __attribute__((noreturn)) report_exit(struct context *ctx, int status, int code)
{
    int32_t wait_status = status;
    if (ctx->front)
        _exit(front_finish(ctx, status));
    send_record(ctx, RECORD_EXIT, &wait_status, sizeof wait_status); /* EPIPE: nobody is interested. */
    _exit(code);
}

int op_wait_child(struct context *ctx, const union arg *args)
{
    (void)args;
    int status, error = launcher_done(ctx);
    if (error < 0)
        return error;
    if (ctx->front)
        status = front_wait(ctx);
    else
        child_reap(ctx, 0, &status);
    report_exit(ctx, status, 0);
}

/* Lets go of all that the shim does not need: it lives as long as its container, and there are thousands. */
static void become_small(struct context *ctx, const struct shim_config *config)
{
    const int kept[] = { config->listener, config->terminal, config->in, config->out, config->err,
                         config->log_dir, config->exit_dir };
    for (uint32_t slot = 0; slot < ctx->slot_count; slot++) {
        bool keep = ctx->slots[slot] < 0;
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            keep |= ctx->slots[slot] == kept[i];
        if (!keep)
            close(ctx->slots[slot]);
    }
    close(ctx->proc);
    munmap(ctx->plan.memory, ctx->plan.memory_bytes);
}

int op_serve(struct context *ctx, const union arg *args)
{
    static char log_name[256], exit_name[256];
    if (args[6].length >= sizeof log_name || args[10].length >= sizeof exit_name)
        return -ENAMETOOLONG;
    memcpy(log_name, args[6].bytes, args[6].length);
    memcpy(exit_name, args[10].bytes, args[10].length);
    const struct shim_config config = {
        .listener = args[0].fd, .terminal = args[1].fd, .in = args[2].fd, .out = args[3].fd, .err = args[4].fd,
        .log_dir = args[5].fd, .log_name = log_name, .log_max_bytes = args[7].i, .log_max_files = args[8].i,
        .exit_dir = args[9].fd, .exit_name = exit_name, .child = ctx->child,
    };
    int status = 0, error = launcher_done(ctx);
    if (error < 0)
        return error;
    become_small(ctx, &config);
    error = shim_serve(&config, &status);
    if (error < 0)
        child_reap(ctx, 0, &status); /* What can't be served is at least reaped and reported. */
    report_exit(ctx, status, error < 0);
}
