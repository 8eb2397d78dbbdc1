/* merge_tree: one layer, in the form overlayfs reads, put onto a tree that becomes what an overlay of both would show; or
 * the other way round, what a tree has changed of another as such a layer.
 * By fds only and never through a link; contents are shared with the layer where the filesystem can (FICLONE). */
#include "merge.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define COPY_BYTES (1u << 30)
#define OPAQUE "trusted.overlay.opaque"

static int merge_directory(struct merge *m, int from, int to, int depth, bool is_new);

bool merge_copies_xattr(const char *name)
{
    if (!strncmp(name, "trusted.", 8))
        return strncmp(name, "trusted.overlay.", 16) != 0; /* Those were for the overlay that this takes the place of. */
    /* Labels of a security module are given by the machine. */
    return !strcmp(name, "security.capability") || !strncmp(name, "user.", 5) || !strncmp(name, "system.posix_acl_", 17);
}

static int copy_xattrs(struct merge *m, int from, int to)
{
    char *names = m->ctx->scratch, *value = names + MERGE_NAMES_BYTES;
    ssize_t length = flistxattr(from, names, MERGE_NAMES_BYTES);
    if (length < 0)
        return errno == ENOTSUP ? 0 : -errno;
    for (char *name = names; name < names + length; name += strlen(name) + 1) {
        bool is_mark = m->keeps_marks && !strcmp(name, OPAQUE);
        if (!is_mark && !merge_copies_xattr(name))
            continue;
        ssize_t bytes = fgetxattr(from, name, value, SCRATCH_BYTES - MERGE_NAMES_BYTES - SHIFT_GROWTH);
        if (bytes >= 0)
            bytes = shift_xattr(&m->shift, name, value, (size_t)bytes);
        if (bytes < 0 || fsetxattr(to, name, value, (size_t)bytes, 0) < 0)
            return say(m->ctx, "attribute "), say(m->ctx, name), say(m->ctx, " of "), -errno;
    }
    return 0;
}

/* Of a directory that was there before, the layer's attributes take the place of the old ones. */
static int remove_xattrs(struct merge *m, int to)
{
    char *names = m->ctx->scratch;
    ssize_t length = flistxattr(to, names, MERGE_NAMES_BYTES);
    if (length < 0)
        return errno == ENOTSUP ? 0 : -errno;
    for (char *name = names; name < names + length; name += strlen(name) + 1)
        if (merge_copies_xattr(name) && fremovexattr(to, name) < 0 && errno != ENODATA)
            return -errno;
    return 0;
}

/* Owner before mode and attributes: changing it drops setuid bits and capabilities (chown(2)). */
int merge_attributes(struct merge *m, int from, int to, const struct stat *stat)
{
    const struct timespec times[] = { stat->st_atim, stat->st_mtim };
    if (fchown(to, shift_id(&m->shift, stat->st_uid), shift_id(&m->shift, stat->st_gid)) < 0 ||
        fchmod(to, stat->st_mode & 07777) < 0)
        return -errno;
    int error = copy_xattrs(m, from, to);
    return error < 0 ? error : result(futimens(to, times));
}

/* Between two holes. copy_file_range shares too where it can, and on some filesystems the server copies. */
static int copy_range(int from, int to, off_t at, off_t end)
{
    off_t out = at;
    bool in_kernel = true;
    while (at < end) {
        size_t bytes = end - at > COPY_BYTES ? COPY_BYTES : (size_t)(end - at);
        ssize_t got = in_kernel ? copy_file_range(from, &at, to, &out, bytes, 0) : sendfile(to, from, &at, bytes);
        if (got == 0)
            return 0; /* Shorter than it was: nobody changes a layer, but a directory of the host may change. */
        if (got > 0 || errno == EINTR)
            continue;
        if (!in_kernel || (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP))
            return -errno;
        in_kernel = false;
        if (lseek(to, out, SEEK_SET) < 0)
            return -errno;
    }
    return 0;
}

static int copy_content(struct merge *m, int from, int to, off_t size)
{
    if (size == 0)
        return 0;
    if (!m->cannot_clone) {
        if (ioctl(to, FICLONE, from) == 0)
            return 0;
        if (errno == ENOSPC || errno == EDQUOT || errno == EIO)
            return -errno;
        /* EINVAL is about this file alone, such as one without checksums on btrfs. */
        m->cannot_clone = errno != EINVAL;
    }
    for (off_t at = 0; at < size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break;
        off_t end = data < 0 ? size : lseek(from, data, SEEK_HOLE);
        if (end < 0)
            return -errno;
        int error = copy_range(from, to, data < 0 ? at : data, end);
        if (error < 0)
            return error;
        at = end;
    }
    return result(ftruncate(to, size));
}

