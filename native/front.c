/* The front of the OCI runtime. Called by a name that ends in `runc`, berth-init starts the TypeScript beside it, and
 * for `run` stays its parent: it becomes the launcher of the plan that TypeScript may send, and the one that waits for
 * the container, so that nobody has to wait until a JavaScript engine has ended. Which of it happens is TypeScript's
 * decision; without a plan this process only passes on signals and the exit status. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Above what `--preserve-fds` may ask for. */
#define CONNECTION_FD 300
#define CONNECTION_TEXT "300"
#define CONTAINER_STDIO_FD 3

static char berth[PATH_MAX];

/* How TypeScript has ended, once it has. */
static bool berth_ended;
static int berth_status;

/* Those of src/host/signals.ts, and SIGCHLD, which tells us of our children's ends. */
static const sigset_t *held_signals(void)
{
    static const int numbers[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT,
                                   SIGTSTP, SIGTTIN, SIGTTOU, SIGIO, SIGPWR, SIGCHLD };
    static sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaddset(&set, numbers[i]);
    return &set;
}

bool is_front(const char *name)
{
    size_t length = strlen(name);
    if (length < 4 || strcmp(name + length - 4, "runc"))
        return false;
    return length == 4 || strchr("/-", name[length - 5]);
}

static void __attribute__((noreturn)) execute_berth(char **argv)
{
    execve(berth, argv, environ);
    static const char text[] = "Cannot start berth: it is not beside berth-init, or can't be executed\n";
    write_all(STDERR_FILENO, text, sizeof text - 1);
    _exit(1);
}

/* The compiled TypeScript, beside this file. It runs for some milliseconds: less than a JIT compiler is worth. */
static void find_berth(void)
{
    static const char name[] = "berth";
    ssize_t length = readlink("/proc/self/exe", berth, sizeof berth - sizeof name);
    char *slash = length > 0 ? strrchr(berth, '/') : NULL;
    /* Without /proc there is none: never one of the working directory. */
    if (slash)
        memcpy(slash + 1, name, sizeof name);
    else
        berth[0] = 0;
    setenv("BUN_JSC_useJIT", "0", 1);
}

/* What we open must not take the number of a stdio fd that the caller has closed. */
static void fill_stdio(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* Both ends out of the way of the fds that the caller handed on. */
static bool connect_ends(int *ours, int *theirs)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    *theirs = fcntl(pair[1], F_DUPFD, CONNECTION_FD);
    *ours = fcntl(pair[0], F_DUPFD_CLOEXEC, CONNECTION_FD + 1);
    close(pair[0]);
    close(pair[1]);
    return *theirs == CONNECTION_FD && *ours >= 0;
}

static pid_t start_berth(int argc, char **argv)
{
    static char option[] = "--launcher", number[] = CONNECTION_TEXT;
    char **arguments = malloc(((size_t)argc + 3) * sizeof *arguments);
    pid_t parent = getpid();
    if (!arguments)
        return -1;
    arguments[0] = argv[0];
    arguments[1] = option;
    arguments[2] = number;
    memcpy(arguments + 3, argv + 1, (size_t)argc * sizeof *argv);
    pid_t pid = vfork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        sigprocmask(SIG_UNBLOCK, held_signals(), NULL);
        execute_berth(arguments);
    }
    return pid;
}

/* The caller's fds move up to where a launcher has those of the container; ours takes the place of the plan's. */
static void arrange_fds(int ours)
{
    int last = CONTAINER_STDIO_FD;
    while (last < CONNECTION_FD && fcntl(last, F_GETFD) >= 0)
        last++;
    close(CONNECTION_FD);
    while (last-- > 0)
        dup2(last, last + CONTAINER_STDIO_FD);
    dup2(ours, STDIN_FILENO);
    dup2(ours, STDOUT_FILENO);
    close(ours);
}

char **front_start(int argc, char **argv)
{
    static char name[] = "berth-init", mode[] = "run", pid[24];
    static char *as_launcher[] = { name, mode, pid, NULL };
    bool may_run = false;
    int ours, theirs;
    find_berth();
    for (int i = 1; i < argc; i++)
        may_run |= strcmp(argv[i], "run") == 0;
    if (may_run)
        fill_stdio();
    if (!may_run || !connect_ends(&ours, &theirs))
        execute_berth(argv);
    /* A caller may have SIGCHLD ignored, and then nobody could be waited for. */
    reset_signals();
    sigprocmask(SIG_BLOCK, held_signals(), NULL);
    pid_t child = start_berth(argc, argv);
    if (child < 0) {
        close(theirs);
        execute_berth(argv);
    }
    arrange_fds(ours);
    put_number(pid, pid + sizeof pid, child);
    return as_launcher;
}

static void __attribute__((noreturn)) die_by(int signal_)
{
    reset_signals();
    kill(getpid(), signal_);
    _exit(128 + signal_);
}

/* Reaps TypeScript as soon as it has ended: a zombie would stay as long as the container. */
static bool berth_changed(const struct context *ctx)
{
    if (!berth_ended && waitpid(ctx->front, &berth_status, WNOHANG | WUNTRACED) != ctx->front)
        return false;
    berth_ended = !WIFSTOPPED(berth_status);
    return true;
}

int front_follow(const struct context *ctx)
{
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    for (;;) {
        siginfo_t info;
        if (berth_changed(ctx)) {
            if (WIFSIGNALED(berth_status))
                die_by(WTERMSIG(berth_status));
            if (berth_ended)
                return WEXITSTATUS(berth_status);
            /* The shell must see that its job has stopped, which is us. */
            raise(SIGSTOP);
            kill(ctx->front, SIGCONT);
            continue;
        }
        /* What comes from the terminal, it has got itself. */
        if (sigwaitinfo(held_signals(), &info) > 0 && info.si_signo != SIGCHLD && info.si_code == SI_USER)
            kill(ctx->front, info.si_signo);
    }
}

int front_wait(struct context *ctx)
{
    int status;
    while (waitpid(ctx->child, &status, WNOHANG) != ctx->child) {
        berth_changed(ctx);
        int number = sigwaitinfo(held_signals(), NULL);
        if (number > 0 && number != SIGCHLD)
            kill(ctx->child, number);
    }
    ctx->child = 0;
    return status;
}

/* The plan of the end comes from a TypeScript that is gone by now. Without one it is still there, and decides. */
int front_finish(struct context *ctx, int status)
{
    const char *why;
    ctx->is_helper = true;
    memset(&ctx->begun, 0, sizeof ctx->begun);
    ctx->report = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (read_frame(ctx, &why) <= 0)
        return front_follow(ctx);
    if (!run_frame(ctx))
        return 1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
