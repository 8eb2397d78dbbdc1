/* What a container costs with nothing around it: the kernel calls of bench/executor-plan.ts written out by hand, in the
 * leanest C that makes them. The measure for berth-init, which does the same from a plan.
 *
 * bare DIR: namespaces, an idmapped overlay of DIR/rootfs, DIR/upper and DIR/work, mounts, devices, masked paths,
 * capabilities, the filter DIR/seccomp, /bin/true executed and reaped. Its fds 3 to 5 become the container's stdio.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 1
#define MOUNT_ATTR_NOSUID 2
#define MOUNT_ATTR_NODEV 4
#define MOUNT_ATTR_NOEXEC 8
#define MOUNT_ATTR_STRICTATIME 0x20
#define MOUNT_ATTR_IDMAP 0x100000
#define OPEN_TREE_CLONE 1
#define FSOPEN_CLOEXEC 1
#define FSMOUNT_CLOEXEC 1
#define FSCONFIG_SET_FLAG 0
#define FSCONFIG_SET_STRING 1
#define FSCONFIG_CMD_CREATE 6
#define MOVE_MOUNT_F_EMPTY_PATH 4
#define MOVE_MOUNT_T_EMPTY_PATH 0x40
#endif
#define RESTRICTED (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
#define ID_MAP "0 1400000 65536\n"
#define DOCKER_CAPABILITIES 0xa80425fbull
#define LENGTH(list) (sizeof(list) / sizeof *(list))

struct attr {
    uint64_t set, clear, propagation, userns;
};

static const char *directory;

/* A benchmark that did not do its work must not report a time. */
static int check(long result, const char *what)
{
    if (result < 0) {
        perror(what);
        _exit(1);
    }
    return (int)result;
}

static int open_below(const char *name, int flags)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return check(open(path, flags | O_CLOEXEC), path);
}

static int clone_tree(int dir, const char *path, unsigned flags)
{
    return (int)syscall(SYS_open_tree, dir, path, OPEN_TREE_CLONE | O_CLOEXEC | flags);
}

static int set_attr(int dir, const char *path, unsigned flags, struct attr attr)
{
    return (int)syscall(SYS_mount_setattr, dir, path, flags, &attr, sizeof attr);
}

static void move(int from, int to)
{
    check(syscall(SYS_move_mount, from, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), "move_mount");
}

static int open_in_root(int root, const char *path, uint64_t flags)
{
    struct open_how how = { .flags = O_PATH | O_CLOEXEC | flags, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static void set_option(int fs, const char *key, const char *value)
{
    check(syscall(SYS_fsconfig, fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0), key);
}

/* `options`: pairs of key and value, a flag's value being NULL, up to a NULL key. */
static int make_mount(const char *fstype, const char *const *options, unsigned attrs)
{
    int fs = check(syscall(SYS_fsopen, fstype, FSOPEN_CLOEXEC), fstype);
    for (; options && *options; options += 2)
        set_option(fs, options[0], options[1]);
    check(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), fstype);
    int mount = check(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attrs), fstype);
    close(fs);
    return mount;
}

static void mount_at(int root, const char *path, const char *fstype, const char *const *options, unsigned attrs)
{
    if (mkdirat(root, path, 0755) < 0 && errno != EEXIST)
        check(-1, path);
    int target = check(open_in_root(root, path, O_DIRECTORY), path);
    int mount = make_mount(fstype, options, attrs);
    move(mount, target);
    close(mount);
    close(target);
}

static int make_overlay(int userns)
{
    int layer = open_below("rootfs", O_PATH | O_DIRECTORY);
    int lower = check(clone_tree(layer, "", AT_EMPTY_PATH), "open_tree");
    struct attr attr = { MOUNT_ATTR_RDONLY | MOUNT_ATTR_IDMAP, 0, MS_PRIVATE, (uint64_t)userns };
    check(set_attr(lower, "", AT_EMPTY_PATH, attr), "idmap");
    int fds[] = { lower, open_below("upper", O_PATH | O_DIRECTORY), open_below("work", O_PATH | O_DIRECTORY) };
    static const char *const keys[] = { "lowerdir+", "upperdir", "workdir" };
    int fs = check(syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC), "overlay");
    for (size_t i = 0; i < LENGTH(fds); i++) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fds[i]);
        set_option(fs, keys[i], path);
    }
    check(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "overlay");
    return check(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0), "overlay");
}

