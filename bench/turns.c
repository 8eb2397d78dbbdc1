/* Times two ways to make the same container, taking turns.
 *
 * turns ROUNDS BARE INIT DIR: `BARE DIR` and `INIT plan < DIR/frame`; prints the microseconds of both as JSON.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP_ROUNDS 5

/* Runs a program with its stdio and fds 3 to 5 as berth-init expects them; microseconds until it was reaped. */
static double run_program(char *const *argv, const char *input)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    pid_t pid = vfork();
    if (pid == 0) {
        int in = open(input, O_RDONLY), null = open("/dev/null", O_RDWR);
        dup2(in, 0);
        dup2(null, 1);
        close(in);
        close(null);
        for (int fd = 3; fd < 6; fd++)
            dup2(1, fd);
        execve(argv[0], argv, (char *[]){ NULL });
        _exit(127);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        perror("turns"), exit(1);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (status != 0) {
        fprintf(stderr, "turns: %s ended with wait status %d\n", argv[0], status);
        exit(1);
    }
    return (double)(end.tv_sec - begin.tv_sec) * 1e6 + (double)(end.tv_nsec - begin.tv_nsec) / 1e3;
}

static void print_list(const char *name, const double *values, int count, const char *end)
{
    printf("\"%s\":[", name);
    for (int i = 0; i < count; i++)
        printf("%s%.1f", i ? "," : "", values[i]);
    printf("]%s", end);
}

int main(int argc, char **argv)
{
    if (argc != 5 || atoi(argv[1]) <= 0) {
        fprintf(stderr, "usage: turns ROUNDS BARE INIT DIR\n");
        return 2;
    }
    int rounds = atoi(argv[1]);
    double *bare = calloc((size_t)rounds, sizeof *bare), *executor = calloc((size_t)rounds, sizeof *executor);
    char frame[4096];
    snprintf(frame, sizeof frame, "%s/frame", argv[4]);
    for (int i = -WARM_UP_ROUNDS; i < rounds; i++) {
        double first = run_program((char *[]){ argv[2], argv[4], NULL }, "/dev/null");
        double second = run_program((char *[]){ argv[3], "plan", NULL }, frame);
        if (i >= 0)
            bare[i] = first, executor[i] = second;
    }
    printf("{");
    print_list("bare", bare, rounds, ",");
    print_list("executor", executor, rounds, "}\n");
    return 0;
}
