/* tree_usage: what the files of a tree take of the disk, each counted once however many names it has. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_DEPTH 480       /* each level holds a file open, of which a process has 1,024 */
#define EXTENTS 256
#define BLOCK_BYTES 512     /* the unit of st_blocks, whatever the filesystem's own */
#define FIRST_SEEN 4096

struct usage {
    struct { uint64_t files, bytes, shared_bytes, too_deep; } sum;
    bool asks_extents;
    uint64_t *seen;         /* inode numbers of files with several names: a hash table with open addressing, 0 is free */
    size_t seen_size, seen_count;
};

static uint64_t *new_table(size_t size)
{
    void *memory = mmap(NULL, size * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static bool insert(uint64_t *table, size_t size, uint64_t inode)
{
    size_t at = (size_t)(inode * 0x9e3779b97f4a7c15u) & (size - 1);
    for (; table[at]; at = (at + 1) & (size - 1))
        if (table[at] == inode)
            return false;
    table[at] = inode;
    return true;
}

/* 1 the first time, 0 later, or -ENOMEM. */
static int is_first(struct usage *u, uint64_t inode)
{
    if (u->seen_count * 2 >= u->seen_size) {
        size_t size = u->seen_size ? u->seen_size * 4 : FIRST_SEEN;
        uint64_t *table = new_table(size);
        if (!table)
            return -ENOMEM;
        for (size_t i = 0; i < u->seen_size; i++)
            if (u->seen[i])
                insert(table, size, u->seen[i]);
        if (u->seen)
            munmap(u->seen, u->seen_size * sizeof *u->seen);
        u->seen = table, u->seen_size = size;
    }
    bool first = insert(u->seen, u->seen_size, inode);
    u->seen_count += first;
    return first;
}

/* How much of a file other files hold too. A filesystem that does not tell shares nothing. */
static int count_shared(struct usage *u, int dir, const char *name, uint64_t bytes)
{
    struct {
        struct fiemap map;
        struct fiemap_extent extents[EXTENTS];
    } call;
    uint64_t shared = 0;
    int fd SCOPED = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ELOOP || errno == ENXIO ? 0 : -errno;
    for (uint64_t start = 0; start != UINT64_MAX;) {
        memset(&call.map, 0, sizeof call.map);
        call.map.fm_start = start;
        call.map.fm_length = UINT64_MAX - start;
        call.map.fm_extent_count = EXTENTS;
        if (ioctl(fd, FS_IOC_FIEMAP, &call.map) < 0)
            break;
        start = UINT64_MAX;
        for (uint32_t i = 0; i < call.map.fm_mapped_extents; i++) {
            const struct fiemap_extent *extent = &call.extents[i];
            shared += extent->fe_flags & FIEMAP_EXTENT_SHARED ? extent->fe_length : 0;
            start = extent->fe_flags & FIEMAP_EXTENT_LAST ? UINT64_MAX : extent->fe_logical + extent->fe_length;
        }
    }
    u->sum.shared_bytes += shared < bytes ? shared : bytes; /* Compressed extents tell their uncompressed length. */
    return 0;
}

static int count_directory(struct usage *u, int dir, int depth);

static int count_entry(struct usage *u, int dir, const char *name, int depth)
{
    struct stat stat;
    if (fstatat(dir, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno; /* A container that runs removes files. */
    bool is_directory = S_ISDIR(stat.st_mode);
    int counts = is_directory || stat.st_nlink < 2 ? 1 : is_first(u, stat.st_ino);
    if (counts <= 0)
        return counts;
    uint64_t bytes = (uint64_t)stat.st_blocks * BLOCK_BYTES;
    u->sum.files++;
    u->sum.bytes += bytes;
    if (S_ISREG(stat.st_mode) && u->asks_extents && bytes > 0)
        return count_shared(u, dir, name, bytes);
    if (!is_directory)
        return 0;
    if (depth >= MAX_DEPTH)
        return u->sum.too_deep++, 0;
    int fd SCOPED = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
    return count_directory(u, fd, depth + 1);
}

static int count_directory(struct usage *u, int dir, int depth)
{
    char entries[1024] __attribute__((aligned(8)));
    long got;
    while ((got = syscall(SYS_getdents64, dir, entries, sizeof entries)) > 0)
        for (long at = 0; at < got;) {
            const struct directory_entry *entry = (const void *)(entries + at);
            at += entry->bytes;
            if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
                continue;
            int error = count_entry(u, dir, entry->name, depth);
            if (error < 0)
                return error;
        }
    return result(got);
}

int op_tree_usage(struct context *ctx, const union arg *args)
{
    struct usage usage = { .asks_extents = args[1].i != 0 };
    int dir SCOPED = openat(dir_fd(&args[0]), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = dir < 0 ? -errno : count_directory(&usage, dir, 0);
    if (usage.seen)
        munmap(usage.seen, usage.seen_size * sizeof *usage.seen);
    return error < 0 ? error : send_record(ctx, RECORD_DATA, &usage.sum, sizeof usage.sum);
}
