/* Keeps a container from reaching the host through berth-init: its memory, and above all its file (CVE-2019-5736). */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef ST_RDONLY
#define ST_RDONLY 1
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x10u /* 6.3 */
#endif
#define OPEN_TREE_CLONE 1u
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#define MOUNT_ATTR_RDONLY 1u
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static const char self[] = "/proc/self/exe";
static char done_word[] = "BERTH_INIT_PROTECTED=1";

/* What counts is the file that is executing, so that is asked, not the environment. */
static bool is_protected(void)
{
    struct statfs mount;
    if (statfs(self, &mount) == 0 && mount.f_flags & ST_RDONLY)
        return true;
    int fd SCOPED = open(self, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && fcntl(fd, F_GET_SEALS) == SEALS;
}

/* A private read-only mount of just this file; it lives as long as the process executes it. */
static int clone_mount(void)
{
    struct mount_attributes attr = { .set = MOUNT_ATTR_RDONLY };
    int fd = (int)syscall(SYS_open_tree, AT_FDCWD, self, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd >= 0 && syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int copy_to_memfd(void)
{
    int from SCOPED = open(self, O_RDONLY | O_CLOEXEC);
    int to = memfd_create("berth-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (to < 0 && errno == EINVAL)
        to = memfd_create("berth-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct stat stat;
    if (from < 0 || to < 0 || fstat(from, &stat) < 0)
        return -1;
    off_t at = 0;
    while (at < stat.st_size)
        if (sendfile(to, from, &at, (size_t)(stat.st_size - at)) <= 0)
            return -1;
    return fcntl(to, F_ADD_SEALS, SEALS) == 0 ? to : -1;
}

static void __attribute__((noreturn)) refuse(const char *why)
{
    write_all(STDERR_FILENO, why, strlen(why));
    _exit(125);
}

void protect_self(char **argv, char **envp, bool reexecute)
{
    /* Reset by every execve, so it is done on both sides of it. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (!reexecute || is_protected())
        return;
    /* The word only ends what would else go round for ever. A plan says what environment its programs have. */
    for (size_t i = 0; envp[i]; i++)
        if (strcmp(envp[i], done_word) == 0)
            refuse("Cannot protect berth-init: its copy is writable\n");
    char *environment[] = { done_word, NULL };
    int fd = clone_mount();
    if (fd < 0)
        fd = copy_to_memfd();
    syscall(SYS_execveat, fd, "", argv, environment, AT_EMPTY_PATH);
    refuse("Cannot protect berth-init: neither a read-only mount nor a sealed copy of it can be executed\n");
}