static int copy_file(struct merge *m, int from_dir, int to_dir, const char *name)
{
    struct stat stat;
    /* O_NONBLOCK: it may have become a pipe since. What was opened counts, not what was there before. */
    int from SCOPED = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (from < 0 || fstat(from, &stat) < 0)
        return -errno;
    if (!S_ISREG(stat.st_mode))
        return -EINVAL;
    int to SCOPED = openat(to_dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return -errno;
    int error = copy_content(m, from, to, stat.st_size);
    return error < 0 ? error : merge_attributes(m, from, to, &stat);
}

static int copy_special(struct merge *m, int from, int to, const char *name, const struct stat *stat)
{
    if (S_ISLNK(stat->st_mode)) {
        ssize_t got = readlinkat(from, name, m->ctx->scratch, PATH_MAX);
        if (got < 0)
            return -errno;
        m->ctx->scratch[got] = 0;
        if (symlinkat(m->ctx->scratch, to, name) < 0)
            return -errno;
    } else if (mknodat(to, name, stat->st_mode, stat->st_rdev) < 0) {
        return -errno;
    }
    const struct timespec times[] = { stat->st_atim, stat->st_mtim };
    uid_t uid = shift_id(&m->shift, stat->st_uid);
    gid_t gid = shift_id(&m->shift, stat->st_gid);
    if (fchownat(to, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISFIFO(stat->st_mode) && fchmodat(to, name, stat->st_mode & 07777, 0) < 0)
        return -errno; /* A set-id bit of it went with the owner. It was made just now, in a tree that nobody else has. */
    return result(utimensat(to, name, times, AT_SYMLINK_NOFOLLOW));
}

/* The further names of a file are links to the first. Those are kept in `links`, so that no path is built and none is too long. */
static int merge_file(struct merge *m, int from, int to, const char *name, const struct stat *stat)
{
    char link[32];
    bool has_names = stat->st_nlink > 1;
    put_number(link, link + sizeof link, (int64_t)stat->st_ino);
    if (has_names && linkat(m->links, link, to, name, 0) == 0)
        return 0;
    int error = S_ISREG(stat->st_mode) ? copy_file(m, from, to, name) : copy_special(m, from, to, name, stat);
    if (error < 0 || !has_names)
        return error;
    /* EEXIST: the first has as many names as the filesystem allows (EMLINK), and this one stays a file of its own. */
    return linkat(to, name, m->links, link, 0) == 0 || errno == EEXIST ? 0 : -errno;
}

static bool is_opaque(int dir)
{
    char value;
    return fgetxattr(dir, OPAQUE, &value, 1) == 1 && value == 'y';
}

static int merge_subdirectory(struct merge *m, int from_dir, int to_dir, const char *name, int depth, bool is_new)
{
    struct stat old;
    int from SCOPED = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (from < 0)
        return -errno;
    bool is_in_the_way = !is_new && !fstatat(to_dir, name, &old, AT_SYMLINK_NOFOLLOW) &&
                         (!S_ISDIR(old.st_mode) || is_opaque(from));
    int error = is_in_the_way ? tree_remove(to_dir, name) : 0;
    if (error < 0)
        return error;
    bool made = mkdirat(to_dir, name, 0700) == 0;
    if (!made && errno != EEXIST)
        return -errno;
    int to SCOPED = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return to < 0 ? -errno : merge_directory(m, from, to, depth + 1, made);
}

int merge_entry(struct merge *m, int from, int to, const char *name, int depth, bool is_new)
{
    struct stat stat;
    if (fstatat(from, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISDIR(stat.st_mode))
        return merge_subdirectory(m, from, to, name, depth, is_new);
    int error = is_new ? 0 : tree_remove(to, name);
    bool is_whiteout = S_ISCHR(stat.st_mode) && stat.st_rdev == 0;
    return error < 0 || (is_whiteout && !m->keeps_marks) ? error : merge_file(m, from, to, name, &stat);
}

/* `is_new`: nothing is in the way. A directory gets its attributes last, since its content changes its times. */
static int merge_directory(struct merge *m, int from, int to, int depth, bool is_new)
{
    char entries[2048] __attribute__((aligned(8)));
    if (depth > MERGE_MAX_DEPTH)
        return -ELOOP;
    long got;
    while ((got = syscall(SYS_getdents64, from, entries, sizeof entries)) > 0)
        for (long at = 0; at < got;) {
            const struct directory_entry *entry = (const void *)(entries + at);
            at += entry->bytes;
            if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
                continue;
            int error = merge_entry(m, from, to, entry->name, depth, is_new);
            if (error < 0) {
                if (m->ctx->message_bytes == 0 || entry->type != 4 /* DT_DIR: what is in it was named */)
                    say(m->ctx, "\""), say(m->ctx, entry->name), say(m->ctx, "\"");
                return error;
            }
        }
    struct stat stat;
    if (got < 0 || fstat(from, &stat) < 0)
        return -errno;
    int error = is_new ? 0 : remove_xattrs(m, to);
    return error < 0 ? error : merge_attributes(m, from, to, &stat);
}

int op_merge_tree(struct context *ctx, const union arg *args)
{
    int from SCOPED = openat(dir_fd(&args[0]), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int to SCOPED = openat(dir_fd(&args[1]), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from < 0 || to < 0)
        return -errno;
    struct merge merge = { .ctx = ctx, .links = dir_fd(&args[2]), .shift = { args[3].i, args[4].i }, .keeps_marks = args[6].i != 0 };
    if (args[5].fd < 0)
        return merge_directory(&merge, from, to, 0, false);
    int base SCOPED = openat(args[5].fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int found = base < 0 ? -errno : merge_changes(&merge, base, from, to, 0);
    return found < 0 ? found : 0;
}
