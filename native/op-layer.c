/* Unpacks a layer: entries that TypeScript has read, checked and decided upon come over fd 0 behind the plan
 * (docs/plan-protocol.md, "unpack"). Every path is resolved below the root by openat2, and what is made is made
 * through the fd of its parent, so that a link of the layer leads nowhere but into the layer. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum entry_kind {
    ENTRY_END, ENTRY_FILE, ENTRY_DIRECTORY, ENTRY_PARENT, ENTRY_SYMLINK, ENTRY_LINK, ENTRY_NODE, ENTRY_WHITEOUT,
    ENTRY_ATTRIBUTES,
};

struct entry {
    uint32_t kind, mode, uid, gid, major, minor, mtime_nsec, path_bytes;
    int64_t mtime_sec;
    uint32_t target_bytes, xattr_bytes; /* texts are counted with their NUL */
};

struct chunk {
    uint64_t offset; /* of the last, empty one: the size of the file */
    uint64_t bytes;
};

#define INPUT_BYTES (256u << 10)
#define TAIL_BYTES (128u << 10)
#define SHORT_LINK_BYTES 32 /* shorter than any filesystem's limit for that */

struct unpack {
    struct context *ctx;
    int root;
    uint64_t blocks;                   /* what was made so far, as st_blocks counts */
    size_t start, end;                 /* what of the input is not consumed yet */
    int parent;                        /* the directory of parent_path: entries come directory by directory */
    char parent_path[PATH_MAX];
    struct entry entry;
    const char *path, *target, *xattrs; /* in the tail */
    char input[INPUT_BYTES], tail[TAIL_BYTES];
};

static int refill(struct unpack *u)
{
    ssize_t got = RETRY(read(STDIN_FILENO, u->input, INPUT_BYTES));
    u->start = 0;
    u->end = got > 0 ? (size_t)got : 0;
    return got > 0 ? 0 : got == 0 ? -ECANCELED : -errno; /* End of file: who sends the entries is gone. */
}

static int take(struct unpack *u, void *to, size_t bytes)
{
    for (char *at = to; bytes > 0;) {
        int error = u->start == u->end ? refill(u) : 0;
        if (error < 0)
            return error;
        size_t part = u->end - u->start < bytes ? u->end - u->start : bytes;
        memcpy(at, u->input + u->start, part);
        u->start += part, at += part, bytes -= part;
    }
    return 0;
}

static bool is_text(const char *bytes, uint32_t length)
{
    return length > 0 && length <= PATH_MAX && strnlen(bytes, length) == length - 1;
}

static int take_entry(struct unpack *u)
{
    struct entry *entry = &u->entry;
    int error = take(u, entry, sizeof *entry);
    if (error < 0)
        return error;
    uint64_t tail_bytes = (uint64_t)entry->path_bytes + entry->target_bytes + entry->xattr_bytes;
    if (tail_bytes > TAIL_BYTES)
        return -EPROTO;
    error = take(u, u->tail, tail_bytes);
    u->path = u->tail;
    u->target = u->path + entry->path_bytes;
    u->xattrs = u->target + entry->target_bytes;
    if (error < 0)
        return error;
    if (!is_text(u->path, entry->path_bytes) || !is_text(u->target, entry->target_bytes))
        return -EPROTO;
    if (entry->kind == ENTRY_END)
        return u->start == u->end ? 0 : -EPROTO; /* Nothing is sent after it before the answer. */
    return 1;
}

static void forget_parent(struct unpack *u)
{
    if (u->parent >= 0)
        close(u->parent);
    u->parent = -1;
}

/* The directory of a path that can't be the root itself; `name` is its last component. */
static int find_parent(struct unpack *u, const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    *name = slash ? slash + 1 : path;
    if (!**name || !strcmp(*name, ".") || !strcmp(*name, ".."))
        return -EINVAL;
    if (u->parent >= 0 && strlen(u->parent_path) == length && !memcmp(u->parent_path, path, length))
        return u->parent;
    forget_parent(u);
    memcpy(u->parent_path, path, length);
    u->parent_path[length] = 0;
    return u->parent = tree_mkdirs(u->root, u->parent_path, 0755);
}

