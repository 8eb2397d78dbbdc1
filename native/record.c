/* Records out, and the small texts in them. stdio would cost more memory than the whole rest of the process. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

int result(long returned)
{
    return returned < 0 ? -errno : (int)returned;
}

void close_scoped(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

int write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = RETRY(write(fd, bytes, length));
        if (written < 0)
            return -errno;
        bytes += written;
        length -= (size_t)written;
    }
    return 0;
}

/* Up to `length` bytes until end of file: how many, or -errno. */
int read_some(int fd, char *bytes, size_t length)
{
    size_t have = 0;
    while (have < length) {
        ssize_t got = RETRY(read(fd, bytes + have, length - have));
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return (int)have;
}

/* The first write takes header and payload together: on the pair one write is one message. */
int send_record(struct context *ctx, enum record_kind kind, const void *payload, size_t bytes)
{
    struct record record = { (uint32_t)bytes, (uint16_t)kind, (uint16_t)ctx->stage, ctx->step };
    struct iovec parts[] = { { &record, sizeof record }, { (void *)payload, bytes } };
    ssize_t written = RETRY(writev(ctx->report, parts, bytes ? 2 : 1));
    if (written < 0)
        return -errno;
    size_t sent = (size_t)written;
    if (sent < sizeof record)
        return -EIO;
    sent -= sizeof record;
    return write_all(ctx->report, (const char *)payload + sent, bytes - sent);
}

int send_errno_record(struct context *ctx, enum record_kind kind, int error)
{
    char payload[sizeof(int32_t) + RECORD_MAX_MESSAGE];
    int32_t number = error;
    memcpy(payload, &number, sizeof number);
    memcpy(payload + sizeof number, ctx->message, ctx->message_bytes);
    return send_record(ctx, kind, payload, sizeof number + ctx->message_bytes);
}

void say_bytes(struct context *ctx, const char *bytes, size_t length)
{
    size_t room = sizeof ctx->message - ctx->message_bytes;
    if (length > room)
        length = room;
    memcpy(ctx->message + ctx->message_bytes, bytes, length);
    ctx->message_bytes += (uint32_t)length;
}

void say(struct context *ctx, const char *text)
{
    say_bytes(ctx, text, strlen(text));
}

void say_number(struct context *ctx, int64_t number)
{
    char text[24];
    say_bytes(ctx, text, (size_t)(put_number(text, text + sizeof text, number) - text));
}

void say_wait_status(struct context *ctx, int status)
{
    say(ctx, WIFSIGNALED(status) ? "signal " : "exit status ");
    say_number(ctx, WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* Appends what fits before `end` and gives the new end; a NUL follows when there is room. */
char *put_text(char *at, const char *end, const char *text)
{
    while (*text && at < end)
        *at++ = *text++;
    if (at < end)
        *at = 0;
    return at;
}

char *put_number(char *at, const char *end, int64_t number)
{
    char digits[24], *first = digits + sizeof digits - 1;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    *first = 0;
    do
        *--first = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (number < 0)
        *--first = '-';
    return put_text(at, end, first);
}

/* Appends a text in which each byte 0x01 stands for the pid that nobody knew when the text was written. */
char *put_with_pid(char *at, const char *end, const char *text, pid_t pid)
{
    for (; *text && at < end; text++) {
        if (*text == 1)
            at = put_number(at, end, pid);
        else
            *at++ = *text;
    }
    return at;
}
