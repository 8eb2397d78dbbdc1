/* Decodes and validates a plan frame. Afterwards nothing is allocated and no length is in doubt. */
#include "plan.h"

#include <errno.h>
#include <string.h>

/* A bounded region: the unread rest of a step, or the memory not handed out yet. */
struct region {
    char *at, *end;
};

const char *op_signature(unsigned op)
{
    static const char *const signatures[] = {
#define OP(number, name, signature) [number] = signature,
#include "ops.def"
#undef OP
    };
    return op < sizeof signatures / sizeof *signatures ? signatures[op] : NULL;
}

static size_t region_left(const struct region *region)
{
    return (size_t)(region->end - region->at);
}

/* The next `bytes` and the padding to 8 behind them, or NULL. Regions start 8-aligned. */
static char *region_take(struct region *region, size_t bytes)
{
    size_t padded = (bytes + 7) & ~(size_t)7;
    if (padded < bytes || padded > region_left(region))
        return NULL;
    char *taken = region->at;
    region->at += padded;
    return taken;
}

int plan_check_header(const struct plan_header *header)
{
    if (header->magic != PLAN_MAGIC || header->version != PLAN_VERSION)
        return -EINVAL;
    if (header->frame_bytes < sizeof *header || header->frame_bytes > PLAN_MAX_BYTES || header->frame_bytes % 8)
        return -EINVAL;
    return header->slot_count <= PLAN_MAX_SLOTS ? 0 : -EINVAL;
}

size_t plan_memory_bytes(const struct plan_header *header)
{
    /* A step takes at least 16 bytes of the frame, an argument and a list 8, a text in a list 1. Pages that are
   * not needed are never touched. */
    size_t frame = header->frame_bytes;
    return frame + frame / 16 * sizeof(struct step) + frame / 8 * (sizeof(union arg) + 2 * sizeof(char *)) +
                  frame * sizeof(char *);
}

static int decode_bytes(struct region *in, union arg *arg, bool is_text)
{
    uint32_t head[2];
    if (region_left(in) < sizeof head)
        return -EINVAL;
    memcpy(head, in->at, sizeof head);
    size_t length = head[0];
    if (head[1] != 0)
        return -EINVAL;
    in->at += sizeof head;
    arg->bytes = region_take(in, length + is_text);
    arg->length = head[0];
    if (!arg->bytes || (is_text && memchr(arg->bytes, 0, length + 1) != arg->bytes + length))
        return -EINVAL;
    return 0;
}

static int decode_list(struct region *in, struct region *memory, union arg *arg)
{
    uint32_t head[2];
    if (region_left(in) < sizeof head)
        return -EINVAL;
    memcpy(head, in->at, sizeof head);
    in->at += sizeof head;
    char *text = region_take(in, head[1]);
    if (!text || head[0] > head[1])
        return -EINVAL;
    char *end = text + head[1];
    arg->count = head[0];
    arg->list = (char **)region_take(memory, ((size_t)head[0] + 2) * sizeof(char *));
    if (!arg->list)
        return -EINVAL;
    for (uint32_t i = 0; i < head[0]; i++) {
        char *nul = memchr(text, 0, (size_t)(end - text));
        if (!nul)
            return -EINVAL;
        arg->list[i] = text;
        text = nul + 1;
    }
    arg->list[head[0]] = arg->list[head[0] + 1] = NULL;
    return text == end ? 0 : -EINVAL;
}

static int decode_arg(struct region *in, struct region *memory, char wire, uint32_t slot_count, union arg *arg)
{
    if (wire == 's' || wire == 'b')
        return decode_bytes(in, arg, wire == 's');
    if (wire == 'l')
        return decode_list(in, memory, arg);
    int64_t number;
    if (region_left(in) < sizeof number)
        return -EINVAL;
    memcpy(&number, in->at, sizeof number);
    in->at += sizeof number;
    if (wire == 'i') {
        arg->i = number;
        return 0;
    }
    if (number < -1 || number >= (int64_t)slot_count)
        return -EINVAL;
    arg->slot = (int32_t)number;
    arg->fd = -1;
    return 0;
}

