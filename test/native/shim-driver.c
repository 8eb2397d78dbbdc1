/*
 * Runs the shim alone, for test/native/shim.test.ts:
 *   shim-driver pipe|pty|null|late SOCKET LOG_DIR|- MAX_BYTES MAX_FILES EXIT_DIR ARGV...
 * Writes "ready\n" when SOCKET listens. `late` waits for the child's end and a byte of stdin before it serves.
 * After the shim it exits with 0, or 1 when shim_serve fails. No stdio, so that its memory is the shim's.
 * Orphans of the child are reparented to it.
 */
#define _GNU_SOURCE
#include "../../native/shim.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int result)
{
    if (result < 0)
        _exit(2);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(strlen(path) < sizeof address.sun_path ? fd : -1);
    strcpy(address.sun_path, path);
    check(bind(fd, (struct sockaddr *)&address, sizeof address));
    check(listen(fd, 16));
    return fd;
}

static int open_slave(int master)
{
    check(grantpt(master));
    check(unlockpt(master));
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    check(slave);
    return slave;
}

static void run(char **argv, const int stdio[3], int terminal)
{
    setsid();
    if (terminal)
        check(ioctl(stdio[0], TIOCSCTTY, 0));
    for (int fd = 0; fd < 3; fd++)
        check(dup2(stdio[fd], fd));
    execvp(argv[0], argv);
    _exit(127);
}

int main(int argc, char **argv)
{
    if (argc < 8)
        return 2;
    int terminal = strcmp(argv[1], "pty") == 0, in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 }, master = -1;
    struct shim_config config = { .listener = listen_at(argv[2]), .log_dir = -1, .log_name = "log" };
    config.log_max_bytes = atoll(argv[4]);
    config.log_max_files = atoll(argv[5]);
    config.exit_dir = open(argv[6], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    config.exit_name = "exit";
    check(config.exit_dir);
    if (strcmp(argv[3], "-") != 0)
        check(config.log_dir = open(argv[3], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (terminal) {
        check(master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
        in[0] = out[1] = err[1] = open_slave(master);
    } else {
        check(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC));
    }
    if (strcmp(argv[1], "null") == 0) {
        close(in[0]);
        close(in[1]);
        in[1] = -1;
        check(in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC));
    }
    const int stdio[3] = { in[0], out[1], err[1] };
    signal(SIGCHLD, SIG_DFL);
    check(prctl(PR_SET_CHILD_SUBREAPER, 1));
    config.child = fork();
    check(config.child);
    if (config.child == 0)
        run(argv + 7, stdio, terminal);
    close(in[0]);
    if (!terminal) {
        close(out[1]);
        close(err[1]);
    }
    config.terminal = master;
    config.in = in[1];
    config.out = out[0];
    config.err = err[0];
    check(write(1, "ready\n", 6) == 6 ? 0 : -1);
    if (strcmp(argv[1], "late") == 0) {
        char go;
        siginfo_t info;
        check(waitid(P_PID, (id_t)config.child, &info, WEXITED | WNOWAIT));
        check(read(0, &go, 1) == 1 ? 0 : -1);
    }
    int wait_status = 0;
    return shim_serve(&config, &wait_status) != 0;
}
