/* What a tree has changed of the one that it was made from, as a layer in the form overlayfs reads. */
#include "merge.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define COMPARED_BYTES ((SCRATCH_BYTES - MERGE_NAMES_BYTES) / 2)

/* An attribute's value; where it has none, -ENODATA. */
static ssize_t read_xattr(int fd, const char *name, char *value)
{
    ssize_t bytes = fgetxattr(fd, name, value, COMPARED_BYTES - SHIFT_GROWTH);
    return bytes < 0 ? -errno : bytes;
}

/* Whether all attributes of `one` are those of `other`, as far as they are copied; `is_base`: `one` is what the ids are shifted of. */
static int has_xattrs_of(struct merge *m, int one, int other, bool is_base)
{
    char *names = m->ctx->scratch, *value = names + MERGE_NAMES_BYTES, *others = value + COMPARED_BYTES;
    ssize_t length = flistxattr(one, names, MERGE_NAMES_BYTES);
    if (length < 0)
        return errno == ENOTSUP ? 1 : -errno;
    for (char *name = names; name < names + length; name += strlen(name) + 1) {
        if (!merge_copies_xattr(name))
            continue;
        ssize_t bytes = read_xattr(one, name, value), other_bytes = read_xattr(other, name, others);
        if (bytes >= 0 && is_base)
            bytes = shift_xattr(&m->shift, name, value, (size_t)bytes);
        if (other_bytes >= 0 && !is_base)
            other_bytes = shift_xattr(&m->shift, name, others, (size_t)other_bytes);
        if (bytes != other_bytes || bytes < 0 || memcmp(value, others, (size_t)bytes))
            return bytes < 0 && bytes != -ENODATA ? (int)bytes : 0;
    }
    return 1;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_target(struct merge *m, int from, int base, const char *name)
{
    char *target = m->ctx->scratch, *other = target + PATH_MAX;
    ssize_t bytes = readlinkat(from, name, target, PATH_MAX), other_bytes = readlinkat(base, name, other, PATH_MAX);
    return bytes >= 0 && bytes == other_bytes && !memcmp(target, other, (size_t)bytes);
}

/* Whether nothing was changed of an entry, apart from what is in a directory: 1 or 0, or -errno. */
static int is_unchanged(struct merge *m, int from, int base, const char *name, const struct stat *new, const struct stat *old)
{
    if (new->st_mode != old->st_mode || new->st_uid != shift_id(&m->shift, old->st_uid) ||
        new->st_gid != shift_id(&m->shift, old->st_gid))
        return 0;
    if (!S_ISDIR(new->st_mode) && (new->st_size != old->st_size || new->st_rdev != old->st_rdev ||
                                   !same_time(&new->st_mtim, &old->st_mtim)))
        return 0;
    if (S_ISLNK(new->st_mode))
        return same_target(m, from, base, name);
    if (!S_ISREG(new->st_mode) && !S_ISDIR(new->st_mode))
        return 1;
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int one SCOPED = openat(from, name, flags), other SCOPED = openat(base, name, flags);
    if (one < 0 || other < 0)
        return -errno;
    int same = has_xattrs_of(m, one, other, false);
    return same <= 0 ? same : has_xattrs_of(m, other, one, true);
}

/* 1 when something of it is in `to`. What is made for a directory without changes is removed again. */
static int changes_of_subdirectory(struct merge *m, int base_dir, int from_dir, int to_dir, const char *name, int depth,
                                   bool is_same)
{
    struct stat stat;
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    if (mkdirat(to_dir, name, 0700) < 0)
        return -errno;
    int base SCOPED = openat(base_dir, name, flags), from SCOPED = openat(from_dir, name, flags);
    int to SCOPED = openat(to_dir, name, flags);
    if (base < 0 || from < 0 || to < 0 || fstat(from, &stat) < 0)
        return -errno;
    int found = merge_changes(m, base, from, to, depth + 1);
    if (found < 0)
        return found;
    if (found == 0 && is_same)
        return result(unlinkat(to_dir, name, AT_REMOVEDIR));
    const struct id_shift none = { 0 };
    struct merge as_is = { .ctx = m->ctx, .links = m->links, .shift = none };
    int error = merge_attributes(&as_is, from, to, &stat);
    return error < 0 ? error : 1;
}

static int changes_of_entry(struct merge *m, int base, int from, int to, const char *name, int depth)
{
    struct stat new, old;
    if (fstatat(from, name, &new, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno; /* A container that runs removes files. */
    bool was_there = fstatat(base, name, &old, AT_SYMLINK_NOFOLLOW) == 0;
    int same = was_there ? is_unchanged(m, from, base, name, &new, &old) : 0;
    if (same < 0)
        return same;
    if (was_there && S_ISDIR(new.st_mode) && S_ISDIR(old.st_mode))
        return changes_of_subdirectory(m, base, from, to, name, depth, same);
    if (same)
        return 0;
    const struct id_shift none = { 0 };
    struct merge as_is = { .ctx = m->ctx, .links = m->links, .shift = none, .cannot_clone = m->cannot_clone };
    int error = merge_entry(&as_is, from, to, name, depth, true);
    return error < 0 ? error : 1;
}

/* What is in `base` and not in `from` becomes a whiteout; the rest is copied where it differs. 1 when there was something. */
int merge_changes(struct merge *m, int base, int from, int to, int depth)
{
    char entries[2048] __attribute__((aligned(8)));
    struct stat stat;
    int found = 0;
    if (depth > MERGE_MAX_DEPTH)
        return -ELOOP;
    for (int pass = 0; pass < 2; pass++) {
        long got;
        while ((got = syscall(SYS_getdents64, pass ? base : from, entries, sizeof entries)) > 0)
            for (long at = 0; at < got;) {
                const struct directory_entry *entry = (const void *)(entries + at);
                int error = 0;
                at += entry->bytes;
                if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
                    continue;
                if (pass == 0)
                    error = changes_of_entry(m, base, from, to, entry->name, depth);
                else if (fstatat(from, entry->name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
                    error = errno != ENOENT ? -errno : mknodat(to, entry->name, S_IFCHR, 0) < 0 ? -errno : 1;
                if (error < 0)
                    return error;
                found |= error;
            }
        if (got < 0)
            return -errno;
    }
    return found;
}
