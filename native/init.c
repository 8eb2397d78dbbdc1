/* `berth-init init -- PROGRAM [ARG...]`: process 1 of a container that was asked for one (--init). It passes signals on to the
 * program and reaps what is orphaned, which most programs do not expect to have to do. It ends as the program does. */
#include "exec.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_CANNOT_EXECUTE = 126, EXIT_NOT_FOUND = 127 };

static void __attribute__((noreturn)) become(char **argv, const sigset_t *mask)
{
    /* The program is the terminal's foreground job, so that ^C reaches it as in a shell. Without a terminal ENOTTY, no matter. */
    setpgid(0, 0);
    if (tcsetpgrp(STDIN_FILENO, getpid()) < 0 && errno == EIO)
        _exit(EXIT_CANNOT_EXECUTE); /* The terminal is gone. */
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(argv[0], argv);
    int status = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE;
    const char *reason = errno == ENOENT ? "not found" : "cannot be executed";
    const char *parts[] = { "berth-init: ", argv[0], ": ", reason, "\n" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        write_all(STDERR_FILENO, parts[i], strlen(parts[i]));
    _exit(status);
}

/* Reaps all that has ended; the program's exit status as a shell would see it, or -1 while it runs. */
static int reap(pid_t program)
{
    int result = -1, status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        if (pid == program)
            result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return result;
}

int init_main(char **argv)
{
    sigset_t all, before;
    sigfillset(&all);
    /* Signals that say that this program itself is broken must end it. */
    static const int own[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&all, own[i]);
    sigprocmask(SIG_BLOCK, &all, &before);
    signal(SIGTTOU, SIG_IGN); /* tcsetpgrp from the background */
    pid_t program = fork();
    if (program < 0)
        return EXIT_CANNOT_EXECUTE;
    if (program == 0)
        become(argv, &before);
    for (;;) {
        siginfo_t info;
        int signo = sigwaitinfo(&all, &info);
        if (signo < 0)
            continue;
        if (signo != SIGCHLD) {
            kill(program, signo); /* ESRCH: it has just ended, and SIGCHLD is next. */
            continue;
        }
        int status = reap(program);
        if (status >= 0)
            return status;
    }
}
