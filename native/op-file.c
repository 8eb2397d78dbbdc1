/* Steps on files. Nothing here follows a final link unless the step's flags ask for it. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Calls with the working directory elsewhere for a moment: for calls that take a path but no directory. */
int in_directory(int directory, int (*call)(const void *), const void *argument)
{
    if (directory < 0)
        return call(argument);
    int before SCOPED = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (before < 0 || fchdir(directory) < 0)
        return -errno;
    int error = call(argument);
    return fchdir(before) < 0 ? -errno : error;
}

/* Appends the path of an open file relative to /proc. */
char *put_fd_path(char *at, const char *end, int fd)
{
    return put_number(put_text(at, end, "self/fd/"), end, fd);
}

int op_close(struct context *ctx, const union arg *args)
{
    if (args[0].fd < 0)
        return -EBADF;
    close(args[0].fd);
    ctx->slots[args[0].slot] = -1;
    return 0;
}

int op_mknod(struct context *ctx, const union arg *args)
{
    (void)ctx;
    const char *name;
    mode_t type = args[2].i ? (mode_t)args[2].i : S_IFREG;
    dev_t device = makedev((unsigned)args[4].i, (unsigned)args[5].i);
    int parent SCOPED = tree_parent(dir_fd(&args[0]), args[1].bytes, &name);
    if (parent < 0)
        return parent;
    if (mknodat(parent, name, type | (mode_t)args[3].i, device) < 0) {
        struct stat old;
        bool is_device = type == S_IFCHR || type == S_IFBLK;
        if (errno != EEXIST || fstatat(parent, name, &old, AT_SYMLINK_NOFOLLOW) < 0)
            return -errno;
        return (old.st_mode & S_IFMT) == type && (!is_device || old.st_rdev == device) ? 0 : -EEXIST;
    }
    return result(fchownat(parent, name, (uid_t)args[6].i, (gid_t)args[7].i, AT_SYMLINK_NOFOLLOW));
}

