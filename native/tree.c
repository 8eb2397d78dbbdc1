/* Creates what is missing below a root whose content a container or image controls. Every look-up goes through
 * openat2(RESOLVE_IN_ROOT) and every creation through the fd of a parent found that way, so a link or a rename
 * at the wrong moment can misplace something inside the root, but never outside (CVE-2021-30465, CVE-2024-45310). */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_LINKS 40
#define MAX_COMPONENTS 256
#define MAX_RACES 128

int kernel_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = { .flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve };
    /* EAGAIN: a rename crossed a `..` below the root; the kernel can't tell whether the walk left it. */
    for (int race = 0;; race++) {
        int fd = result(syscall(SYS_openat2, dir, path, &how, sizeof how));
        if (fd != -EINTR && (fd != -EAGAIN || race >= MAX_RACES))
            return fd;
    }
}

int tree_open(int root, const char *path, int flags)
{
    return kernel_openat2(root, *path ? path : ".", (uint64_t)flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* Puts a link's target in the place of the path's first `prefix + name` bytes; an absolute target replaces all. */
static int follow(int parent, char *path, size_t prefix_bytes, size_t used_bytes)
{
    char name[NAME_MAX + 1], joined[PATH_MAX];
    size_t name_bytes = used_bytes - prefix_bytes, rest_bytes = strlen(path + used_bytes) + 1;
    if (name_bytes > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(name, path + prefix_bytes, name_bytes);
    name[name_bytes] = 0;
    ssize_t got = readlinkat(parent, name, joined, sizeof joined);
    if (got < 0)
        return -errno;
    size_t target_bytes = (size_t)got, start = joined[0] == '/' ? 0 : prefix_bytes;
    if (start + target_bytes + rest_bytes > PATH_MAX)
        return -ENAMETOOLONG;
    memmove(path + start + target_bytes, path + used_bytes, rest_bytes);
    memcpy(path + start, joined, target_bytes);
    return 0;
}

/* Opens the directory that is the path's first `end` bytes. */
static int open_prefix(int root, char *path, size_t end)
{
    char kept = path[end];
    path[end] = 0;
    int fd = tree_open(root, path, O_PATH | O_DIRECTORY);
    path[end] = kept;
    return fd;
}

/* Makes the last component of the path's first `end` bytes in its parent: 0, or -EEXIST for what is a link. */
static int make_component(int parent, char *path, size_t start, size_t end, mode_t mode)
{
    char kept = path[end];
    path[end] = 0;
    int error = result(mkdirat(parent, path + start, mode));
    path[end] = kept;
    return error;
}

int tree_mkdirs(int root, const char *wanted, mode_t mode)
{
    char path[PATH_MAX];
    int fd = tree_open(root, wanted, O_PATH | O_DIRECTORY);
    if (fd != -ENOENT)
        return fd;
    if (strlen(wanted) >= sizeof path)
        return -ENAMETOOLONG;
    strcpy(path, wanted);
    int links = 0, components = 0;
    size_t start = 0;
    fd = tree_open(root, ".", O_PATH | O_DIRECTORY);
    while (fd >= 0) {
        start += strspn(path + start, "/");
        size_t end = start + strcspn(path + start, "/");
        if (end == start)
            return fd;
        int parent SCOPED = fd;
        fd = open_prefix(root, path, end);
        if (fd == -ENOENT) {
            fd = make_component(parent, path, start, end, mode);
            if (fd == -EEXIST) {
                /* It is there but leads nowhere: a dangling link. What it points to is made, inside the root. */
                fd = ++links > MAX_LINKS ? -ELOOP : follow(parent, path, start, end);
                end = fd >= 0 ? 0 : end;
                if (fd == -EINVAL)
                    fd = 0; /* No link after all: another process made the directory just now. */
            }
            if (fd >= 0)
                fd = open_prefix(root, path, end);
        }
        if (++components > MAX_COMPONENTS && fd >= 0) {
            close(fd);
            return -ELOOP;
        }
        start = end;
    }
    return fd;
}

/* The directory of the path's last component, made when missing; `name` is that component. */
int tree_parent(int root, const char *path, const char **name)
{
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/')
        length--;
    size_t start = length;
    while (start > 0 && path[start - 1] != '/')
        start--;
    *name = path + start;
    if (path[length] || length == start || !strcmp(*name, ".") || !strcmp(*name, ".."))
        return -EINVAL;
    char directory[PATH_MAX];
    if (start >= sizeof directory)
        return -ENAMETOOLONG;
    memcpy(directory, path, start);
    directory[start] = 0;
    return tree_mkdirs(root, directory, 0755);
}

int tree_mkfile(int root, const char *wanted, mode_t mode)
{
    char path[PATH_MAX];
    if (strlen(wanted) >= sizeof path)
        return -ENAMETOOLONG;
    strcpy(path, wanted);
    for (int links = 0; links <= MAX_LINKS; links++) {
        int fd = tree_open(root, path, O_PATH);
        if (fd != -ENOENT)
            return fd;
        const char *name;
        int parent SCOPED = tree_parent(root, path, &name);
        if (parent < 0)
            return parent;
        fd = openat(parent, name, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd >= 0 || errno != EEXIST)
            return result(fd);
        int error = follow(parent, path, (size_t)(name - path), strlen(path));
        if (error < 0 && error != -EINVAL) /* EINVAL: no link; another process just made the file. */
            return error;
    }
    return -ELOOP;
}