static int set_attributes(struct unpack *u, int fd, bool has_mode)
{
    const struct entry *entry = &u->entry;
    /* Before the mode and the attributes: changing the owner drops setuid bits and capabilities (chown(2)). */
    if ((entry->uid || entry->gid) && fchown(fd, entry->uid, entry->gid) < 0)
        return -errno;
    if (!has_mode && fchmod(fd, entry->mode) < 0)
        return -errno;
    for (const char *at = u->xattrs, *end = at + entry->xattr_bytes; at < end;) {
        uint32_t bytes[2];
        size_t left = (size_t)(end - at);
        if (left < sizeof bytes)
            return -EPROTO;
        memcpy(bytes, at, sizeof bytes);
        left -= sizeof bytes, at += sizeof bytes;
        if (bytes[0] > left || bytes[1] > left - bytes[0] || !is_text(at, bytes[0]))
            return -EPROTO;
        if (fsetxattr(fd, at, at + bytes[0], bytes[1], 0) < 0)
            return say(u->ctx, "attribute "), say(u->ctx, at), say(u->ctx, " of "), -errno;
        at += bytes[0] + bytes[1];
    }
    const struct timespec time = { entry->mtime_sec, entry->mtime_nsec };
    return result(futimens(fd, (const struct timespec[]){ time, time }));
}

static int take_content(struct unpack *u, int fd)
{
    for (uint64_t size = 0;;) {
        struct chunk chunk;
        int error = take(u, &chunk, sizeof chunk);
        if (error < 0 || chunk.bytes == 0) /* A hole at the end is not written, so the size is set. */
            return error < 0 || chunk.offset == size ? error : result(ftruncate(fd, (off_t)chunk.offset));
        size = chunk.offset + chunk.bytes;
        while (chunk.bytes > 0) {
            error = u->start == u->end ? refill(u) : 0;
            if (error < 0)
                return error;
            size_t part = u->end - u->start < chunk.bytes ? u->end - u->start : chunk.bytes;
            ssize_t written = RETRY(pwrite(fd, u->input + u->start, part, (off_t)chunk.offset));
            if (written < 0)
                return -errno;
            u->start += (size_t)written, chunk.offset += (uint64_t)written, chunk.bytes -= (uint64_t)written;
        }
    }
}

/* Last, as attributes may take a block too. */
static int count_blocks(struct unpack *u, int fd)
{
    struct stat stat;
    if (fstat(fd, &stat) < 0)
        return -errno;
    u->blocks += (uint64_t)stat.st_blocks;
    return 0;
}

/* What is about to be removed counts no more, unless it has other names. */
static void discount_blocks(struct unpack *u, const char *name)
{
    struct stat stat;
    bool is_last = !fstatat(u->parent, name, &stat, AT_SYMLINK_NOFOLLOW) && !S_ISDIR(stat.st_mode) && stat.st_nlink == 1;
    u->blocks -= is_last ? (uint64_t)stat.st_blocks : 0;
}

static int unpack_file(struct unpack *u, const char *name)
{
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd SCOPED = openat(u->parent, name, flags, u->entry.mode & 0777);
    if (fd < 0)
        return -errno;
    int error = take_content(u, fd);
    if (error >= 0)
        error = set_attributes(u, fd, u->entry.mode < 01000);
    return error < 0 ? error : count_blocks(u, fd);
}

static int unpack_link(struct unpack *u, const char *name)
{
    const char *slash = strrchr(u->target, '/'), *of = slash ? slash + 1 : u->target;
    char directory[PATH_MAX];
    size_t length = slash ? (size_t)(slash - u->target) : 0;
    memcpy(directory, u->target, length);
    directory[length] = 0;
    int from SCOPED = tree_open(u->root, directory, O_PATH | O_DIRECTORY);
    if (from < 0 || linkat(from, of, u->parent, name, 0) == 0)
        return from < 0 ? from : 0;
    int error = -errno;
    struct stat old, new;
    bool both = error == -EEXIST && !fstatat(from, of, &old, AT_SYMLINK_NOFOLLOW) &&
                !fstatat(u->parent, name, &new, AT_SYMLINK_NOFOLLOW);
    return both && old.st_dev == new.st_dev && old.st_ino == new.st_ino ? 0 : error;
}

