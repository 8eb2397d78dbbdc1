/* Reads a tree for TypeScript, which decides what becomes of it: the mirror of unpack (docs/plan-protocol.md, "pack").
 * It goes by fds from directory to directory, follows no link and crosses no mount, and opens nothing but directories
 * and regular files: what a name is may change at any moment, so what was opened counts (CVE-2026-93320). */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h> /* qsort */
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OUTPUT_BYTES (512u << 10)
#define XATTR_BYTES (128u << 10)
#define NAMES_BYTES (64u << 10)
/* The names of a directory and of all it is in, sorted: some five million. Memory that is not touched costs nothing. */
#define ARENA_BYTES (256u << 20)
#define MAX_SEGMENTS 2048
#define MAX_RACES 16

struct facts {
    uint32_t mode, uid, gid, major, minor, mtime_nsec;
    int64_t mtime_sec, size;
};

struct packed_entry {
    struct facts facts;
    uint64_t device, inode;
    uint32_t links, has_lower;
    struct facts lower;
    uint32_t path_bytes, target_bytes, xattr_bytes, lower_xattr_bytes; /* texts are counted with their NUL */
    uint32_t segment_count, has_content;
};

struct segment {
    uint64_t offset, bytes;
};

struct output {
    struct record record;
    char bytes[OUTPUT_BYTES];
};

struct pack {
    struct context *ctx;
    bool with_content;
    size_t path_length, arena_used, output_used;
    uint32_t segment_count;
    char *arena;
    char names[NAMES_BYTES] __attribute__((aligned(8))); /* directory entries */
    char path[PATH_MAX], target[PATH_MAX + 1];
    char xattrs[XATTR_BYTES], lower_xattrs[XATTR_BYTES];
    struct segment segments[MAX_SEGMENTS];
    struct output output;
};

/* A name of a directory, opened where that may be done. */
struct found {
    int parent, fd;
    const char *name;
    struct stat stat;
};

static int flush(struct pack *p)
{
    size_t bytes = sizeof p->output.record + p->output_used;
    p->output.record = (struct record){ (uint32_t)p->output_used, RECORD_DATA, (uint16_t)p->ctx->stage, p->ctx->step };
    if (p->output_used == 0)
        return 0;
    p->output_used = 0;
    return write_all(p->ctx->report, (const char *)&p->output, bytes);
}

static int put(struct pack *p, const void *bytes, size_t length)
{
    for (const char *from = bytes; length > 0;) {
        size_t room = OUTPUT_BYTES - p->output_used, part = length < room ? length : room;
        memcpy(p->output.bytes + p->output_used, from, part);
        p->output_used += part, from += part, length -= part;
        int error = p->output_used == OUTPUT_BYTES ? flush(p) : 0;
        if (error < 0)
            return error;
    }
    return 0;
}

static struct facts facts_of(const struct stat *stat)
{
    return (struct facts){
        .mode = stat->st_mode, .uid = stat->st_uid, .gid = stat->st_gid,
        .major = major(stat->st_rdev), .minor = minor(stat->st_rdev),
        .mtime_nsec = (uint32_t)stat->st_mtim.tv_nsec, .mtime_sec = stat->st_mtim.tv_sec, .size = stat->st_size,
    };
}

static bool can_open(const struct stat *stat)
{
    return S_ISREG(stat->st_mode) || S_ISDIR(stat->st_mode);
}

/* What a name is now; for a directory or a regular file through its own fd. -ENOENT when it has gone. */
static int find(struct found *found)
{
    uint64_t flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    for (int race = 0; race < MAX_RACES; race++) {
        struct stat seen;
        if (fstatat(found->parent, found->name, &seen, AT_SYMLINK_NOFOLLOW) < 0)
            return -errno;
        found->stat = seen;
        if (!can_open(&seen))
            return 0;
        int fd = kernel_openat2(found->parent, found->name, flags | (S_ISDIR(seen.st_mode) ? O_DIRECTORY : 0), 0, resolve);
        if (fd == -ENOENT || fd == -ELOOP || fd == -ENOTDIR || fd == -ENXIO)
            continue; /* Something else has taken its place. */
        if (fd < 0)
            return fd;
        if (fstat(fd, &found->stat) == 0 && can_open(&found->stat))
            return found->fd = fd, 0;
        close(fd);
    }
    return -ESTALE;
}

/* u32 nameBytes, valueBytes, name with its NUL, value; as unpack takes them. How many bytes, or -errno. */
static int read_xattrs(struct pack *p, int fd, char *to)
{
    size_t used = 0;
    ssize_t names = fd < 0 ? 0 : flistxattr(fd, p->names, NAMES_BYTES);
    if (names < 0)
        return errno == ENOTSUP ? 0 : -errno;
    for (const char *name = p->names; name < p->names + names; name += strlen(name) + 1) {
        uint32_t bytes[2] = { (uint32_t)strlen(name) + 1, 0 };
        size_t start = used + sizeof bytes + bytes[0];
        ssize_t got = start < XATTR_BYTES ? fgetxattr(fd, name, to + start, XATTR_BYTES - start) : -1;
        if (start >= XATTR_BYTES || (got < 0 && errno == ERANGE))
            return -E2BIG;
        if (got < 0 && errno != ENODATA)
            return -errno;
        if (got < 0)
            continue; /* It was removed since. */
        bytes[1] = (uint32_t)got;
        memcpy(to + used, bytes, sizeof bytes);
        memcpy(to + used + sizeof bytes, name, bytes[0]);
        used = start + bytes[1];
    }
    return (int)used;
}

