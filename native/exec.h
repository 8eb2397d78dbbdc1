/* What runs a plan: the state of one berth-init process, and what the operations share. */
#ifndef BERTH_EXEC_H
#define BERTH_EXEC_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "plan.h"

#include <sys/types.h>

/* The plan has failed and its failure record is already known: the child's, forwarded. Never tolerated. */
#define OUTCOME_KNOWN (-4095)

/* Launcher, child or helper; each process has its own copy. */
struct context {
    struct plan plan;
    struct plan begun;   /* mode run: what came ahead of the plan and has been executed; memory NULL: nothing did */
    enum stage stage;
    uint32_t step;
    int slots[PLAN_MAX_SLOTS];
    uint32_t slot_count;
    int proc;            /* O_PATH of the host's /proc: a container's own /proc can't be trusted */
    int pair;            /* the socket to the other side; -1: there is none (any more) */
    int report;          /* where records go: fd 1, the pair, or the connection of wait_start */
    pid_t child;         /* in the launcher: the child, not reaped yet; else 0 */
    bool is_child, is_helper, is_prepared;
    pid_t front;         /* mode run: the TypeScript that we started; else 0 */
    mode_t umask;        /* what an executed program gets; berth-init itself has 0, so that modes are exact */
    char home[4096];     /* HOME=… for an environment without one; empty: none is added */
    char *scratch;       /* SCRATCH_BYTES for one operation at a time */
    uint32_t message_bytes;
    char message[RECORD_MAX_MESSAGE];
    struct record failure;  /* what FAIL will say, with its payload */
    int32_t failure_errno;
    uint32_t failure_message_bytes;
    char failure_message[RECORD_MAX_MESSAGE];
};

/* What getdents64(2) writes. */
struct directory_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t bytes;
    uint8_t type;
    char name[];
};

#define SCRATCH_BYTES 65536
#define HOME_PREFIX "HOME="

/* exec.c. An operation gives 0 or -errno; what else it has to say goes to the message. */
int run_stage(struct context *ctx, enum stage stage);
void run_undo(struct context *ctx);
int slot_fd(const struct context *ctx, uint32_t slot);
int keep_fd(struct context *ctx, const union arg *out, int fd);  /* takes fd over; passes a -errno through */

/* record.c: records, and texts of a bounded size without stdio. */
int send_record(struct context *ctx, enum record_kind kind, const void *payload, size_t bytes);
int send_errno_record(struct context *ctx, enum record_kind kind, int error);
void say(struct context *ctx, const char *text);
void say_bytes(struct context *ctx, const char *bytes, size_t length);
void say_number(struct context *ctx, int64_t number);
void say_wait_status(struct context *ctx, int status);
char *put_text(char *at, const char *end, const char *text);
char *put_number(char *at, const char *end, int64_t number);
char *put_with_pid(char *at, const char *end, const char *text, pid_t pid);

/* pair.c: the two sides talking. */
int pair_receive(struct context *ctx, enum record_kind kind, int64_t tag, int *fd);
int pair_wait_leave(struct context *ctx, bool waits_for_start);
bool pair_take_failure(struct context *ctx);
void child_run(struct context *ctx) __attribute__((noreturn));
void child_leave(struct context *ctx);
void child_prepare_exec(struct context *ctx);
int launcher_done(struct context *ctx);
void child_reap(struct context *ctx, int signal, int *status);
pid_t container_pid(const struct context *ctx);

/* tree.c: what is created below a root that a container may control. */
int kernel_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int tree_open(int root, const char *path, int flags);
int tree_mkdirs(int root, const char *path, mode_t mode);
int tree_parent(int root, const char *path, const char **name);
int tree_mkfile(int root, const char *path, mode_t mode);

/* op-remove.c: a file, or a directory with all that is in it. */
int tree_remove(int dir, const char *name);

/* main.c: frames. read_frame gives 1, 0 at end of file, or -errno; run_frame whether the plan succeeded. */
int read_frame(struct context *ctx, const char **why);
bool run_frame(struct context *ctx);

/* front.c: the parent of TypeScript. The last three are the launcher's: all but front_wait give the exit status. */
bool is_front(const char *name);
char **front_start(int argc, char **argv);
int front_follow(const struct context *ctx);
int front_wait(struct context *ctx);
int front_finish(struct context *ctx, int status);

/* shift.c: ids below `count` become `start` and up, others nobody's; a count of 0 changes none. */
struct id_shift {
    int64_t start, count;
};
#define SHIFT_GROWTH 4 /* bytes that a value of an attribute may grow by */
uint32_t shift_id(const struct id_shift *shift, uint32_t id);
ssize_t shift_xattr(const struct id_shift *shift, const char *name, char *value, size_t bytes);

/* protect.c */
void protect_self(char **argv, char **envp, bool reexecute);

/* Results of calls, restarts after a signal, and fds that close with their scope. */
int result(long returned);
int in_directory(int directory, int (*call)(const void *), const void *argument);
char *put_fd_path(char *at, const char *end, int fd);
int write_all(int fd, const char *bytes, size_t length);
int read_some(int fd, char *bytes, size_t length);
int kernel_pidfd_open(pid_t pid);
int open_process_file(const struct context *ctx, pid_t pid, const char *name, int flags);
void reset_signals(void);

#define RETRY(call) \
    ({ long retry_; do retry_ = (call); while (retry_ < 0 && errno == EINTR); retry_; })

void close_scoped(int *fd);
#define SCOPED __attribute__((cleanup(close_scoped)))

/* struct mount_attr of <linux/mount.h>, which does not go together with <sys/mount.h> in every libc. */
struct mount_attributes {
    uint64_t set, clear, propagation, userns;
};

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4u /* 5.11 */
#endif

/* A directory argument: none means the process's own view. */
static inline int dir_fd(const union arg *arg)
{
    return arg->fd < 0 ? -100 /* AT_FDCWD */ : arg->fd;
}

#define OP(number, name, signature) int op_##name(struct context *ctx, const union arg *args);
#include "ops.def"
#undef OP

/* Process 1 of a container with --init; returns the exit status. */
int init_main(char **argv);

#endif
