/* The names in a directory of a tree that a container controls: "names" in docs/plan-protocol.md. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int op_names(struct context *ctx, const union arg *args)
{
    /* As bytes: a text of a plan is UTF-8, a file's name need not be. */
    if (args[1].length == 0 || args[1].bytes[args[1].length - 1])
        return -EINVAL;
    int dir SCOPED = tree_open(args[0].fd, args[1].bytes, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (dir < 0)
        return dir;
    for (;;) {
        long got = syscall(SYS_getdents64, dir, ctx->scratch, SCRATCH_BYTES / 2);
        if (got <= 0)
            return result(got);
        char *names = ctx->scratch + SCRATCH_BYTES / 2;
        size_t used = 0;
        for (long at = 0; at < got;) {
            const struct directory_entry *entry = (const void *)(ctx->scratch + at);
            size_t bytes = strlen(entry->name) + 1;
            at += entry->bytes;
            if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
                continue;
            memcpy(names + used, entry->name, bytes);
            used += bytes;
        }
        int error = used ? send_record(ctx, RECORD_DATA, names, used) : 0;
        if (error < 0)
            return error;
    }
}