static int decode_step(struct region *in, struct region *memory, uint32_t slot_count, struct step *step)
{
    struct step_header header;
    if (region_left(in) < sizeof header)
        return -EINVAL;
    memcpy(&header, in->at, sizeof header);
    const char *signature = op_signature(header.op);
    if (!signature || header.flags & ~STEP_FLAG_WARN || header.step_bytes % 8 || header.step_bytes > region_left(in))
        return -EINVAL;
    struct region body = { in->at, in->at + header.step_bytes };
    in->at = body.end;
    char *start = region_take(&body, sizeof header + header.tolerate_count);
    size_t arg_count = strlen(signature);
  *step = (struct step){
        .op = header.op, .flags = header.flags, .tolerate_count = header.tolerate_count,
        .skip_on_failure = header.skip_on_failure, .skip_on_success = header.skip_on_success,
        .args = (union arg *)region_take(memory, arg_count * sizeof(union arg)),
    };
    if (!start || !step->args)
        return -EINVAL;
    step->tolerate = (const uint8_t *)start + sizeof header;
    for (size_t i = 0; i < arg_count; i++)
        if (decode_arg(&body, memory, signature[i], slot_count, &step->args[i]) < 0)
            return -EINVAL;
    return body.at == body.end ? 0 : -EINVAL;
}

/* Where each operation may stand; what needs the other side needs a clone. */
static const char *check_stages(struct plan *plan)
{
    for (unsigned stage = 0; stage < STAGE_COUNT; stage++) {
        for (uint32_t i = 0; i < plan->step_count[stage]; i++) {
            enum op op = plan->steps[stage][i].op;
            bool last = i + 1 == plan->step_count[stage];
            if (op == OP_clone && (stage != STAGE_HOST || plan->makes_child))
                return "clone stands once, in stage host";
            plan->makes_child |= op == OP_clone;
            if ((op == OP_wait_child || op == OP_serve) && (stage != STAGE_PARENT || !last))
                return "wait_child and serve end stage parent";
            if (op == OP_wait_start && stage != STAGE_CHILD && stage != STAGE_EXEC)
                return "wait_start is the child's";
            /* It finds its process by pid in the host's /proc; in a PID namespace that is another one's. */
            if (op == OP_userns && (stage == STAGE_CHILD || stage == STAGE_EXEC))
                return "userns is the launcher's";
            if (op == OP_ask && (stage == STAGE_CHILD || stage == STAGE_EXEC))
                return "ask is the launcher's";
        }
    }
    const uint32_t *count = plan->step_count;
    if (!plan->makes_child && (count[STAGE_PARENT] || count[STAGE_CHILD] || count[STAGE_EXEC]))
        return "steps of a child without clone";
    return NULL;
}

int plan_decode(struct plan *plan, char *memory, size_t memory_bytes, const char **why)
{
    struct plan_header header;
    memcpy(&header, memory, sizeof header);
    struct region in = { memory + sizeof header, memory + header.frame_bytes };
    struct region rest = { memory + header.frame_bytes, memory + memory_bytes };
  *plan = (struct plan){ .slot_count = header.slot_count, .memory = memory, .memory_bytes = memory_bytes };
  *why = "malformed step";
    uint64_t total = 0;
    for (unsigned stage = 0; stage < STAGE_COUNT; stage++)
        total += header.step_count[stage];
    struct step *step =
            total > PLAN_MAX_STEPS ? NULL : (struct step *)region_take(&rest, total * sizeof(struct step));
    if (!step)
        return -EINVAL;
    for (unsigned stage = 0; stage < STAGE_COUNT; stage++) {
        uint32_t count = plan->step_count[stage] = header.step_count[stage];
        plan->steps[stage] = step;
        for (uint32_t i = 0; i < count; i++, step++) {
            if (decode_step(&in, &rest, header.slot_count, step) < 0)
                return -EINVAL;
            if (step->skip_on_failure >= count - i || step->skip_on_success >= count - i)
                return *why = "a skip leaves its stage", -EINVAL;
        }
    }
    if (in.at != in.end)
        return *why = "bytes behind the last step", -EINVAL;
  *why = check_stages(plan);
    return *why ? -EINVAL : 0;
}
