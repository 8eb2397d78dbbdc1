/* Removes whole trees that a container or an image has made: however deep, however long the paths, following no link. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REMOVE_DEPTH 64

struct removal {
    int top;        /* the directory that is emptied */
    uint32_t moved; /* how many deep directories were moved up into it */
};

static int empty_directory(struct removal *removal, int dir, int depth);

/* A tree may be deeper than a process may have open files, and than a path may be long. */
static int move_up(struct removal *removal, int dir, const char *name)
{
    for (;;) {
        char to[32];
        put_number(put_text(to, to + sizeof to, "\1"), to + sizeof to, removal->moved++);
        if (renameat(dir, name, removal->top, to) == 0 || errno == ENOENT)
            return 0;
        if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
            return -errno;
    }
}

/* What is gone is gone, whoever removed it. */
static int removed(int error)
{
    return error == -ENOENT ? 0 : error;
}

static int remove_at(struct removal *removal, int dir, const char *name, int depth)
{
    int error = result(unlinkat(dir, name, 0));
    if (error != -EISDIR)
        return removed(error);
    if (depth > REMOVE_DEPTH)
        return move_up(removal, dir, name);
    int fd SCOPED = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return removed(-errno);
    struct removal own = { .top = fd };
    error = empty_directory(removal ? removal : &own, fd, depth + 1);
    return error < 0 ? error : removed(result(unlinkat(dir, name, AT_REMOVEDIR)));
}

/* Until a whole pass finds nothing: what was moved up may lie before the place where the pass is. */
static int empty_directory(struct removal *removal, int dir, int depth)
{
    char entries[1024] __attribute__((aligned(8)));
    for (bool found = true; found;) {
        long got;
        found = false;
        if (lseek(dir, 0, SEEK_SET) < 0)
            return -errno;
        while ((got = syscall(SYS_getdents64, dir, entries, sizeof entries)) > 0)
            for (long at = 0; at < got;) {
                const struct directory_entry *entry = (const void *)(entries + at);
                at += entry->bytes;
                if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
                    continue;
                int error = remove_at(removal, dir, entry->name, depth);
                if (error < 0)
                    return error;
                found = true;
            }
        if (got < 0)
            return -errno;
    }
    return 0;
}

int tree_remove(int dir, const char *name)
{
    return remove_at(NULL, dir, name, 0);
}

int op_remove_tree(struct context *ctx, const union arg *args)
{
    (void)ctx;
    const char *name = args[1].bytes;
    if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
        return -EINVAL;
    return tree_remove(dir_fd(&args[0]), name);
}
