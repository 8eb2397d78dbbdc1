/*
 * The container's log: CRI lines, appended and rotated. A failure costs lines, never the container: lost lines are counted,
 * and the count is written when writing works again. Text goes from the read buffer to the file by writev without a copy;
 * only the unfinished end of a line is kept.
 */
#define _GNU_SOURCE
#include "shim-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* "2026-11-23T14:00:00.123456789Z stdout F " */
enum { PREFIX = 40, TAG = 38, LINE_MAX_BYTES = 16 * 1024, PARTS = 4, BATCH = 64 };
enum line_tag { LINE_FULL, LINE_PARTIAL };

static struct {
    int dir, fd, error;
    const char *name;
    int64_t max_bytes, max_files, size;
    uint64_t lost;
    char prefix[2][PREFIX];
    struct iovec parts[BATCH * PARTS];
    int entries;
    int64_t batch_bytes;
    struct {
        uint8_t bytes[LINE_MAX_BYTES];
        size_t length;
    } partial[SHIM_STREAMS];
} shim_log;

/* Days since 1970 to year, month, day in the proleptic Gregorian calendar, counted in eras of 400 years from 1 March. */
static char *put_date(char *at, int64_t days)
{
    int64_t shifted = days + 719468, era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    at = shim_put_number(at, (uint64_t)(year + era * 400 + (month >= 10)), 4);
    *at++ = '-';
    at = shim_put_number(at, (uint64_t)(month < 10 ? month + 3 : month - 9), 2);
    *at++ = '-';
    return shim_put_number(at, (uint64_t)(day_of_year - (153 * month + 2) / 5 + 1), 2);
}

static void stamp(enum shim_stream stream)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char *at = put_date(shim_log.prefix[LINE_FULL], now.tv_sec / 86400);
    uint64_t second = (uint64_t)(now.tv_sec % 86400);
    const uint64_t clock[3] = { second / 3600, second / 60 % 60, second % 60 };
    for (int i = 0; i < 3; i++) {
        *at++ = i == 0 ? 'T' : ':';
        at = shim_put_number(at, clock[i], 2);
    }
    *at++ = '.';
    at = shim_put_number(at, (uint64_t)now.tv_nsec, 9);
    memcpy(at, stream == SHIM_STDOUT ? "Z stdout F " : "Z stderr F ", 11);
    memcpy(shim_log.prefix[LINE_PARTIAL], shim_log.prefix[LINE_FULL], PREFIX);
    shim_log.prefix[LINE_PARTIAL][TAG] = 'P';
}

static void lose(int entries, int error)
{
    shim_log.lost += (uint64_t)entries;
    shim_log.error = error;
}