/* Links, devices and pipes: nothing here opens one. */
static int set_special_attributes(struct unpack *u, const char *name)
{
    const struct timespec time = { u->entry.mtime_sec, u->entry.mtime_nsec };
    struct stat stat;
    bool is_owned = u->entry.uid || u->entry.gid;
    if (is_owned && fchownat(u->parent, name, u->entry.uid, u->entry.gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    /* A short link lies in its inode; a longer one has a block. */
    if (u->entry.target_bytes > SHORT_LINK_BYTES && fstatat(u->parent, name, &stat, AT_SYMLINK_NOFOLLOW) == 0)
        u->blocks += (uint64_t)stat.st_blocks;
    return result(utimensat(u->parent, name, (const struct timespec[]){ time, time }, AT_SYMLINK_NOFOLLOW));
}

static int unpack_directory(struct unpack *u, const char *name)
{
    struct stat old;
    if (mkdirat(u->parent, name, 0700) == 0)
        return 0;
    int error = -errno;
    bool is_there = !fstatat(u->parent, name, &old, AT_SYMLINK_NOFOLLOW) && S_ISDIR(old.st_mode);
    return error == -EEXIST && is_there ? 0 : error;
}

static int unpack_special(struct unpack *u, const char *name)
{
    const struct entry *entry = &u->entry;
    int error = entry->kind == ENTRY_SYMLINK
                    ? result(symlinkat(u->target, u->parent, name))
                    : result(mknodat(u->parent, name, entry->mode, makedev(entry->major, entry->minor)));
    return error < 0 ? error : set_special_attributes(u, name);
}

static int unpack_attributes(struct unpack *u)
{
    int fd SCOPED = tree_open(u->root, u->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    /* A later entry has taken the directory's place, through a link so that TypeScript could not know. */
    bool replaced = fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP;
    if (fd < 0)
        return replaced ? 0 : fd;
    int error = set_attributes(u, fd, false);
    return error < 0 ? error : count_blocks(u, fd);
}

static int unpack_named(struct unpack *u, const char *name)
{
    switch ((enum entry_kind)u->entry.kind) {
    case ENTRY_FILE:
        return unpack_file(u, name);
    case ENTRY_DIRECTORY:
        return unpack_directory(u, name);
    case ENTRY_LINK:
        return unpack_link(u, name);
    case ENTRY_SYMLINK:
    case ENTRY_NODE:
    case ENTRY_WHITEOUT:
        return unpack_special(u, name);
    case ENTRY_END:
    case ENTRY_PARENT:
    case ENTRY_ATTRIBUTES:
        break;
    }
    return -EPROTO;
}

static int unpack_entry(struct unpack *u)
{
    const char *name;
    if (u->entry.kind == ENTRY_ATTRIBUTES)
        return unpack_attributes(u);
    if (u->entry.kind == ENTRY_PARENT) {
        int made SCOPED = tree_mkdirs(u->root, u->path, 0755);
        return made < 0 ? made : 0;
    }
    int parent = find_parent(u, u->path, &name);
    if (parent < 0)
        return parent;
    int error = unpack_named(u, name);
    if (error != -EEXIST)
        return error;
    if (u->entry.kind == ENTRY_WHITEOUT)
        return 0; /* It hides what lower layers have; what this layer has stays (image-spec, Whiteouts). */
    discount_blocks(u, name);
    error = tree_remove(parent, name); /* The later of two entries counts. */
    return error < 0 ? error : unpack_named(u, name);
}

/* The entry's path goes to the message: without it nobody finds what is wrong. */
static int unpack_all(struct unpack *u)
{
    for (;;) {
        int more = take_entry(u);
        int error = more > 0 ? unpack_entry(u) : more;
        if (more > 0 && error < 0)
            say(u->ctx, "entry \""), say(u->ctx, u->path), say(u->ctx, "\"");
        if (more <= 0 || error < 0)
            return error;
    }
}

int op_unpack(struct context *ctx, const union arg *args)
{
    struct unpack *u = mmap(NULL, sizeof *u, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (u == MAP_FAILED)
        return -errno;
    u->ctx = ctx;
    u->root = args[0].fd;
    u->parent = -1;
    int error = unpack_all(u);
    if (error >= 0)
        error = send_record(ctx, RECORD_DATA, &u->blocks, sizeof u->blocks);
    forget_parent(u);
    munmap(u, sizeof *u);
    return error;
}
