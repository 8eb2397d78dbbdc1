/* Runs the steps of a stage: slots, tolerated failures, skips. No operation is known here but by its table row. */
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int slot_fd(const struct context *ctx, uint32_t slot)
{
    return slot < ctx->slot_count && ctx->slots[slot] >= 0 ? ctx->slots[slot] : -EBADF;
}

int keep_fd(struct context *ctx, const union arg *out, int fd)
{
    if (fd < 0)
        return fd;
    if (out->slot < 0) {
        close(fd);
        return 0;
    }
    if (ctx->slots[out->slot] >= 0)
        close(ctx->slots[out->slot]);
    ctx->slots[out->slot] = fd;
    return 0;
}

/* An explicit slot that holds nothing is an error here, so that no operation can take its -1 for "none". */
static int resolve_slots(const struct context *ctx, const struct step *step)
{
    const char *signature = op_signature(step->op);
    for (size_t i = 0; signature[i]; i++) {
        union arg *arg = &step->args[i];
        if (signature[i] != 'f')
            continue;
        arg->fd = -1;
        if (arg->slot >= 0 && (arg->fd = slot_fd(ctx, (uint32_t)arg->slot)) < 0)
            return -EBADF;
    }
    return 0;
}

static int run_step(struct context *ctx, const struct step *step)
{
    ctx->message_bytes = 0;
    int error = resolve_slots(ctx, step);
    if (error < 0)
        return error;
    switch (step->op) {
#define OP(number, name, signature) \
    case OP_##name: \
        return op_##name(ctx, step->args);
#include "ops.def"
#undef OP
    }
    return -EINVAL;
}

static bool tolerates(const struct step *step, int error)
{
    for (unsigned i = 0; i < step->tolerate_count; i++)
        if (step->tolerate[i] == TOLERATE_ALL || step->tolerate[i] == error)
            return true;
    return false;
}

int run_stage(struct context *ctx, enum stage stage)
{
    for (uint32_t i = 0; i < ctx->plan.step_count[stage]; i++) {
        const struct step *step = &ctx->plan.steps[stage][i];
        ctx->stage = stage;
        ctx->step = stage == STAGE_HOST ? ctx->begun.step_count[stage] + i : i;
        int error = run_step(ctx, step);
        if (error >= 0) {
            i += step->skip_on_success;
            continue;
        }
        if (error == OUTCOME_KNOWN || !tolerates(step, -error))
            return error;
        if (step->flags & STEP_FLAG_WARN && send_errno_record(ctx, RECORD_WARN, -error) < 0)
            return -EPIPE;
        i += step->skip_on_failure;
    }
    return 0;
}

static void undo_plan(struct context *ctx, const struct plan *plan)
{
    ctx->stage = STAGE_UNDO;
    for (ctx->step = 0; ctx->step < plan->step_count[STAGE_UNDO]; ctx->step++)
        run_step(ctx, &plan->steps[STAGE_UNDO][ctx->step]);
}

void run_undo(struct context *ctx)
{
    undo_plan(ctx, &ctx->begun);
    undo_plan(ctx, &ctx->plan);
}
