/* nsinfo: what a namespace says about itself and its family, which only ioctls on its file tell: ioctl_nsfs(2). */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* The payload of the DATA record, little-endian. An inode is 0 when there is none or it may not be seen. */
struct nsinfo {
    uint32_t type;           /* CLONE_NEW* */
    uint32_t owner_uid;      /* of a user namespace, as a uid here; ~0 for the other kinds */
    uint64_t device, inode;
    uint64_t parent;         /* of a user or PID namespace */
    uint64_t owner;          /* the user namespace it belongs to; for a user namespace that is its parent */
    int32_t parent_errno;    /* why parent is 0: EPERM outside of the caller's own, EINVAL for kinds that do not nest */
    int32_t owner_errno;
};

/* The inode of the namespace that the ioctl opens. */
static int related(int namespace, unsigned long request, uint64_t *inode)
{
    SCOPED int fd = result(ioctl(namespace, request));
    struct stat status;
    if (fd < 0)
        return fd;
    if (fstat(fd, &status) < 0)
        return -errno;
    *inode = status.st_ino;
    return 0;
}

/* Opens a namespace's file and nothing else: the path may lead anywhere by now, and opening a device acts on it. */
static int open_namespace(struct context *ctx, const char *path)
{
    SCOPED int found = result(RETRY(open(path, O_PATH | O_CLOEXEC)));
    struct statfs filesystem;
    char name[32], *end = name + sizeof name;
    if (found < 0)
        return found;
    if (fstatfs(found, &filesystem) < 0)
        return -errno;
    if (filesystem.f_type != NSFS_MAGIC)
        return -EINVAL;
    put_number(put_text(name, end, "self/fd/"), end, found);
    return result(RETRY(openat(ctx->proc, name, O_RDONLY | O_CLOEXEC)));
}

int op_nsinfo(struct context *ctx, const union arg *args)
{
    SCOPED int fd = open_namespace(ctx, args[0].bytes);
    struct stat status;
    uid_t uid;
    if (fd < 0)
        return fd;
    int type = result(ioctl(fd, NS_GET_NSTYPE));
    if (type < 0)
        return type;
    if (fstat(fd, &status) < 0)
        return -errno;
    struct nsinfo info = { .type = (uint32_t)type, .owner_uid = ~0u, .device = status.st_dev, .inode = status.st_ino };
    if (ioctl(fd, NS_GET_OWNER_UID, &uid) == 0)
        info.owner_uid = uid;
    info.parent_errno = -related(fd, NS_GET_PARENT, &info.parent);
    info.owner_errno = -related(fd, NS_GET_USERNS, &info.owner);
    return send_record(ctx, RECORD_DATA, &info, sizeof info);
}
