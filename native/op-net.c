/* Steps that hand prepared messages to the kernel: netlink batches and the eBPF device filter of a cgroup. */
#include "exec.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATCH_CHILD_PID 0
#define PATCH_SLOT_FD 1
#define MAX_ATTACHED 64
#define BPF_LOG_BYTES 16384

struct patch {
    uint32_t offset, kind;
    int32_t slot;
    uint32_t zero;
};

/* Numbers that only the plan's execution knows are written into the messages. */
static int apply_patches(const struct context *ctx, const union arg *messages, const union arg *patches)
{
    struct patch patch;
    if (patches->length % sizeof patch)
        return -EINVAL;
    for (uint32_t at = 0; at < patches->length; at += sizeof patch) {
        memcpy(&patch, patches->bytes + at, sizeof patch);
        if (messages->length < 4 || patch.offset > messages->length - 4 || patch.kind > PATCH_SLOT_FD || patch.slot < -1)
            return -EINVAL;
        int32_t value = patch.kind == PATCH_CHILD_PID ? ctx->child : slot_fd(ctx, (uint32_t)patch.slot);
        if (value <= 0 && patch.kind == PATCH_CHILD_PID)
            return -ESRCH;
        if (value < 0)
            return value;
        memcpy(messages->bytes + patch.offset, &value, sizeof value);
    }
    return 0;
}

/* What the kernel says about an error, in the attributes behind the (capped) copy of the message. */
static void say_extack(struct context *ctx, const struct nlmsghdr *header)
{
    const char *at = (const char *)header + NLMSG_LENGTH(sizeof(struct nlmsgerr));
    const char *end = (const char *)header + header->nlmsg_len;
    if (!(header->nlmsg_flags & NLM_F_ACK_TLVS))
        return;
    while (end - at >= (ptrdiff_t)sizeof(struct nlattr)) {
        const struct nlattr *attr = (const void *)at;
        if (attr->nla_len < NLA_HDRLEN || attr->nla_len > end - at)
            return;
        if (attr->nla_type == NLMSGERR_ATTR_MSG)
            say_bytes(ctx, at + NLA_HDRLEN, strnlen(at + NLA_HDRLEN, attr->nla_len - (size_t)NLA_HDRLEN));
        at += NLA_ALIGN(attr->nla_len);
    }
}

/* One datagram of replies. 0: more may come, 1: an end (ack or done), or -errno. What is no ack goes out as DATA. */
static int read_replies(struct context *ctx, size_t bytes, int *acks)
{
    size_t at = 0, data_bytes = 0;
    int error = 0;
    while (error == 0 && bytes - at >= sizeof(struct nlmsghdr)) {
        const struct nlmsghdr *header = (const void *)(ctx->scratch + at);
        if (header->nlmsg_len < sizeof *header || header->nlmsg_len > bytes - at)
            return -EPROTO;
        bool is_end = header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE;
        at += NLMSG_ALIGN(header->nlmsg_len);
        if (!is_end)
            data_bytes = at < bytes ? at : bytes;
        if (is_end && header->nlmsg_len >= NLMSG_LENGTH(sizeof error)) {
            memcpy(&error, NLMSG_DATA(header), sizeof error);
            if (error < 0 && header->nlmsg_type == NLMSG_ERROR)
                say_extack(ctx, header);
        }
        *acks += is_end;
        at = at < bytes ? at : bytes;
    }
    if (data_bytes > 0) {
        int sent = send_record(ctx, RECORD_DATA, ctx->scratch, data_bytes);
        return sent < 0 ? sent : error;
    }
    return error;
}

/* Sends `bytes` of messages and takes their acks. The kernel answers while it is being asked, so when nothing waits
 * any more, nothing will come: after an error in a transaction the rest is not acknowledged. */
static int exchange(struct context *ctx, int fd, const char *messages, size_t bytes, int expected)
{
    int acks = 0, first_error = 0;
    if (RETRY(send(fd, messages, bytes, 0)) < 0)
        return -errno;
    while (acks < expected) {
        ssize_t got = RETRY(recv(fd, ctx->scratch, RECORD_MAX_DATA, MSG_DONTWAIT | MSG_TRUNC));
        if (got < 0 && first_error < 0)
            return first_error;
        if (got < 0)
            return errno == EAGAIN ? -EPROTO : -errno;
        if (got > RECORD_MAX_DATA)
            return -EMSGSIZE;
        int error = read_replies(ctx, (size_t)got, &acks);
        if (first_error == 0)
            first_error = error;
    }
    return first_error;
}

