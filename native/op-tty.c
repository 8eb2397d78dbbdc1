/* tty_get and tty_set: the line settings of a terminal, as the kernel's struct termios (ioctl_tty(2)). What they mean is
 * decided in src/linux/termios.ts. */
#include "exec.h"

#include <asm/termbits.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

int op_tty_get(struct context *ctx, const union arg *args)
{
    struct termios settings;
    int error = result(ioctl(args[0].fd, TCGETS, &settings));
    return error < 0 ? error : send_record(ctx, RECORD_DATA, &settings, sizeof settings);
}

/* TCSETSW: after what was written has gone out in the old way. */
int op_tty_set(struct context *ctx, const union arg *args)
{
    (void)ctx;
    struct termios settings;
    if (args[1].length != sizeof settings)
        return -EINVAL;
    memcpy(&settings, args[1].bytes, sizeof settings);
    return result(ioctl(args[0].fd, TCSETSW, &settings));
}
