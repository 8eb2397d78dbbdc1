/* Subvolumes of btrfs: made, copied on write as a whole, and deleted with those that are in them. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define REMEMBERED_DEPTH 128
#define FILE_HANDLE_TYPE 0x4d /* FILEID_BTRFS_WITHOUT_PARENT of <linux/exportfs.h> */
#define FILE_HANDLE_BYTES 20

struct subvolume_handle {
    unsigned handle_bytes;
    int handle_type;
    struct {
        uint64_t inode, subvolume;
        uint32_t generation; /* 0: any (since Linux 6.1) */
    } __attribute__((packed)) id;
};

static int put_name(char *to, size_t bytes, const char *name)
{
    if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
        return -EINVAL;
    if (strlen(name) >= bytes)
        return -ENAMETOOLONG;
    strcpy(to, name);
    return 0;
}

int op_subvolume_create(struct context *ctx, const union arg *args)
{
    (void)ctx;
    struct btrfs_ioctl_vol_args_v2 call = { 0 };
    int dir SCOPED = openat(dir_fd(&args[0]), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = dir < 0 ? -errno : put_name(call.name, sizeof call.name, args[1].bytes);
    return error < 0 ? error : result(ioctl(dir, BTRFS_IOC_SUBVOL_CREATE_V2, &call));
}

int op_subvolume_snapshot(struct context *ctx, const union arg *args)
{
    (void)ctx;
    int source SCOPED = openat(dir_fd(&args[0]), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int dir SCOPED = openat(dir_fd(&args[1]), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct btrfs_ioctl_vol_args_v2 call = { .fd = source, .flags = args[3].i ? BTRFS_SUBVOL_RDONLY : 0 };
    if (source < 0 || dir < 0)
        return -errno;
    int error = put_name(call.name, sizeof call.name, args[2].bytes);
    return error < 0 ? error : result(ioctl(dir, BTRFS_IOC_SNAP_CREATE_V2, &call));
}

/* One that lies in a subvolume; 0 when there is none. */
static int first_child(int fs, uint64_t subvolume, uint64_t *child)
{
    struct btrfs_ioctl_search_args search = { .key = {
        .tree_id = BTRFS_ROOT_TREE_OBJECTID,
        .min_objectid = subvolume, .max_objectid = subvolume,
        .min_type = BTRFS_ROOT_REF_KEY, .max_type = BTRFS_ROOT_REF_KEY,
        .max_offset = UINT64_MAX, .max_transid = UINT64_MAX,
        .nr_items = 1,
    } };
    *child = 0;
    if (ioctl(fs, BTRFS_IOC_TREE_SEARCH, &search) < 0)
        return -errno;
    struct btrfs_ioctl_search_header found;
    if (search.key.nr_items > 0) {
        memcpy(&found, search.buf, sizeof found);
        *child = found.offset;
    }
    return 0;
}

/* What is in a read-only subvolume can't be deleted, and a container may have made its own so. */
static int make_writable(int fs, uint64_t subvolume)
{
    struct subvolume_handle handle = {
        .handle_bytes = FILE_HANDLE_BYTES, .handle_type = FILE_HANDLE_TYPE,
        .id = { .inode = BTRFS_FIRST_FREE_OBJECTID, .subvolume = subvolume },
    };
    int fd SCOPED = open_by_handle_at(fs, (struct file_handle *)&handle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint64_t flags;
    if (fd < 0 || ioctl(fd, BTRFS_IOC_SUBVOL_GETFLAGS, &flags) < 0)
        return -errno;
    if (!(flags & BTRFS_SUBVOL_RDONLY))
        return 0;
    flags &= ~(uint64_t)BTRFS_SUBVOL_RDONLY;
    return result(ioctl(fd, BTRFS_IOC_SUBVOL_SETFLAGS, &flags));
}

static int destroy(int fs, uint64_t subvolume)
{
    struct btrfs_ioctl_vol_args_v2 call = { .flags = BTRFS_SUBVOL_SPEC_BY_ID, .subvolid = subvolume };
    return result(ioctl(fs, BTRFS_IOC_SNAP_DESTROY_V2, &call));
}

/* By id, from the innermost on: no path, however long or deep. A way that is too long to remember is found again. */
static int delete_below(int fs, uint64_t top)
{
    uint64_t path[REMEMBERED_DEPTH], current = top, child;
    for (unsigned depth = 0;;) {
        int error = first_child(fs, current, &child);
        if (error >= 0 && child) {
            error = make_writable(fs, current);
            depth = depth == REMEMBERED_DEPTH ? 0 : depth;
            path[depth++] = current;
            current = child;
        } else if (error >= 0) {
            if (current == top)
                return 0;
            error = destroy(fs, current);
            current = depth ? path[--depth] : top;
        }
        if (error < 0)
            return error;
    }
}

int op_subvolume_delete(struct context *ctx, const union arg *args)
{
    (void)ctx;
    struct btrfs_ioctl_vol_args call = { 0 };
    struct btrfs_ioctl_ino_lookup_args lookup = { .objectid = BTRFS_FIRST_FREE_OBJECTID };
    struct statfs filesystem;
    struct stat stat;
    int error = put_name(call.name, sizeof call.name, args[1].bytes);
    int dir SCOPED = openat(dir_fd(&args[0]), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (error < 0 || dir < 0)
        return error < 0 ? error : -errno;
    int fd SCOPED = openat(dir, call.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstatfs(fd, &filesystem) < 0 || fstat(fd, &stat) < 0)
        return -errno;
    if (filesystem.f_type != BTRFS_SUPER_MAGIC || stat.st_ino != BTRFS_FIRST_FREE_OBJECTID)
        return -ENOTTY; /* A directory like any other. */
    if (ioctl(dir, BTRFS_IOC_SNAP_DESTROY, &call) == 0)
        return 0;
    if (errno != ENOTEMPTY || ioctl(fd, BTRFS_IOC_INO_LOOKUP, &lookup) < 0)
        return -errno;
    error = delete_below(fd, lookup.treeid);
    return error < 0 ? error : result(ioctl(dir, BTRFS_IOC_SNAP_DESTROY, &call));
}