static bool reopen(void)
{
    if (shim_log.fd >= 0)
        return true;
    int fd = openat(shim_log.dir, shim_log.name, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
    if (fd < 0)
        return false;
    struct stat status;
    char last = '\n';
    if (fstat(fd, &status) == 0 && status.st_size > 0)
        (void)!pread(fd, &last, 1, status.st_size - 1);
    shim_log.fd = fd;
    shim_log.size = status.st_size;
    /* A machine that went down in the middle of a line must not cost the first line after it too. */
    if (last != '\n' && write(fd, "\n", 1) == 1)
        shim_log.size++;
    return true;
}

/* Cuts off what a failed write left behind `keep`; someone else may have truncated the file, which must not grow again. */
static void cut(int64_t keep)
{
    struct stat status;
    if (fstat(shim_log.fd, &status) == 0 && status.st_size > keep)
        (void)!ftruncate(shim_log.fd, keep);
    shim_log.size = keep;
}

/* One line that says how many were lost, as soon as there is room for it. */
static bool confess(void)
{
    if (shim_log.lost == 0)
        return true;
    char line[PREFIX + 96], *at = line + PREFIX;
    memcpy(line, shim_log.prefix[LINE_FULL], PREFIX);
    memcpy(line + PREFIX - 9, "stderr", 6);
    at = stpcpy(at, "berth: log lines lost: ");
    at = shim_put_number(at, shim_log.lost, 1);
    at = stpcpy(at, ", last errno ");
    at = shim_put_number(at, (uint64_t)shim_log.error, 1);
    *at++ = '\n';
    errno = ENOSPC; /* a short write sets none */
    ssize_t written = write(shim_log.fd, line, (size_t)(at - line));
    if (written != at - line) {
        cut(shim_log.size);
        return false;
    }
    shim_log.size += written;
    shim_log.lost = 0;
    return true;
}

static void flush(void)
{
    int entries = shim_log.entries, whole = 0;
    if (entries == 0)
        return;
    shim_log.entries = 0;
    int64_t batch_bytes = shim_log.batch_bytes, kept = 0;
    shim_log.batch_bytes = 0;
    if (!reopen() || !confess()) {
        lose(entries, errno);
        return;
    }
    errno = ENOSPC;
    ssize_t written = writev(shim_log.fd, shim_log.parts, entries * PARTS);
    for (; written < batch_bytes && whole < entries; whole++) {
        int64_t bytes = 0;
        for (int part = 0; part < PARTS; part++)
            bytes += (int64_t)shim_log.parts[whole * PARTS + part].iov_len;
        if (kept + bytes > written)
            break;
        kept += bytes;
    }
    if (written == batch_bytes) {
        shim_log.size += batch_bytes;
        return;
    }
    lose(entries - whole, errno);
    cut(shim_log.size + kept);
}

static const char *numbered(char *name, int64_t number)
{
    *shim_put_number(stpcpy(stpcpy(name, shim_log.name), "."), (uint64_t)number, 1) = '\0';
    return name;
}

/* name → name.1 → name.2 …, the oldest falling off. A failure keeps the bound: lines are lost then, not the disk. */
static bool rotate(void)
{
    static char older[NAME_MAX + 32], newer[NAME_MAX + 32];
    int64_t last = 1;
    while (last < shim_log.max_files - 1 && faccessat(shim_log.dir, numbered(older, last), F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        last++;
    for (; last > 1; last--) {
        if (renameat(shim_log.dir, numbered(newer, last - 1), shim_log.dir, numbered(older, last)) != 0)
            return false;
    }
    int failed = shim_log.max_files < 2 ? unlinkat(shim_log.dir, shim_log.name, 0)
                                        : renameat(shim_log.dir, shim_log.name, shim_log.dir, numbered(older, 1));
    if (failed != 0 && errno != ENOENT)
        return false;
    close(shim_log.fd);
    shim_log.fd = -1;
    shim_log.size = 0;
    return true;
}

static bool too_long(int64_t bytes)
{
    int64_t before = shim_log.size + shim_log.batch_bytes;
    return shim_log.max_bytes > 0 && before > 0 && before + bytes > shim_log.max_bytes;
}

/* One entry: the text is `head` followed by `tail`. Both must stay as they are until flush. */
static void emit(enum line_tag tag, const uint8_t *head, size_t head_length, const uint8_t *tail, size_t tail_length)
{
    int64_t bytes = (int64_t)(PREFIX + head_length + tail_length + 1);
    if (shim_log.entries == BATCH || too_long(bytes))
        flush();
    if (too_long(bytes) && !rotate()) {
        lose(1, errno);
        return;
    }
    struct iovec *part = &shim_log.parts[shim_log.entries++ * PARTS];
    part[0] = (struct iovec){ shim_log.prefix[tag], PREFIX };
    part[1] = (struct iovec){ (void *)(uintptr_t)head, head_length };
    part[2] = (struct iovec){ (void *)(uintptr_t)tail, tail_length };
    part[3] = (struct iovec){ (void *)(uintptr_t)"\n", 1 };
    shim_log.batch_bytes += bytes;
}

void shim_log_write(enum shim_stream stream, const uint8_t *bytes, size_t length)
{
    if (shim_log.dir < 0)
        return;
    stamp(stream);
    uint8_t *head = shim_log.partial[stream].bytes;
    size_t head_length = shim_log.partial[stream].length;
    while (length > 0) {
        const uint8_t *newline = memchr(bytes, '\n', length);
        size_t piece = newline != NULL ? (size_t)(newline - bytes) : length;
        bool longer = head_length + piece > LINE_MAX_BYTES;
        if (longer)
            piece = LINE_MAX_BYTES - head_length;
        else if (newline == NULL)
            break;
        emit(longer ? LINE_PARTIAL : LINE_FULL, head, head_length, bytes, piece);
        size_t used = longer ? piece : piece + 1;
        bytes += used;
        length -= used;
        head_length = 0;
    }
    flush(); /* before `head`, which the entries point to, changes */
    memcpy(head + head_length, bytes, length);
    shim_log.partial[stream].length = head_length + length;
}

void shim_log_end(enum shim_stream stream)
{
    size_t length = shim_log.partial[stream].length;
    if (shim_log.dir < 0 || (length == 0 && shim_log.lost == 0))
        return;
    stamp(stream);
    /* P, because there was no newline: whoever joins the pieces gets the container's bytes again. */
    if (length > 0)
        emit(LINE_PARTIAL, shim_log.partial[stream].bytes, length, NULL, 0);
    flush();
    shim_log.partial[stream].length = 0;
    if (reopen())
        (void)confess(); /* the last chance to */
}

void shim_log_start(const struct shim_config *config)
{
    shim_log.dir = config->log_dir;
    shim_log.name = config->log_name;
    shim_log.max_bytes = config->log_max_bytes;
    shim_log.max_files = config->log_max_files;
    shim_log.fd = -1;
    if (shim_log.dir >= 0)
        (void)reopen(); /* so that the file is there, and its size known; a failure is counted with the first line */
}
