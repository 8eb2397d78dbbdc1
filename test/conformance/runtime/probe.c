/*
 * What busybox can't do for the conformance tests. Inside a container, as /bin/probe:
 *   probe mempolicy | sched | clock monotonic|boottime | fds | syscall NUMBER ARG... | forks COUNT | touch MEBIBYTES
 * and beside it, on the host:
 *   probe agent SOCKET ERRNO      a seccomp agent: prints the state it is sent and answers one call with ERRNO
 *   probe console SOCKET          receives a terminal's master and copies what comes from it to stdout
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static long check(long result, const char *what)
{
    if (result >= 0)
        return result;
    fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
    exit(99);
}

/** As struct sched_attr of the kernel, in its first size; glibc has it only since 2.41. */
struct attributes {
    unsigned size, policy;
    unsigned long long flags;
    int nice;
    unsigned priority;
    unsigned long long runtime, deadline, period;
};

static int show_scheduling(void)
{
    struct attributes attributes = { 0 };
    check(syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0), "sched_getattr");
    printf("policy=%u nice=%d priority=%u flags=%llu\n", attributes.policy, attributes.nice, attributes.priority,
           attributes.flags);
    return 0;
}

static int show_memory_policy(void)
{
    int mode = -1;
    unsigned long nodes[16] = { 0 };
    check(syscall(SYS_get_mempolicy, &mode, nodes, sizeof nodes * 8, NULL, 0), "get_mempolicy");
    printf("mode=%d nodes=%lx\n", mode, nodes[0]);
    return 0;
}

static int show_clock(const char *name)
{
    struct timespec time;
    check(clock_gettime(strcmp(name, "boottime") == 0 ? CLOCK_BOOTTIME : CLOCK_MONOTONIC, &time), "clock_gettime");
    printf("%lld\n", (long long)time.tv_sec);
    return 0;
}

static int show_fds(void)
{
    for (int fd = 0; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) != -1)
            printf("%d ", fd);
    puts("");
    return 0;
}

/** Prints the result of a system call, or the number of its errno as a negative one. */
static int call(int count, char **words)
{
    long values[7] = { 0 };
    for (int i = 0; i < count && i < 7; i++)
        values[i] = strtol(words[i], NULL, 0);
    long result = syscall(values[0], values[1], values[2], values[3], values[4], values[5], values[6]);
    printf("%ld\n", result == -1 ? -(long)errno : result);
    return 0;
}

/** Forks until it can't, at most `count` times, and prints how often it could. */
static int fork_many(int count)
{
    int made = 0;
    for (; made < count; made++) {
        pid_t child = fork();
        if (child == 0)
            for (;;)
                pause();
        if (child < 0)
            break;
    }
    /* The children end with this process: it is the first of its PID namespace. */
    printf("%d\n", made);
    return 0;
}

static int touch_memory(long mebibytes)
{
    size_t size = (size_t)mebibytes << 20;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory == MAP_FAILED ? -1 : 0, "mmap");
    memset(memory, 1, size);
    puts("touched");
    return 0;
}

enum { END_TIMEOUT_MS = 500 };

/** Takes one connection at a new socket and returns the fd that comes with its first message. */
static int receive_fd(const char *path, char *text, size_t size)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int listener = (int)check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    check(strlen(path) < sizeof address.sun_path ? 0 : -1, "path too long");
    strcpy(address.sun_path, path);
    check(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
    check(listen(listener, 1), "listen");
    puts("ready");
    fflush(stdout);
    int connection = (int)check(accept(listener, NULL, NULL), "accept");
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * 4)];
    } control;
    struct iovec data = { text, size - 1 };
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
    };
    ssize_t length = check(recvmsg(connection, &message, MSG_CMSG_CLOEXEC), "recvmsg");
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    check(header != NULL && header->cmsg_type == SCM_RIGHTS ? 0 : -1, "no fd came");
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    struct pollfd end = { .fd = connection, .events = POLLIN };
    /* Whoever keeps the connection open (runc 1.1) is not waited for. */
    while ((size_t)length < size - 8 && poll(&end, 1, END_TIMEOUT_MS) > 0) {
        ssize_t more = check(read(connection, text + length, size - 8 - (size_t)length), "read");
        length += more;
        if (more == 0)
            break;
    }
    strcpy(text + length, (end.revents & POLLHUP) != 0 ? "\nclosed" : "\nopen");
    return fd;
}

static int agent(const char *path, int error)
{
    static char state[65536];
    int listener = receive_fd(path, state, sizeof state);
    puts(state);
    fflush(stdout);
    struct seccomp_notif request = { 0 };
    check(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request), "SECCOMP_IOCTL_NOTIF_RECV");
    struct seccomp_notif_resp response = { .id = request.id, .error = -error };
    check(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response), "SECCOMP_IOCTL_NOTIF_SEND");
    return 0;
}

static int console(const char *path)
{
    char text[4096];
    int master = receive_fd(path, text, sizeof text);
    /* EIO is how a master says that no slave is open any more. */
    for (ssize_t length; (length = read(master, text, sizeof text)) > 0;)
        fwrite(text, 1, (size_t)length, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "sched") == 0)
        return show_scheduling();
    if (strcmp(verb, "mempolicy") == 0)
        return show_memory_policy();
    if (strcmp(verb, "fds") == 0)
        return show_fds();
    if (strcmp(verb, "syscall") == 0)
        return call(argc - 2, argv + 2);
    if (argc > 2 && strcmp(verb, "clock") == 0)
        return show_clock(argv[2]);
    if (argc > 2 && strcmp(verb, "forks") == 0)
        return fork_many(atoi(argv[2]));
    if (argc > 2 && strcmp(verb, "touch") == 0)
        return touch_memory(atol(argv[2]));
    if (argc > 3 && strcmp(verb, "agent") == 0)
        return agent(argv[2], atoi(argv[3]));
    if (argc > 2 && strcmp(verb, "console") == 0)
        return console(argv[2]);
    fprintf(stderr, "probe: unknown verb \"%s\"\n", verb);
    return 98;
}