static int netlink_socket(int protocol)
{
    int on = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&kernel, sizeof kernel) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* nf_tables takes a batch as one transaction in one datagram. Elsewhere the kernel would go on behind a failed
 * message, so there each goes alone and the first error ends the step. */
int op_netlink(struct context *ctx, const union arg *args)
{
    int error = apply_patches(ctx, &args[1], &args[2]);
    int fd SCOPED = error < 0 ? error : netlink_socket((int)args[0].i);
    size_t at = 0, start = 0, length = args[1].length;
    if (fd < 0)
        return fd;
    for (int expected = 0; at < length;) {
        const struct nlmsghdr *header = (const void *)(args[1].bytes + at);
        if (length - at < sizeof *header || header->nlmsg_len < sizeof *header || header->nlmsg_len > length - at)
            return -EINVAL;
        at += NLMSG_ALIGN((size_t)header->nlmsg_len);
        at = at < length ? at : length;
        bool is_dump = (header->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
        expected += is_dump || header->nlmsg_flags & NLM_F_ACK;
        if (args[0].i == NETLINK_NETFILTER && !is_dump && at < length)
            continue;
        error = exchange(ctx, fd, args[1].bytes + start, at - start, expected);
        if (error < 0)
            return error;
        start = at;
        expected = 0;
    }
    return 0;
}

static int bpf(int command, union bpf_attr *attr)
{
    return result(syscall(SYS_bpf, command, attr, sizeof *attr));
}

/* The verifier's log is asked for only when it has something to say. */
static int load_device_program(struct context *ctx, const union arg *program)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = (uintptr_t)program->bytes;
    attr.insn_cnt = program->length / (uint32_t)sizeof(struct bpf_insn);
    attr.license = (uintptr_t) "Apache-2.0";
    int fd = bpf(BPF_PROG_LOAD, &attr);
    if (fd >= 0 || fd == -EPERM)
        return fd;
    attr.log_buf = (uintptr_t)ctx->scratch;
    attr.log_size = BPF_LOG_BYTES;
    attr.log_level = 1;
    ctx->scratch[0] = 0;
    int second = bpf(BPF_PROG_LOAD, &attr);
    size_t length = strnlen(ctx->scratch, BPF_LOG_BYTES), shown = length < RECORD_MAX_MESSAGE ? length : RECORD_MAX_MESSAGE;
    say_bytes(ctx, ctx->scratch + length - shown, shown);
    return second >= 0 ? second : fd;
}

static int attach_device_program(int command, int cgroup, int program, unsigned flags)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.target_fd = (uint32_t)cgroup;
    attr.attach_bpf_fd = (uint32_t)program;
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.attach_flags = flags;
    return bpf(command, &attr);
}

/* New before old: at no moment is the cgroup without a filter. */
int op_bpf_device(struct context *ctx, const union arg *args)
{
    union bpf_attr query;
    uint32_t attached[MAX_ATTACHED];
    int cgroup = args[1].fd;
    memset(&query, 0, sizeof query);
    query.query.target_fd = (uint32_t)cgroup;
    query.query.attach_type = BPF_CGROUP_DEVICE;
    query.query.prog_ids = (uintptr_t)attached;
    query.query.prog_cnt = MAX_ATTACHED;
    if (args[0].length % sizeof(struct bpf_insn))
        return -EINVAL;
    int error = args[2].i ? bpf(BPF_PROG_QUERY, &query) : 0;
    int program SCOPED = error < 0 ? error : load_device_program(ctx, &args[0]);
    if (program < 0)
        return program;
    error = attach_device_program(BPF_PROG_ATTACH, cgroup, program, BPF_F_ALLOW_MULTI);
    for (uint32_t i = 0; error >= 0 && args[2].i && i < query.query.prog_cnt; i++) {
        union bpf_attr get;
        memset(&get, 0, sizeof get);
        get.prog_id = attached[i];
        int old SCOPED = bpf(BPF_PROG_GET_FD_BY_ID, &get);
        error = old < 0 ? old : attach_device_program(BPF_PROG_DETACH, cgroup, old, 0);
    }
    return error;
}
