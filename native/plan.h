/* The plan as it comes over fd 0 and the records that go out on fd 1: docs/plan-protocol.md in C.
 *
 *   TypeScript                 launcher                                   child
 *       | frame ----------------> | decode, stage host
 *       |                         | clone -----------------------------------> | stage child, stage exec
 *       | <---------------- PID   |                                            |
 *       |                         | stage parent  <---- POST, POST_FD -------> |   one SOCK_SEQPACKET pair,
 *       | <-- WARN, DATA, FAIL    | <------------------ WARN, DATA, FAIL ----- |   close-on-exec at both ends
 *       | <-- ASK -- reply byte ->|                                            |
 *       |                         | <------------------------------ LEAVE ---- |   at execve, or at wait_start
 *       | <---------------- DONE  | <------------------------- end of file --- |   execve
 *
 * LEAVE makes the end of file mean something: without it the child died on its way. With wait_start in the plan
 * LEAVE is all that the launcher waits for; what fails behind it goes to the connection that started the child.
 */
#ifndef BERTH_PLAN_H
#define BERTH_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stage { STAGE_HOST, STAGE_PARENT, STAGE_CHILD, STAGE_EXEC, STAGE_UNDO, STAGE_COUNT };

#define PLAN_MAGIC 0x50425448u
#define PLAN_VERSION 1
#define PLAN_MAX_BYTES (16u << 20)
#define PLAN_MAX_STEPS 4096u
#define PLAN_MAX_SLOTS 512u
#define PLAN_NO_STEP 0xffffffffu
#define STEP_FLAG_WARN 1
#define STEP_MAX_ARGS 11
#define TOLERATE_ALL 255

/* The records; from RECORD_POST on they exist only between child and launcher. */
enum record_kind {
    RECORD_PID = 1, RECORD_DONE, RECORD_FAIL, RECORD_WARN, RECORD_ASK, RECORD_EXIT, RECORD_DATA,
    RECORD_POST = 64, RECORD_POST_FD, RECORD_LEAVE,
};

#define RECORD_MAX_MESSAGE 512
/* One piece of DATA: with its header it must fit a SEQPACKET message and the scratch space. */
#define RECORD_MAX_DATA 61440

struct record {
    uint32_t payload_bytes;
    uint16_t kind, stage;
    uint32_t step;
};

struct plan_header {
    uint32_t magic, frame_bytes;
    uint16_t version, slot_count;
    uint32_t step_count[STAGE_COUNT];
};

struct step_header {
    uint16_t op;
    uint8_t tolerate_count, flags;
    uint16_t skip_on_failure, skip_on_success;
    uint32_t step_bytes;
};

enum op {
#define OP(number, name, signature) OP_##name = number,
#include "ops.def"
#undef OP
};

/* One argument. Which member holds is the signature's letter: i, s and b, l, f and o. */
union arg {
    int64_t i;
    struct { char *bytes; uint32_t length; };   /* a text is followed by a NUL */
    struct { char **list; uint32_t count; };    /* followed by a NULL and room for one more */
    struct { int32_t slot; int32_t fd; };       /* fd is filled in when the step runs */
};

struct step {
    enum op op;
    uint8_t flags, tolerate_count;
    uint16_t skip_on_failure, skip_on_success;
    const uint8_t *tolerate;
    union arg *args;
};

/* A decoded plan. Everything it points to lies in the frame or behind it in the same mapping. */
struct plan {
    uint32_t slot_count;
    uint32_t step_count[STAGE_COUNT];
    struct step *steps[STAGE_COUNT];
    bool makes_child;    /* it has a clone */
    char *memory;
    size_t memory_bytes;
};

/* Checks the header; 0 or -EINVAL. */
int plan_check_header(const struct plan_header *header);

/* The bytes of memory that decoding a frame of this (checked) header takes, the frame itself included. */
size_t plan_memory_bytes(const struct plan_header *header);

/* Decodes the frame at the start of `memory`. 0, or -EINVAL with `why` naming what is wrong with the plan. */
int plan_decode(struct plan *plan, char *memory, size_t memory_bytes, const char **why);

/* The arguments of an operation, "" included; NULL when there is no such operation. */
const char *op_signature(unsigned op);

#endif
