/* berth-init: executes plans that TypeScript composed. `plan` runs one, `helper` runs them until end of file. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FIRST_SLOT_FD 3
#define STDIO_SLOTS 3
#define PROC_ROOT_INO 1

static struct context context;

static void __attribute__((noreturn)) usage(void)
{
    static const char text[] = "usage: berth-init plan|helper|run PID (docs/plan-protocol.md) | init -- PROGRAM [ARG...]\n";
    write_all(STDERR_FILENO, text, sizeof text - 1);
    _exit(2);
}

/* Fixed slots: stdio, each if it is open; behind it the preserved fds, which have no gaps. */
static void adopt_fds(struct context *ctx)
{
    for (uint32_t slot = 0; slot < PLAN_MAX_SLOTS; slot++)
        ctx->slots[slot] = -1;
    for (uint32_t slot = 0; slot < PLAN_MAX_SLOTS; slot++) {
        int fd = FIRST_SLOT_FD + (int)slot;
        if (fcntl(fd, F_GETFD) >= 0)
            ctx->slots[slot] = fd;
        else if (slot >= STDIO_SLOTS)
            break;
    }
    syscall(SYS_close_range, FIRST_SLOT_FD, ~0u, CLOSE_RANGE_CLOEXEC);
}

static int open_proc(void)
{
    struct statfs filesystem;
    struct stat root;
    int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstatfs(fd, &filesystem) < 0 || fstat(fd, &root) < 0)
        return -1;
    if (filesystem.f_type != PROC_SUPER_MAGIC || root.st_ino != PROC_ROOT_INO)
        return -1;
    /* One of another PID namespace would have other processes at our child's number. */
    char self[24] = "", own[24];
    put_number(own, own + sizeof own, getpid());
    return readlinkat(fd, "self", self, sizeof self - 1) > 0 && strcmp(self, own) == 0 ? fd : -1;
}

/* Reads a frame into memory with room for its decoded form. 1, 0 at end of file, or -errno. */
int read_frame(struct context *ctx, const char **why)
{
    struct plan_header header;
    int got = read_some(STDIN_FILENO, (char *)&header, sizeof header);
    *why = "not a frame";
    if (got <= 0)
        return got;
    if ((size_t)got < sizeof header || plan_check_header(&header) < 0)
        return -EINVAL;
    size_t bytes = plan_memory_bytes(&header) + SCRATCH_BYTES;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    ctx->plan = (struct plan){ .memory = memory, .memory_bytes = bytes };
    memcpy(memory, &header, sizeof header);
    int rest = (int)(header.frame_bytes - sizeof header);
    got = read_some(STDIN_FILENO, memory + sizeof header, (size_t)rest);
    *why = "truncated frame";
    return got == rest ? 1 : got < 0 ? got : -EINVAL;
}

static int decode_frame(struct context *ctx, const char **why)
{
    char *memory = ctx->plan.memory;
    size_t bytes = ctx->plan.memory_bytes;
    int error = plan_decode(&ctx->plan, memory, bytes - SCRATCH_BYTES, why);
    ctx->plan.memory_bytes = bytes;
    ctx->scratch = memory + bytes - SCRATCH_BYTES;
    ctx->slot_count = ctx->plan.slot_count;
    for (unsigned stage = STAGE_PARENT; error >= 0 && ctx->is_helper && stage <= STAGE_EXEC; stage++)
        if (ctx->plan.step_count[stage])
            return *why = "a helper's plan has no child", -EINVAL;
    return error;
}

/* Nothing of the frame has been executed, but what came ahead of it may have been. */
static void refuse_frame(struct context *ctx, int error, const char *why)
{
    memset(&ctx->plan, 0, sizeof ctx->plan);
    run_undo(ctx);
    ctx->stage = STAGE_COUNT; /* no stage's */
    ctx->step = PLAN_NO_STEP;
    ctx->message_bytes = 0;
    say(ctx, why);
    send_errno_record(ctx, RECORD_FAIL, -error); /* EPIPE: nobody is left to tell. */
}

/* In mode run TypeScript may send the first steps ahead of the plan, which has the clone. A second time without one, it
 * gives the plan up. */
