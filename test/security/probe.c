/* What a hostile program in a container tries, one subcommand each; the answers are lines on stdout.
 *
 *   spy                     watches /proc for processes that were not there, until it is killed: see spy()
 *   call ABI NR [ARG...]    a system call, ABI x86_64, x32 or i386 (int 0x80): "ok", or the errno's name
 *   socketcall CALL ARG...  the 32-bit socketcall(2), whose arguments a seccomp filter can't see
 *   connect                 connects to each abstract socket of /proc/net/unix
 *   setxattr PATH VALUE     sets user.canary; getxattr PATH prints it
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#define XATTR "user.canary"
#define X32_BIT 0x40000000L
#define PIDS 65536

static int answer(long result)
{
    puts(result >= 0 ? "ok" : strerrorname_np((int)-result));
    return 0;
}

static long number(const char *text)
{
    return (long)strtoull(text, NULL, 0);
}

#if defined(__x86_64__)
static long int80(const long *args)
{
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(args[0]), "b"(args[1]), "c"(args[2]), "d"(args[3]), "S"(args[4]), "D"(args[5])
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}
#else
static long int80(const long *args)
{
    (void)args;
    return -ENOSYS;
}
#endif

static int call(int argc, char **argv)
{
    long args[7] = {0};
    for (int i = 1; i < argc && i <= 7; i++)
        args[i - 1] = number(argv[i]);
    if (strcmp(argv[0], "i386") == 0)
        return answer(int80(args));
    long nr = args[0] | (strcmp(argv[0], "x32") == 0 ? X32_BIT : 0);
    long result = syscall(nr, args[1], args[2], args[3], args[4], args[5]);
    return answer(result < 0 ? -errno : result);
}

static int call_socketcall(int argc, char **argv)
{
    const long SYS_SOCKETCALL = 102;
    uint32_t *values = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (values == MAP_FAILED)
        return 2;
    for (int i = 1; i < argc; i++)
        values[i - 1] = (uint32_t)number(argv[i]);
    const long args[7] = { SYS_SOCKETCALL, number(argv[0]), (long)values };
    return answer(int80(args));
}

/* "connected NAME" for each abstract socket that takes us; NAME as the kernel prints it, with its '@'. */
static int connect_all(void)
{
    char line[512], name[256];
    FILE *table = fopen("/proc/net/unix", "r");
    while (table && fgets(line, sizeof line, table)) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        if (sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %255s", name) != 1 || name[0] != '@')
            continue;
        memcpy(address.sun_path + 1, name + 1, strlen(name + 1));
        socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&address, length) == 0)
            printf("connected %s\n", name);
        close(fd);
    }
    return 0;
}

static void spy_on_link(const char *pid, const char *what, const char *path)
{
    char link[512];
    struct stat stat_;
    ssize_t bytes = readlink(path, link, sizeof link - 1);
    if (bytes < 0 || stat(path, &stat_) < 0 || !S_ISDIR(stat_.st_mode))
        return;
    link[bytes] = 0;
    printf("directory %s/%s %s %u:%u/%lu\n", pid, what, link, major(stat_.st_dev), minor(stat_.st_dev),
           (unsigned long)stat_.st_ino);
}

/* Everything of a process that leads to a file: its open files, its roots, and the file that it executes. */
static void spy_on(const char *pid)
{
    char path[320];
    static const char *const roots[] = { "cwd", "root" };
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        snprintf(path, sizeof path, "/proc/%s/%s", pid, roots[i]);
        spy_on_link(pid, roots[i], path);
    }
    snprintf(path, sizeof path, "/proc/%s/exe", pid);
    char link[512];
    ssize_t bytes = readlink(path, link, sizeof link - 1);
    int fd = open(path, O_WRONLY);
    if (fd >= 0)
        printf("writable %s/exe %.*s\n", pid, bytes < 0 ? 0 : (int)bytes, link);
    else if (bytes > 0)
        printf("executable %s %.*s\n", strerrorname_np(errno), (int)bytes, link);
    if (fd >= 0)
        close(fd);
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *fds = opendir(path);
    for (struct dirent *entry; fds && (entry = readdir(fds));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, entry->d_name);
        spy_on_link(pid, entry->d_name, path);
    }
    if (fds)
        closedir(fds);
}

/* Those that were there when it began are the container's own; every other one came in from outside. */
static void __attribute__((noreturn)) spy(void)
{
    static char known[PIDS];
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int round = 0;; round++) {
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; proc && (entry = readdir(proc));) {
            int pid = atoi(entry->d_name);
            if (pid <= 0 || pid >= PIDS)
                continue;
            if (round == 0)
                known[pid] = 1;
            else if (!known[pid])
                spy_on(entry->d_name);
        }
        if (proc)
            closedir(proc);
        if (round == 0)
            puts("watching");
    }
}

static int get_xattr(const char *path)
{
    char value[256];
    ssize_t bytes = getxattr(path, XATTR, value, sizeof value);
    printf("%.*s\n", bytes < 0 ? 0 : (int)bytes, value);
    return bytes < 0;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "spy") == 0)
        spy();
    if (strcmp(command, "connect") == 0)
        return connect_all();
    if (strcmp(command, "call") == 0 && argc > 3)
        return call(argc - 2, argv + 2);
    if (strcmp(command, "socketcall") == 0 && argc > 2)
        return call_socketcall(argc - 2, argv + 2);
    if (strcmp(command, "setxattr") == 0 && argc == 4)
        return setxattr(argv[2], XATTR, argv[3], strlen(argv[3]), 0) < 0;
    if (strcmp(command, "getxattr") == 0 && argc == 3)
        return get_xattr(argv[2]);
    fprintf(stderr, "probe: unknown command \"%s\"\n", command);
    return 2;
}
