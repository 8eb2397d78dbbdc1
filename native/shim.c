/* The shim's loop: reads the container's output, reaps, and leaves in the order of docs/shim-protocol.md. */
#define _GNU_SOURCE
#include "shim-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIGNALS, LISTENER, STDIN_FD, OUTPUTS, CLIENTS = OUTPUTS + SHIM_STREAMS, RETRY_MS = 1000, PTY_BUFFER = 1024 * 1024 };
/* The child runs; it has ended and output may be left; the exit record is written and clients take the rest. */
enum phase { RUNNING, DRAINING, LEAVING };

struct shim_container shim_container;

static struct {
    const struct shim_config *config;
    enum phase phase;
    int signals, wait_status, result;
    int outputs[SHIM_STREAMS];
    int64_t left[SHIM_STREAMS]; /* bytes still to read from a stream after the child's end */
    int64_t accept_after_ms;
    struct timespec ended_at;
    struct pollfd fds[CLIENTS + CLIENTS_MAX];
    uint8_t chunk[PAYLOAD_MAX];
} shim;

int64_t shim_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

char *shim_put_number(char *at, uint64_t value, int width)
{
    char digits[20];
    int count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    for (int zeros = width - count; zeros > 0; zeros--)
        *at++ = '0';
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

void shim_close_stdin(void)
{
    if (shim.config->terminal < 0 && shim_container.in >= 0)
        close(shim_container.in);
    shim_container.in = -1;
}

static void end_output(enum shim_stream stream)
{
    if (shim.outputs[stream] < 0)
        return;
    shim_log_end(stream);
    if (shim.config->terminal < 0)
        close(shim.outputs[stream]);
    shim.outputs[stream] = -1;
}

static void read_output(enum shim_stream stream)
{
    if (shim.outputs[stream] < 0 || shim_clients_full())
        return;
    ssize_t length = read(shim.outputs[stream], shim.chunk, sizeof shim.chunk);
    if (length < 0 && errno == EAGAIN && shim.phase == RUNNING)
        return;
    if (length <= 0) { /* a terminal says EIO when its last user is gone */
        end_output(stream);
        return;
    }
    shim_log_write(stream, shim.chunk, (size_t)length);
    shim_clients_send(stream, shim.chunk, (size_t)length);
    if (shim.phase == DRAINING && (shim.left[stream] -= length) <= 0)
        end_output(stream);
}

/*
 * What the child wrote is in the pipes when it has been reaped, so their capacity bounds what is drained: a grandchild
 * that keeps a pipe and never stops writing can't keep the shim.
 */
static void start_draining(void)
{
    shim.phase = DRAINING;
    clock_gettime(CLOCK_REALTIME, &shim.ended_at);
    shim_close_stdin();
    shim_clients_hurry();
    for (int stream = 0; stream < SHIM_STREAMS; stream++) {
        int capacity = shim.outputs[stream] < 0 ? -1 : fcntl(shim.outputs[stream], F_GETPIPE_SZ);
        shim.left[stream] = capacity > 0 ? capacity : PTY_BUFFER;
    }
}

/* Whoever was reparented to the shim is reaped beside its child. */
static void reap(void)
{
    struct signalfd_siginfo ignored; /* signals merge, so waitpid says who has ended */
    while (read(shim.signals, &ignored, sizeof ignored) > 0)
        ;
    int wait_status;
    for (pid_t pid; (pid = waitpid(-1, &wait_status, WNOHANG)) > 0;) {
        if (pid != shim.config->child)
            continue;
        shim.wait_status = wait_status;
        start_draining();
    }
}

static int write_exit_record(uint32_t code, uint32_t signal)
{
    char temporary[NAME_MAX + 8], line[128], *at = line;
    const struct {
        const char *key;
        uint64_t value;
    } fields[4] = { { "code=", code },
                    { " signal=", signal },
                    { " core=", signal != 0 && WCOREDUMP(shim.wait_status) },
                    { " at=", (uint64_t)shim.ended_at.tv_sec } };
    for (int i = 0; i < 4; i++)
        at = shim_put_number(stpcpy(at, fields[i].key), fields[i].value, 1);
    *at++ = '.';
    at = shim_put_number(at, (uint64_t)shim.ended_at.tv_nsec, 9);
    *at++ = '\n';
    stpcpy(stpcpy(temporary, shim.config->exit_name), ".tmp");
    int fd = openat(shim.config->exit_dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    errno = EIO; /* a short write sets none */
    bool written = write(fd, line, (size_t)(at - line)) == at - line && fsync(fd) == 0;
    if (written && renameat(shim.config->exit_dir, temporary, shim.config->exit_dir, shim.config->exit_name) == 0)
        errno = 0;
    int result = -errno;
    close(fd);
    if (result != 0)
        unlinkat(shim.config->exit_dir, temporary, 0);
    return result;
}

static void leave(void)
{
    int status = shim.wait_status;
    uint32_t signal = WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0;
    uint32_t code = signal != 0 ? 128 + signal : (uint32_t)WEXITSTATUS(status);
    shim.phase = LEAVING;
    if (shim.config->exit_dir >= 0)
        shim.result = write_exit_record(code, signal);
    shim_clients_end(code, signal);
}

static int timeout_ms(bool accepting)
{
    if (shim.phase == RUNNING)
        return accepting ? -1 : RETRY_MS;
    bool waits = shim.phase == LEAVING ? shim_clients_any() : shim_clients_full();
    return waits ? shim_clients_patience_ms() : 0;
}

static void watch(int index, int fd, bool wanted, short events)
{
    shim.fds[index] = (struct pollfd){ .fd = wanted ? fd : -1, .events = events };
}

/* False when the shim is done. Clients come before output, so that an ATTACH that was sent in time receives what is left. */
static bool turn(void)
{
    enum phase phase = shim.phase;
    bool accepting = shim.accept_after_ms == 0 || shim_now_ms() >= shim.accept_after_ms;
    nfds_t count = shim_clients_poll(shim.fds + CLIENTS);
    bool full = shim_clients_full();
    watch(SIGNALS, shim.signals, true, POLLIN);
    watch(LISTENER, shim.config->listener, accepting, POLLIN);
    watch(STDIN_FD, shim_container.in, shim_clients_wait_for_stdin(), POLLOUT);
    for (int stream = 0; stream < SHIM_STREAMS; stream++)
        watch(OUTPUTS + stream, shim.outputs[stream], !full, POLLIN);
    if (poll(shim.fds, CLIENTS + count, timeout_ms(accepting)) < 0)
        return true;
    bool came = shim.fds[LISTENER].revents != 0;
    if (came)
        shim.accept_after_ms = shim_clients_accept(shim.config->listener) ? 0 : shim_now_ms() + RETRY_MS;
    shim_clients_ready(shim.fds + CLIENTS, count);
    for (int stream = 0; stream < SHIM_STREAMS; stream++) {
        if (phase == DRAINING || shim.fds[OUTPUTS + stream].revents != 0)
            read_output(stream);
    }
    if (shim.fds[SIGNALS].revents != 0)
        reap();
    if (phase == DRAINING && shim.outputs[SHIM_STDOUT] < 0 && shim.outputs[SHIM_STDERR] < 0)
        leave();
    return phase != LEAVING || came || shim_clients_any();
}

static int start(void)
{
    const struct shim_config *config = shim.config;
    bool terminal = config->terminal >= 0;
    if (config->log_dir >= 0 && strlen(config->log_name) > NAME_MAX)
        return -ENAMETOOLONG;
    if (config->exit_dir >= 0 && strlen(config->exit_name) > NAME_MAX)
        return -ENAMETOOLONG;
    shim_container.terminal = config->terminal;
    shim_container.in = terminal ? config->terminal : config->in;
    shim.outputs[SHIM_STDOUT] = terminal ? config->terminal : config->out;
    shim.outputs[SHIM_STDERR] = terminal ? -1 : config->err;
    sigset_t all, child;
    sigfillset(&all);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    shim.signals = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
    shim_container.pidfd = (int)syscall(SYS_pidfd_open, config->child, 0);
    if (shim.signals < 0 || shim_container.pidfd < 0 || sigprocmask(SIG_SETMASK, &all, NULL) != 0)
        return -errno;
    const int fds[] = { config->listener, shim_container.in, shim.outputs[SHIM_STDOUT], shim.outputs[SHIM_STDERR] };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0 && fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK) != 0)
            return -errno;
    }
    shim_log_start(config);
    return 0;
}

int shim_serve(const struct shim_config *config, int *wait_status)
{
    shim.config = config;
    int error = start();
    if (error != 0)
        return error;
    reap(); /* it may have ended before its SIGCHLD was blocked */
    while (turn())
        ;
    *wait_status = shim.wait_status;
    return shim.result;
}
