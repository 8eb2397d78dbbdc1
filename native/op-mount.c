/* Steps on mounts, the new calls (mount fds) and the old one. The libc's <sys/mount.h> and the kernel's header do
 * not go together in every release, so the calls are made by number and the constants are here. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FSCONFIG_SET_FLAG 0u
#define FSCONFIG_SET_STRING 1u
#define FSCONFIG_CMD_CREATE 6u
#define FSOPEN_CLOEXEC 1u
#define FSMOUNT_CLOEXEC 1u
#define OPEN_TREE_CLONE 1u
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#define MOUNT_ATTR_RDONLY 1u
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define MOVE_MOUNT_F_EMPTY_PATH 0x04u
#define MOVE_MOUNT_T_EMPTY_PATH 0x40u
#define FSCONFIG_STRING_MAX 256

/* What the kernel wrote to the filesystem context's log, one line a read: `e text`, `w text` or `i text`. */
static void say_fs_log(struct context *ctx, int fs)
{
    char line[256];
    for (;;) {
        ssize_t got = read(fs, line, sizeof line);
        if (got <= 0)
            return;
        while (got > 0 && line[got - 1] == '\n')
            got--;
        size_t skip = got > 2 && line[1] == ' ' ? 2 : 0;
        if (ctx->message_bytes)
            say(ctx, "; ");
        say_bytes(ctx, line + skip, (size_t)got - skip);
    }
}

static int fs_string(int fs, const char *key, const char *value)
{
    return result(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0));
}

/* `key=value` is a string, `key` alone a flag. */
static int fs_option(int fs, const char *option)
{
    char key[FSCONFIG_STRING_MAX];
    size_t bytes = strcspn(option, "=");
    if (bytes >= sizeof key)
        return -EINVAL;
    memcpy(key, option, bytes);
    key[bytes] = 0;
    if (option[bytes] == '=')
        return fs_string(fs, key, option + bytes + 1);
    return result(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, key, NULL, 0));
}

/* Options, creation, mount. On failure the log becomes the message. */
static int fs_finish(struct context *ctx, int fs, const union arg *options, const union arg *attrs,
                     const union arg *out)
{
    int error = 0;
    for (uint32_t i = 0; error >= 0 && i < options->count; i++)
        error = fs_option(fs, options->list[i]);
    if (error >= 0)
        error = result(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    if (error >= 0)
        error = result(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, (unsigned)attrs->i));
    if (error < 0)
        say_fs_log(ctx, fs);
    return keep_fd(ctx, out, error);
}

int op_mount_fs(struct context *ctx, const union arg *args)
{
    int fs SCOPED = (int)syscall(SYS_fsopen, args[0].bytes, FSOPEN_CLOEXEC);
    if (fs < 0)
        return -errno;
    int error = args[1].length ? fs_string(fs, "source", args[1].bytes) : 0;
    if (error < 0) {
        say_fs_log(ctx, fs);
        return error;
    }
    return fs_finish(ctx, fs, &args[2], &args[3], &args[4]);
}

/* A layer as a path of this process. What the kernel resolves it to is decided here and now. */
static char *put_layer(char *at, const char *end, int fd)
{
    return put_fd_path(put_text(at, end, "/proc/"), end, fd);
}

static int fs_layer(int fs, const char *key, int fd)
{
    char path[32];
    put_layer(path, path + sizeof path, fd);
    return fs_string(fs, key, path);
}

/* The image is found by its fd: a checked path is not resolved again, and one of any length fits. */
int op_mount_image(struct context *ctx, const union arg *args)
{
    int fs SCOPED = (int)syscall(SYS_fsopen, args[0].bytes, FSOPEN_CLOEXEC);
    if (fs < 0)
        return -errno;
    int error = fs_layer(fs, "source", args[1].fd);
    if (error < 0) {
        say_fs_log(ctx, fs);
        return error;
    }
    return fs_finish(ctx, fs, &args[2], &args[3], &args[4]);
}

/* Joined, the layers share one string, which fsconfig bounds: the numbers of their fds alone, as paths relative to
 * /proc/self/fd, leave room for 60 and more. */
static int overlay_lowers(struct context *ctx, int fs, const union arg *lowers, bool joined)
{
    char *at = ctx->scratch, *end = ctx->scratch + FSCONFIG_STRING_MAX;
    int error = 0;
    for (uint32_t i = 0; error >= 0 && i + 1 < lowers->length; i += 2) {
        uint16_t slot;
        memcpy(&slot, lowers->bytes + i, sizeof slot);
        int fd = slot_fd(ctx, slot);
        if (fd < 0)
            return fd;
        if (joined)
            at = put_number(i ? put_text(at, end, ":") : at, end, fd);
        else
            error = fs_layer(fs, "lowerdir+", fd);
    }
    if (at == end)
        return -E2BIG;
    return joined && error >= 0 ? fs_string(fs, "lowerdir", ctx->scratch) : error;
}