/* Where a file has data. What would take too many parts is one part with its holes. */
static int read_segments(struct pack *p, const struct found *found)
{
    off_t size = found->stat.st_size, at = 0;
    p->segment_count = 0;
    if (size > 0 && found->stat.st_blocks * 512 >= size) {
        p->segments[p->segment_count++] = (struct segment){ 0, (uint64_t)size };
        return 0;
    }
    while (at < size) {
        off_t start = lseek(found->fd, at, SEEK_DATA);
        if (start < 0 && errno == ENXIO)
            return 0;
        off_t end = start < 0 ? -1 : lseek(found->fd, start, SEEK_HOLE);
        if (start < 0 || end < 0)
            start = at, end = size; /* The filesystem can't tell. */
        if (start >= size)
            return 0;
        if (end > size || p->segment_count == MAX_SEGMENTS - 1)
            end = size;
        p->segments[p->segment_count++] = (struct segment){ (uint64_t)start, (uint64_t)(end - start) };
        at = end;
    }
    return 0;
}

/* One piece of content: it is read right behind its length. */
static ssize_t put_piece(struct pack *p, int fd, uint64_t offset, uint64_t limit)
{
    uint32_t bytes;
    if (OUTPUT_BYTES - p->output_used < 4096 + sizeof bytes) {
        int error = flush(p);
        if (error < 0)
            return error;
    }
    size_t room = OUTPUT_BYTES - p->output_used - sizeof bytes;
    char *to = p->output.bytes + p->output_used;
    ssize_t got = RETRY(pread(fd, to + sizeof bytes, limit < room ? limit : room, (off_t)offset));
    if (got <= 0)
        return got < 0 ? -errno : 0;
    bytes = (uint32_t)got;
    memcpy(to, &bytes, sizeof bytes);
    p->output_used += sizeof bytes + bytes;
    return got;
}

/* The pieces of each segment, an empty one at the end of each, and whether the file changed meanwhile. */
static int put_content(struct pack *p, const struct found *found)
{
    struct stat now;
    for (uint32_t index = 0; index < p->segment_count; index++) {
        struct segment left = p->segments[index];
        while (left.bytes > 0) {
            ssize_t got = put_piece(p, found->fd, left.offset, left.bytes);
            if (got < 0)
                return (int)got;
            if (got == 0)
                break; /* It has become shorter. */
            left.offset += (uint64_t)got, left.bytes -= (uint64_t)got;
        }
        int error = put(p, &(uint32_t){ 0 }, sizeof(uint32_t));
        if (error < 0)
            return error;
    }
    if (fstat(found->fd, &now) < 0)
        return -errno;
    uint32_t changed = now.st_size != found->stat.st_size || now.st_mtim.tv_sec != found->stat.st_mtim.tv_sec ||
                       now.st_mtim.tv_nsec != found->stat.st_mtim.tv_nsec;
    return put(p, &changed, sizeof changed);
}