static void send_fd(int socket, int fd)
{
    union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control = { 0 };
    struct iovec byte = { "", 1 };
    struct msghdr message = { .msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control,
                              .msg_controllen = sizeof control };
    control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd) };
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    check(sendmsg(socket, &message, 0), "sendmsg");
}

static int receive_fd(int socket)
{
    union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control;
    char byte;
    struct iovec data = { &byte, 1 };
    struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                              .msg_controllen = sizeof control };
    int fd = -1;
    check(recvmsg(socket, &message, MSG_CMSG_CLOEXEC), "recvmsg");
    memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
    return fd;
}

static const char *const devices[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty" };
static int device_mounts[LENGTH(devices)], null_mount;

static void clone_devices(void)
{
    struct stat stat;
    for (size_t i = 0; i < LENGTH(devices); i++) {
        device_mounts[i] = check(clone_tree(AT_FDCWD, devices[i], 0), devices[i]);
        check(fstat(device_mounts[i], &stat), devices[i]);
    }
    null_mount = check(clone_tree(AT_FDCWD, "/dev/null", 0), "/dev/null");
}

static void make_devices(int root)
{
    static const char *const links[][2] = { { "/proc/self/fd", "dev/fd" }, { "/proc/self/fd/0", "dev/stdin" },
                                            { "/proc/self/fd/1", "dev/stdout" }, { "/proc/self/fd/2", "dev/stderr" },
                                            { "pts/ptmx", "dev/ptmx" } };
    for (size_t i = 0; i < LENGTH(devices); i++) {
        int file = check(openat(root, devices[i] + 1, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666), devices[i]);
        move(device_mounts[i], file);
        close(file);
    }
    for (size_t i = 0; i < LENGTH(links); i++)
        check(symlinkat(links[i][0], root, links[i][1]), links[i][1]);
}

static void make_mounts(int root)
{
    static const char *const proc[] = { "source", "proc", NULL }, *const sys[] = { "source", "sysfs", NULL };
    static const char *const dev[] = { "source", "tmpfs", "mode", "755", "size", "64k", NULL };
    static const char *const pts[] = { "source", "devpts", "newinstance", NULL, "ptmxmode", "0666", "mode", "0620",
                                       "gid", "5", NULL };
    static const char *const mqueue[] = { "source", "mqueue", NULL };
    static const char *const shm[] = { "source", "shm", "mode", "1777", "size", "64m", NULL };
    mount_at(root, "proc", "proc", proc, RESTRICTED);
    mount_at(root, "dev", "tmpfs", dev, MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME);
    mount_at(root, "dev/pts", "devpts", pts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    mount_at(root, "sys", "sysfs", sys, RESTRICTED | MOUNT_ATTR_RDONLY);
    mount_at(root, "dev/mqueue", "mqueue", mqueue, RESTRICTED);
    mount_at(root, "dev/shm", "tmpfs", shm, RESTRICTED);
}

static void cover_paths(int root)
{
    static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
    static const char *const masked[] = {
        "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
        "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
        "/sys/devices/virtual/powercap",
    };
    static const char *const empty_options[] = { "source", "tmpfs", "nr_inodes", "1", "mode", "755", NULL };
    for (size_t i = 0; i < LENGTH(readonly); i++) {
        int target = open_in_root(root, readonly[i], 0);
        if (target < 0)
            continue;
        int tree = check(clone_tree(target, "", AT_EMPTY_PATH | AT_RECURSIVE), readonly[i]);
        check(set_attr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, (struct attr){ .set = MOUNT_ATTR_RDONLY }), readonly[i]);
        move(tree, target);
        close(tree);
        close(target);
    }
    bool null_is_used = false;
    int empty = make_mount("tmpfs", empty_options, MOUNT_ATTR_RDONLY | RESTRICTED);
    for (size_t i = 0; i < LENGTH(masked); i++) {
        struct stat stat;
        int target = open_in_root(root, masked[i], 0);
        if (target < 0)
            continue;
        check(fstat(target, &stat), masked[i]);
        bool is_file = !S_ISDIR(stat.st_mode);
        /* A detached mount from another mount namespace can't be cloned here: it is moved, and then cloned from its place. */
        bool moves = is_file && !null_is_used;
        int cover = moves ? null_mount : check(clone_tree(is_file ? null_mount : empty, "", AT_EMPTY_PATH), masked[i]);
        move(cover, target);
        null_is_used |= moves;
        if (!moves)
            close(cover);
        close(target);
    }
}

static void loopback_up(void)
{
    struct { struct nlmsghdr header; struct ifinfomsg link; } request = {
        { sizeof request, RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0 },
        { .ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP },
    };
    char answer[1024];
    int socket_fd = check(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "netlink");
    check(send(socket_fd, &request, sizeof request, 0), "netlink");
    check(recv(socket_fd, answer, sizeof answer, 0), "netlink");
    close(socket_fd);
}

static void reset_signals(void)
{
    struct sigaction fallback = { .sa_handler = SIG_DFL };
    sigset_t none;
    for (int signal = 1; signal < NSIG; signal++)
        sigaction(signal, &fallback, NULL); /* SIGKILL and SIGSTOP refuse. */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void drop_privileges(const struct sock_fprog *filter)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct sets[2] = { { DOCKER_CAPABILITIES, DOCKER_CAPABILITIES, 0 }, { 0 } };
    for (unsigned cap = 0; cap < 64; cap++)
        if (!(DOCKER_CAPABILITIES >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            break;
    check(syscall(SYS_setgroups, 0, NULL), "setgroups");
    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    check(setresgid(0, 0, 0), "setresgid");
    check(setresuid(0, 0, 0), "setresuid");
    check(access("/bin/true", X_OK), "/bin/true");
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    check(syscall(SYS_capset, &header, sets), "capset");
    check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient");
    check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, filter), "seccomp");
}

static void run_child(int socket, const struct sock_fprog *filter)
{
    char byte;
    check(recv(socket, &byte, 1, 0), "recv");
    check(setresgid(0, 0, 0), "setresgid");
    check(setresuid(0, 0, 0), "setresuid");
    int root = receive_fd(socket);
    check(set_attr(AT_FDCWD, "/", AT_RECURSIVE, (struct attr){ .propagation = MS_SLAVE }), "propagation");
    check(syscall(SYS_move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH), "root");
    make_mounts(root);
    make_devices(root);
    loopback_up();
    check(sethostname("bench", 5), "sethostname");
    cover_paths(root);
    check(fchdir(root), "fchdir");
    check(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    check(umount2(".", MNT_DETACH), "umount2");
    check(chdir("/"), "chdir");
    reset_signals();
    check(syscall(SYS_keyctl, 1, "_ses.bench"), "keyctl");
    check(setsid(), "setsid");
    for (int fd = 0; fd < 3; fd++)
        check(dup2(3 + fd, fd), "dup2");
    check(syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */), "close_range");
    umask(022);
    drop_privileges(filter);
    execve("/bin/true", (char *[]){ "/bin/true", NULL }, (char *[]){ "PATH=/bin", "HOME=/", NULL });
    check(-1, "execve");
}

static void write_proc(pid_t pid, const char *name, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = check(open(path, O_WRONLY | O_CLOEXEC), path);
    check(write(fd, text, strlen(text)), path);
    close(fd);
}

static int run_container(void)
{
    static struct sock_filter instructions[4096];
    int pair[2], status, file = open_below("seccomp", O_RDONLY);
    int bytes = check(read(file, instructions, sizeof instructions), "seccomp");
    struct sock_fprog filter = { (unsigned short)((size_t)bytes / sizeof *instructions), instructions };
    close(file);
    umask(0);
    clone_devices();
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
    struct clone_args args = { .exit_signal = SIGCHLD, .flags = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                                                CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET };
    pid_t pid = check(syscall(SYS_clone3, &args, sizeof args), "clone3");
    if (pid == 0)
        run_child(pair[1], &filter);
    write_proc(pid, "uid_map", ID_MAP);
    write_proc(pid, "gid_map", ID_MAP);
    check(send(pair[0], "", 1, 0), "send");
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    send_fd(pair[0], make_overlay(check(open(path, O_RDONLY | O_CLOEXEC), path)));
    check(waitpid(pid, &status, 0), "waitpid");
    return status != 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: bare DIR\n");
        return 2;
    }
    directory = argv[1];
    return run_container();
}