struct overlay_call {
    struct context *ctx;
    const union arg *args;
};

static int call_overlay(const void *argument)
{
    const struct overlay_call *call = argument;
    struct context *ctx = call->ctx;
    const union arg *args = call->args;
    int fs SCOPED = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
    if (fs < 0)
        return -errno;
    int error = overlay_lowers(ctx, fs, &args[1], args[0].i != 0);
    if (error >= 0 && args[2].fd >= 0)
        error = fs_layer(fs, "upperdir", args[2].fd);
    if (error >= 0 && args[3].fd >= 0)
        error = fs_layer(fs, "workdir", args[3].fd);
    if (error < 0) {
        say_fs_log(ctx, fs);
        return error;
    }
    return fs_finish(ctx, fs, &args[4], &args[5], &args[6]);
}

int op_mount_overlay(struct context *ctx, const union arg *args)
{
    if (args[1].length == 0 || args[1].length % 2)
        return -EINVAL;
    struct overlay_call call = { ctx, args };
    if (!args[0].i)
        return call_overlay(&call);
    int fds SCOPED = openat(ctx->proc, "self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fds < 0 ? -errno : in_directory(fds, call_overlay, &call);
}

struct mount_call {
    const char *source, *target, *fstype, *data;
    unsigned long flags;
};

static int call_mount(const void *argument)
{
    const struct mount_call *call = argument;
    return result(syscall(SYS_mount, call->source, call->target, call->fstype, call->flags, call->data));
}

static const char *text_or_null(const union arg *text)
{
    return text->length ? text->bytes : NULL;
}

int op_mount(struct context *ctx, const union arg *args)
{
    char target[32];
    struct mount_call call = { text_or_null(&args[0]), target, text_or_null(&args[2]), text_or_null(&args[4]),
                               (unsigned long)args[3].i };
    if (args[1].fd < 0) {
        call.target = "/";
        return call_mount(&call);
    }
    /* The path of an fd is taken from the host's /proc, whatever is mounted at /proc where this process is. */
    put_fd_path(target, target + sizeof target, args[1].fd);
    return in_directory(ctx->proc, call_mount, &call);
}

/* Something of a container's own tree to be mounted over. */
static int open_target(const union arg *root, const union arg *path)
{
    return tree_open(dir_fd(root), path->bytes, O_PATH);
}

static int attach(int mount, int target)
{
    unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    return result(syscall(SYS_move_mount, mount, "", target, "", flags));
}

/* Before 6.15 a detached mount can't be cloned. Then the mount itself covers the first path; where it is attached
 * now, it can be cloned for the others. */
int op_mask(struct context *ctx, const union arg *args)
{
    (void)ctx;
    struct stat stat;
    int target SCOPED = open_target(&args[0], &args[1]);
    if (target < 0 || fstat(target, &stat) < 0)
        return target < 0 ? target : -errno;
    int cover = S_ISDIR(stat.st_mode) ? args[2].fd : args[3].fd;
    int clone SCOPED = (int)syscall(SYS_open_tree, cover, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (clone < 0 && errno != EINVAL)
        return -errno;
    return attach(clone < 0 ? cover : clone, target);
}

int op_readonly_path(struct context *ctx, const union arg *args)
{
    (void)ctx;
    struct mount_attributes attr = { .set = MOUNT_ATTR_RDONLY };
    unsigned flags = AT_EMPTY_PATH | AT_RECURSIVE;
    int target SCOPED = open_target(&args[0], &args[1]);
    if (target < 0)
        return target;
    int clone SCOPED = (int)syscall(SYS_open_tree, target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
    if (clone < 0 || syscall(SYS_mount_setattr, clone, "", flags, &attr, sizeof attr) < 0)
        return -errno;
    return attach(clone, target);
}

/* A working directory outside the root shows as "(unreachable)/…": an fd of the host has leaked (CVE-2024-21626). */
int op_check_cwd(struct context *ctx, const union arg *args)
{
    (void)args;
    long got = syscall(SYS_getcwd, ctx->scratch, (size_t)SCRATCH_BYTES);
    if (got < 0)
        return -errno;
    if (ctx->scratch[0] == '/')
        return 0;
    say(ctx, "the working directory is outside the root");
    return -ENOENT;
}
