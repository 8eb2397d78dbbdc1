/* copy_tree: the content of one directory into another, by fds only and never through a link. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_DEPTH 256
#define NAMES_BYTES 16384

static int copy_directory(struct context *ctx, int from, int to, int depth);

/* As far as the target takes them: not every filesystem has them, and not every user may set each. */
static int copy_xattrs(struct context *ctx, int from, int to)
{
    char *value = ctx->scratch + NAMES_BYTES;
    ssize_t names = flistxattr(from, ctx->scratch, NAMES_BYTES);
    if (names < 0)
        return errno == ENOTSUP ? 0 : -errno;
    for (char *name = ctx->scratch; name < ctx->scratch + names; name += strlen(name) + 1) {
        ssize_t bytes = fgetxattr(from, name, value, SCRATCH_BYTES - NAMES_BYTES);
        if (bytes < 0 && errno == ENODATA)
            continue;
        if (bytes < 0 || fsetxattr(to, name, value, (size_t)bytes, 0) < 0)
            if (errno != ENOTSUP && errno != EPERM)
                return -errno;
    }
    return 0;
}

/* chown before chmod: it clears the set-id bits. */
static int copy_attributes(struct context *ctx, int from, int to, const struct stat *stat)
{
    const struct timespec times[] = { stat->st_atim, stat->st_mtim };
    if (fchown(to, stat->st_uid, stat->st_gid) < 0 || fchmod(to, stat->st_mode & 07777) < 0)
        return -errno;
    int error = copy_xattrs(ctx, from, to);
    return error < 0 ? error : result(futimens(to, times));
}

static int copy_file(struct context *ctx, int from, int to_dir, const char *name, const struct stat *stat)
{
    int to SCOPED = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return -errno;
    for (;;) {
        ssize_t sent = RETRY(sendfile(to, from, NULL, 1 << 30));
        if (sent < 0)
            return -errno;
        if (sent == 0)
            return copy_attributes(ctx, from, to, stat);
    }
}

static int copy_subdirectory(struct context *ctx, int from, int to_dir, const char *name, const struct stat *stat,
                             int depth)
{
    if (mkdirat(to_dir, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    int to SCOPED = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to < 0)
        return -errno;
    int error = copy_directory(ctx, from, to, depth + 1);
    return error < 0 ? error : copy_attributes(ctx, from, to, stat);
}

/* Links, pipes and devices have no content to open. */
static int copy_special(struct context *ctx, int from, int to, const char *name, const struct stat *stat)
{
    if (S_ISSOCK(stat->st_mode))
        return 0; /* Its server is not copied with it. */
    if (S_ISLNK(stat->st_mode)) {
        ssize_t got = readlinkat(from, name, ctx->scratch, PATH_MAX);
        if (got < 0)
            return -errno;
        ctx->scratch[got] = 0;
        if (symlinkat(ctx->scratch, to, name) < 0)
            return -errno;
    } else if (mknodat(to, name, stat->st_mode, stat->st_rdev) < 0) {
        return errno == EPERM ? 0 : -errno; /* Devices can't be made in a user namespace. */
    }
    const struct timespec times[] = { stat->st_atim, stat->st_mtim };
    if (fchownat(to, name, stat->st_uid, stat->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return result(utimensat(to, name, times, AT_SYMLINK_NOFOLLOW));
}

static int copy_entry(struct context *ctx, int from, int to, const char *name, int depth)
{
    struct stat stat;
    if (fstatat(from, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode))
        return copy_special(ctx, from, to, name, &stat);
    /* O_NONBLOCK: it may have become a pipe since. What was opened counts, not what was there before. */
    int fd SCOPED = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) < 0)
        return -errno;
    if (S_ISDIR(stat.st_mode))
        return copy_subdirectory(ctx, fd, to, name, &stat, depth);
    return S_ISREG(stat.st_mode) ? copy_file(ctx, fd, to, name, &stat) : -EINVAL;
}

static int copy_directory(struct context *ctx, int from, int to, int depth)
{
    char entries[1024] __attribute__((aligned(8)));
    if (depth > MAX_DEPTH)
        return -ELOOP;
    for (;;) {
        long got = syscall(SYS_getdents64, from, entries, sizeof entries);
        if (got <= 0)
            return result(got);
        for (long at = 0; at < got;) {
            const struct directory_entry *entry = (const void *)(entries + at);
            at += entry->bytes;
            if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
                continue;
            int error = copy_entry(ctx, from, to, entry->name, depth);
            if (error < 0)
                return error;
        }
    }
}

int op_copy_tree(struct context *ctx, const union arg *args)
{
    int from SCOPED = openat(args[0].fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int to SCOPED = openat(args[1].fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return from < 0 || to < 0 ? -errno : copy_directory(ctx, from, to, 0);
}
