/* home: the home directory of a uid, from the container's own passwd file. That file is the image's: it may be
 * anything, of any size, so it is read in pieces, up to a limit, and nothing in it is a failure. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSWD_MAX_BYTES (1 << 20)
#define FIELD_UID 2
#define FIELD_HOME 5

/* The start of a field of a line, and its length up to the next colon or the line's end; NULL when it has fewer. */
static const char *field(const char *line, size_t bytes, int number, size_t *length)
{
    const char *end = line + bytes;
    for (; number > 0; number--) {
        const char *colon = memchr(line, ':', (size_t)(end - line));
        if (!colon)
            return NULL;
        line = colon + 1;
    }
    const char *colon = memchr(line, ':', (size_t)(end - line));
    *length = (size_t)((colon ? colon : end) - line);
    return line;
}

/* Digits only, and no more than a uid has: "4294967296" is not 0, and neither is "". */
static bool is_uid(const char *text, size_t length, int64_t uid)
{
    int64_t number = 0;
    if (length == 0 || length > 10)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        number = number * 10 + (text[i] - '0');
    }
    return number == uid;
}

/* True when the line is the uid's; its home directory, if usable, is taken. */
static bool take_line(struct context *ctx, const char *line, size_t bytes, int64_t uid)
{
    size_t length;
    const char *text = field(line, bytes, FIELD_UID, &length);
    if (!text || !is_uid(text, length, uid))
        return false;
    text = field(line, bytes, FIELD_HOME, &length);
    if (text && length > 0 && length < sizeof ctx->home - strlen(HOME_PREFIX) && !memchr(text, 0, length)) {
        memcpy(ctx->home + strlen(HOME_PREFIX), text, length);
        ctx->home[strlen(HOME_PREFIX) + length] = 0;
    }
    return true;
}

/* Line by line through the scratch space; a line that does not fit into it is no line of a passwd file. */
static void search(struct context *ctx, int fd, int64_t uid)
{
    char *buffer = ctx->scratch;
    size_t have = 0, total = 0;
    while (total < PASSWD_MAX_BYTES) {
        int got = read_some(fd, buffer + have, SCRATCH_BYTES - 1 - have);
        if (got < 0 || (got == 0 && have == 0))
            return;
        total += (size_t)got;
        have += (size_t)got;
        if (got == 0)
            buffer[have++] = '\n'; /* The last line need not have one. */
        char *line = buffer, *end = buffer + have, *newline;
        while ((newline = memchr(line, '\n', (size_t)(end - line)))) {
            if (take_line(ctx, line, (size_t)(newline - line), uid))
                return;
            line = newline + 1;
        }
        have = (size_t)(end - line);
        if (have >= SCRATCH_BYTES - 1)
            return;
        memmove(buffer, line, have);
    }
}

int op_home(struct context *ctx, const union arg *args)
{
    struct stat stat;
    strcpy(ctx->home, HOME_PREFIX "/");
    int fd SCOPED = tree_open(dir_fd(&args[0]), args[1].bytes, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && stat.st_size <= PASSWD_MAX_BYTES)
        search(ctx, fd, args[2].i);
    return 0;
}