static int put_entry(struct pack *p, const struct found *found, const struct found *lower)
{
    const struct stat *stat = &found->stat;
    bool is_file = S_ISREG(stat->st_mode), has_lower = lower->stat.st_mode != 0;
    struct packed_entry entry = {
        .facts = facts_of(stat), .device = stat->st_dev, .inode = stat->st_ino, .links = (uint32_t)stat->st_nlink,
        .has_lower = has_lower, .lower = facts_of(&lower->stat), .path_bytes = (uint32_t)p->path_length + 1,
    };
    p->target[0] = 0;
    ssize_t target = S_ISLNK(stat->st_mode) ? readlinkat(found->parent, found->name, p->target, PATH_MAX) : 0;
    int xattrs = target < 0 ? -errno : read_xattrs(p, found->fd, p->xattrs);
    int lower_xattrs = xattrs < 0 ? xattrs : read_xattrs(p, lower->fd, p->lower_xattrs);
    if (lower_xattrs < 0)
        return lower_xattrs;
    p->target[target] = 0;
    p->segment_count = 0;
    entry.has_content = is_file && p->with_content;
    int error = entry.has_content ? read_segments(p, found) : 0;
    if (error < 0)
        return error;
    entry.target_bytes = (uint32_t)target + 1;
    entry.xattr_bytes = (uint32_t)xattrs;
    entry.lower_xattr_bytes = (uint32_t)lower_xattrs;
    entry.segment_count = p->segment_count;
    const struct { const void *bytes; size_t length; } parts[] = {
        { &entry, sizeof entry }, { p->path, entry.path_bytes }, { p->target, entry.target_bytes },
        { p->xattrs, entry.xattr_bytes }, { p->lower_xattrs, entry.lower_xattr_bytes },
        { p->segments, p->segment_count * sizeof(struct segment) },
    };
    for (size_t index = 0; index < sizeof parts / sizeof *parts && error >= 0; index++)
        error = put(p, parts[index].bytes, parts[index].length);
    return error < 0 || !entry.has_content ? error : put_content(p, found);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of a directory, sorted, in the arena: the number of them; `sorted` is where. */
static long read_names(struct pack *p, int dir, char ***sorted)
{
    size_t start = (p->arena_used + 7) & ~(size_t)7, used = start, count = 0;
    for (;;) {
        long got = syscall(SYS_getdents64, dir, p->names, NAMES_BYTES);
        if (got < 0)
            return -errno;
        for (long at = 0; at < got;) {
            const struct directory_entry *entry = (const void *)(p->names + at);
            size_t bytes = strlen(entry->name) + 1;
            at += entry->bytes;
            if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
                continue;
            if (bytes > ARENA_BYTES - used)
                return -E2BIG;
            memcpy(p->arena + used, entry->name, bytes);
            used += bytes, count++;
        }
        if (got == 0)
            break;
    }
    size_t end = (used + 7) & ~(size_t)7;
    if (end > ARENA_BYTES || count > (ARENA_BYTES - end) / sizeof(char *))
        return -E2BIG;
    *sorted = (char **)(p->arena + end);
    char *name = p->arena + start;
    for (size_t index = 0; index < count; index++, name += strlen(name) + 1)
        (*sorted)[index] = name;
    qsort(*sorted, count, sizeof(char *), compare_names);
    p->arena_used = end + count * sizeof(char *);
    return (long)count;
}

static int pack_directory(struct pack *p, int dir, int lower);

/* An entry and, of a directory, all that is in it. What has gone since its name was read is left out. */
static int pack_name(struct pack *p, int dir, int lower_dir, const char *name)
{
    struct found found = { .parent = dir, .fd = -1, .name = name };
    struct found lower = { .parent = lower_dir, .fd = -1, .name = name };
    int error = find(&found);
    if (error < 0)
        return error == -ENOENT ? 0 : error;
    int fd SCOPED = found.fd;
    int below = lower_dir < 0 ? -ENOENT : find(&lower);
    int lower_fd SCOPED = lower.fd;
    if (below < 0 && below != -ENOENT)
        return below;
    if (below < 0)
        lower.stat.st_mode = 0;
    error = put_entry(p, &found, &lower);
    if (error < 0 || !S_ISDIR(found.stat.st_mode))
        return error;
    return pack_directory(p, fd, S_ISDIR(lower.stat.st_mode) ? lower_fd : -1);
}

static int pack_directory(struct pack *p, int dir, int lower)
{
    char **names = NULL;
    size_t arena = p->arena_used, length = p->path_length;
    long count = read_names(p, dir, &names);
    for (long index = 0; index < count; index++) {
        size_t bytes = strlen(names[index]), slash = length > 0;
        if (length + slash + bytes >= PATH_MAX)
            return -ENAMETOOLONG;
        p->path[length] = '/';
        memcpy(p->path + length + slash, names[index], bytes + 1);
        p->path_length = length + slash + bytes;
        int error = pack_name(p, dir, lower, names[index]);
        if (error < 0)
            return error; /* The path stays, for the message. */
    }
    if (count < 0)
        return (int)count;
    p->path[p->path_length = length] = 0;
    p->arena_used = arena;
    return 0;
}

static int pack_root(struct pack *p, int root, int lower_root)
{
    struct found found = { .parent = root, .fd = -1, .name = "." }, lower = { .parent = lower_root, .fd = -1, .name = "." };
    int error = find(&found);
    int fd SCOPED = found.fd;
    if (error >= 0 && lower_root >= 0)
        error = find(&lower);
    int lower_fd SCOPED = lower.fd;
    if (error >= 0)
        error = put_entry(p, &found, &lower);
    if (error >= 0)
        error = pack_directory(p, fd, lower_fd);
    if (error < 0)
        return say(p->ctx, "entry \""), say(p->ctx, p->path), say(p->ctx, "\""), error;
    struct packed_entry end = { .path_bytes = 0 };
    error = put(p, &end, sizeof end);
    return error < 0 ? error : flush(p);
}

int op_pack(struct context *ctx, const union arg *args)
{
    const int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    struct rlimit files;
    /* A directory that is open for each level of the tree, and one of the lower tree. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    struct pack *p = mmap(NULL, sizeof *p + ARENA_BYTES, protection, flags, -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    p->ctx = ctx;
    p->with_content = args[2].i != 0;
    p->arena = (char *)p + sizeof *p;
    int error = pack_root(p, args[0].fd, args[1].fd);
    munmap(p, sizeof *p + ARENA_BYTES);
    return error;
}