static bool is_beginning(const struct context *ctx)
{
    return ctx->front && !ctx->is_helper && !ctx->plan.makes_child;
}

static int begin_plan(struct context *ctx)
{
    int error = ctx->begun.memory ? -ECANCELED : run_stage(ctx, STAGE_HOST);
    if (error >= 0) {
        ctx->begun = ctx->plan;
        memset(&ctx->plan, 0, sizeof ctx->plan);
    }
    return error;
}

static int run_plan(struct context *ctx)
{
    if (is_beginning(ctx))
        return begin_plan(ctx);
    int error = run_stage(ctx, STAGE_HOST);
    if (error >= 0)
        error = run_stage(ctx, STAGE_PARENT);
    return error >= 0 ? launcher_done(ctx) : error;
}

/* Keeps the first cause, ends the child, undoes, and only then reports: who reads FAIL finds nothing left over. */
static void fail(struct context *ctx, int error)
{
    if (error != OUTCOME_KNOWN && !pair_take_failure(ctx)) {
        ctx->failure = (struct record){ .kind = RECORD_FAIL, .stage = (uint16_t)ctx->stage, .step = ctx->step };
        ctx->failure_errno = -error;
        ctx->failure_message_bytes = ctx->message_bytes;
        memcpy(ctx->failure_message, ctx->message, ctx->message_bytes);
    }
    int status;
    child_reap(ctx, SIGKILL, &status);
    if (ctx->pair >= 0)
        close(ctx->pair);
    ctx->pair = -1;
    run_undo(ctx);
    ctx->stage = (enum stage)ctx->failure.stage;
    ctx->step = ctx->failure.step;
    ctx->message_bytes = 0;
    say_bytes(ctx, ctx->failure_message, ctx->failure_message_bytes);
    send_errno_record(ctx, RECORD_FAIL, ctx->failure_errno); /* EPIPE: TypeScript being gone may be the failure. */
}

/* One frame: whether it succeeded. */
bool run_frame(struct context *ctx)
{
    const char *why;
    int error = decode_frame(ctx, &why);
    if (error < 0)
        refuse_frame(ctx, error, why);
    else if ((error = run_plan(ctx)) < 0)
        fail(ctx, error);
    return error >= 0;
}

/* plan, helper, or run with the pid of the TypeScript that is our child. */
static void read_mode(struct context *ctx, char **argv)
{
    const char *mode = argv[0] && argv[1] ? argv[1] : "";
    bool runs = strcmp(mode, "run") == 0 && argv[2] && (ctx->front = atoi(argv[2])) > 0;
    ctx->is_helper = strcmp(mode, "helper") == 0;
    if ((!runs && !ctx->is_helper && strcmp(mode, "plan")) || argv[runs ? 3 : 2])
        usage();
}

/* One plan, or as a helper any number. The exit status. */
static int run_frames(struct context *ctx)
{
    for (;;) {
        const char *why;
        int error = read_frame(ctx, &why);
        if (error == 0 && ctx->is_helper)
            return 0;
        if (error <= 0)
            return refuse_frame(ctx, error ? error : -EINVAL, why), 1;
        bool good = run_frame(ctx);
        if (good && ctx->begun.memory && !ctx->plan.memory)
            continue;
        if (!ctx->is_helper)
            return !good;
        munmap(ctx->plan.memory, ctx->plan.memory_bytes);
    }
}

int main(int argc, char **argv, char **envp)
{
    struct context *ctx = &context;
    if (argc > 0 && is_front(argv[0]))
        argv = front_start(argc, argv);
    else if (argc > 3 && strcmp(argv[1], "init") == 0 && strcmp(argv[2], "--") == 0)
        return init_main(argv + 3);
    read_mode(ctx, argv);
    protect_self(argv, envp, !ctx->is_helper);
    adopt_fds(ctx);
    signal(SIGPIPE, SIG_IGN);
    ctx->umask = umask(0);
    ctx->pair = -1;
    ctx->report = STDOUT_FILENO;
    ctx->proc = open_proc();
    int status = 1;
    if (ctx->proc < 0)
        refuse_frame(ctx, -ENOENT, "/proc is no procfs of this PID namespace");
    else
        status = run_frames(ctx);
    return ctx->front ? front_follow(ctx) : status;
}