int op_symlink(struct context *ctx, const union arg *args)
{
    const char *name;
    int parent SCOPED = tree_parent(dir_fd(&args[1]), args[2].bytes, &name);
    if (parent < 0)
        return parent;
    if (symlinkat(args[0].bytes, parent, name) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    ssize_t got = readlinkat(parent, name, ctx->scratch, SCRATCH_BYTES);
    return got == (ssize_t)args[0].length && !memcmp(ctx->scratch, args[0].bytes, (size_t)got) ? 0 : -EEXIST;
}

/* Kernel files take a value whole or not at all: one write, and a short one is an error. Takes over `fd`. */
static int write_once(int fd, const union arg *data)
{
    if (fd < 0)
        return fd;
    ssize_t written = RETRY(write(fd, data->bytes, data->length));
    int error = written < 0 ? -errno : written == (ssize_t)data->length ? 0 : -EIO;
    close(fd);
    return error;
}

int op_write(struct context *ctx, const union arg *args)
{
    (void)ctx;
    int flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
    return write_once(result(RETRY(openat(dir_fd(&args[0]), args[1].bytes, flags))), &args[2]);
}

int op_write_fd(struct context *ctx, const union arg *args)
{
    (void)ctx;
    return args[0].fd < 0 ? -EBADF : write_all(args[0].fd, args[1].bytes, args[1].length);
}

int op_write_checked(struct context *ctx, const union arg *args)
{
    (void)ctx;
    struct statfs filesystem;
    int fd = kernel_openat2(dir_fd(&args[0]), args[1].bytes, O_WRONLY | O_NOFOLLOW | O_NOCTTY, 0,
                            RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
    if (fd < 0)
        return fd;
    int error = fstatfs(fd, &filesystem) < 0 ? -errno : filesystem.f_type == args[2].i ? 0 : -EXDEV;
    if (error < 0) {
        close(fd);
        return error;
    }
    return write_once(fd, &args[3]);
}

int op_write_child(struct context *ctx, const union arg *args)
{
    return write_once(open_process_file(ctx, ctx->child, args[0].bytes, O_WRONLY | O_NOFOLLOW), &args[1]);
}

/* O_PATH of what an (fd, path) pair names, the fd itself when the path is empty. */
static int open_object(const union arg *dir, const union arg *path)
{
    if (path->length == 0)
        return dir->fd < 0 ? -EBADF : result(fcntl(dir->fd, F_DUPFD_CLOEXEC, 0));
    return result(openat(dir_fd(dir), path->bytes, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

int op_chmod(struct context *ctx, const union arg *args)
{
    /* An O_PATH fd takes no fchmod, and fchmodat2 came only with 6.6; its link in the host's own /proc does. */
    char path[32];
    struct stat stat;
    int object SCOPED = open_object(&args[0], &args[1]);
    if (object < 0)
        return object;
    if (fstat(object, &stat) < 0)
        return -errno;
    if (S_ISLNK(stat.st_mode))
        return -EOPNOTSUPP;
    put_fd_path(path, path + sizeof path, object);
    return result(fchmodat(ctx->proc, path, (mode_t)args[2].i, 0));
}

struct xattr {
    const char *path, *name;
    const union arg *value;
};

static int set_xattr(const void *argument)
{
    const struct xattr *xattr = argument;
    return result(setxattr(xattr->path, xattr->name, xattr->value->bytes, xattr->value->length, 0));
}

int op_setxattr(struct context *ctx, const union arg *args)
{
    char path[32];
    int object SCOPED = open_object(&args[0], &args[1]);
    if (object < 0)
        return object;
    put_fd_path(path, path + sizeof path, object);
    struct xattr xattr = { path, args[2].bytes, &args[3] };
    return in_directory(ctx->proc, set_xattr, &xattr);
}

int op_check_type(struct context *ctx, const union arg *args)
{
    (void)ctx;
    struct stat stat;
    if (fstat(args[0].fd, &stat) < 0)
        return -errno;
    if ((stat.st_mode & S_IFMT) != args[1].i)
        return args[1].i == S_IFDIR ? -ENOTDIR : -ENODEV;
    if (args[2].i == -1)
        return 0;
    bool same = major(stat.st_rdev) == args[2].i && (args[3].i == -1 || minor(stat.st_rdev) == args[3].i);
    return same ? 0 : -ENODEV;
}

int op_check_fs(struct context *ctx, const union arg *args)
{
    (void)ctx;
    struct statfs filesystem;
    if (fstatfs(args[0].fd, &filesystem) < 0)
        return -errno;
    return filesystem.f_type == args[1].i ? 0 : -EXDEV;
}

int op_create_file(struct context *ctx, const union arg *args)
{
    (void)ctx;
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, dir = dir_fd(&args[0]);
    int fd SCOPED = openat(dir, args[1].bytes, flags, (mode_t)args[2].i);
    if (fd < 0)
        return -errno;
    int error = write_all(fd, args[3].bytes, args[3].length);
    if (error < 0)
        unlinkat(dir, args[1].bytes, 0);
    return error;
}

int op_read(struct context *ctx, const union arg *args)
{
    struct stat stat;
    int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY; /* Opening a pipe must not wait, nor a terminal become ours. */
    uint64_t resolve = args[0].fd < 0 ? 0 : RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    int fd SCOPED = kernel_openat2(dir_fd(&args[0]), args[1].bytes, (uint64_t)flags, 0, resolve);
    if (fd < 0)
        return fd;
    if (fstat(fd, &stat) < 0)
        return -errno;
    if (!S_ISREG(stat.st_mode) || args[2].i < 0)
        return -EINVAL;
    for (int64_t total = 0;;) {
        int got = read_some(fd, ctx->scratch, RECORD_MAX_DATA);
        if (got < 0 || (got == 0 && total > 0))
            return got;
        total += got;
        int error = total > args[2].i ? -EFBIG : send_record(ctx, RECORD_DATA, ctx->scratch, (size_t)got);
        if (error < 0 || got < RECORD_MAX_DATA)
            return error;
    }
}
