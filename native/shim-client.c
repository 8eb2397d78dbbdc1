/*
 * The shim's clients: frames in and out, with a bound on everything that is queued. A client's input buffer is its stdin
 * queue: while the container does not take a STDIN frame, its client is not read.
 */
#define _GNU_SOURCE
#include "shim-parts.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Above FULL the container waits. A turn adds at most one payload per stream check, an ATTACHED and EXIT, so QUEUE suffices. */
enum { FULL = 256 * 1024, QUEUE = 512 * 1024, PATIENCE_MS = 5000, LAST_SIGNAL = 64 };
enum client_frame { STDIN, CLOSE_STDIN, RESIZE, SIGNAL, ATTACH };
enum outcome { DONE, BAD, WAIT_FOR_STDIN, WAIT_FOR_QUEUE };

struct client {
    int fd;
    bool broken, ended;   /* nobody reads any more; nobody writes any more */
    enum outcome wait;    /* why the first frame of `in` stays there */
    uint32_t wants;       /* bit 0 stdout, bit 1 stderr */
    size_t in_length, stdin_done;
    size_t out_start, out_length;
    int64_t progress_ms;  /* when it last took something, or began to have something to take */
    uint8_t in[FRAME_HEADER + PAYLOAD_MAX];
    uint8_t out[QUEUE];   /* a ring; its pages exist only where it has been filled */
};

static struct client *clients[CLIENTS_MAX];
static int slots;
static struct client *stdin_owner; /* whose STDIN frame is written in part */
static bool hurry, leaving;
static int64_t hurry_since_ms;
static uint32_t exit_payload[2];

static void drop(int slot)
{
    struct client *client = clients[slot];
    if (stdin_owner == client)
        stdin_owner = NULL;
    /* Closing with unread bytes would reset the connection, and the peer might lose what it has not read yet (unix(7)). */
    shutdown(client->fd, SHUT_RD);
    while (recv(client->fd, client->in, sizeof client->in, MSG_DONTWAIT) > 0)
        ;
    close(client->fd);
    munmap(client, sizeof *client);
    clients[slot] = NULL;
    while (slots > 0 && clients[slots - 1] == NULL)
        slots--;
}

static void forget_output(struct client *client)
{
    client->broken = true;
    client->wants = 0;
    client->out_length = 0;
}

static void put(struct client *client, const void *bytes, size_t length)
{
    size_t end = (client->out_start + client->out_length) % QUEUE;
    size_t first = length < QUEUE - end ? length : QUEUE - end;
    memcpy(client->out + end, bytes, first);
    memcpy(client->out, (const uint8_t *)bytes + first, length - first);
    client->out_length += length;
}

static void queue(struct client *client, enum shim_frame type, const void *payload, size_t length)
{
    if (client->broken)
        return;
    if (client->out_length == 0)
        client->progress_ms = shim_now_ms();
    const uint32_t header[2] = { (uint32_t)type, (uint32_t)length };
    put(client, header, sizeof header);
    if (length > 0)
        put(client, payload, length);
}

static void send_queued(struct client *client)
{
    size_t first = QUEUE - client->out_start;
    if (first > client->out_length)
        first = client->out_length;
    struct iovec parts[2] = { { client->out + client->out_start, first }, { client->out, client->out_length - first } };
    const struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
    ssize_t sent = sendmsg(client->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            forget_output(client);
        return;
    }
    client->out_length -= (size_t)sent;
    /* An empty ring starts over, so that a client that keeps up touches few of its pages. */
    client->out_start = client->out_length == 0 ? 0 : (client->out_start + (size_t)sent) % QUEUE;
    client->progress_ms = shim_now_ms();
}

static enum outcome take_stdin(struct client *client, const uint8_t *bytes, size_t length)
{
    if (stdin_owner != NULL && stdin_owner != client)
        return WAIT_FOR_STDIN;
    while (shim_container.in >= 0 && client->stdin_done < length) {
        ssize_t written = write(shim_container.in, bytes + client->stdin_done, length - client->stdin_done);
        if (written > 0) {
            client->stdin_done += (size_t)written;
        } else if (written == 0 || errno == EAGAIN) {
            stdin_owner = client;
            return WAIT_FOR_STDIN;
        } else {
            /* EPIPE: the container closed its stdin. EIO: nobody has the terminal open, which may change. */
            if (shim_container.terminal < 0)
                shim_close_stdin();
            break;
        }
    }
    stdin_owner = NULL;
    client->stdin_done = 0;
    return DONE;
}

static enum outcome attach(struct client *client, uint32_t bits)
{
    if ((bits & ~3u) != 0)
        return BAD;
    if (client->out_length >= FULL)
        return WAIT_FOR_QUEUE;
    queue(client, FRAME_ATTACHED, NULL, 0);
    client->wants = client->broken ? 0 : bits;
    return DONE;
}

static enum outcome take_frame(struct client *client, uint8_t type, const uint8_t *payload, size_t length)
{
    uint32_t word = 0;
    if ((type == RESIZE || type == SIGNAL || type == ATTACH) && length != sizeof word)
        return BAD;
    switch ((enum client_frame)type) {
    case STDIN:
        return take_stdin(client, payload, length);
    case CLOSE_STDIN:
        if (length != 0)
            return BAD;
        if (stdin_owner != NULL)
            return WAIT_FOR_STDIN;
        if (shim_container.terminal < 0)
            shim_close_stdin();
        return DONE;
    case RESIZE: {
        uint16_t size[2];
        memcpy(size, payload, sizeof size);
        const struct winsize window = { .ws_row = size[0], .ws_col = size[1] };
        if (shim_container.terminal >= 0)
            ioctl(shim_container.terminal, TIOCSWINSZ, &window);
        return DONE;
    }
    case SIGNAL:
        memcpy(&word, payload, sizeof word);
        if (word < 1 || word > LAST_SIGNAL)
            return BAD;
        /* ESRCH: it has ended, and EXIT is on its way. The protocol has no answer to SIGNAL. */
        syscall(SYS_pidfd_send_signal, shim_container.pidfd, (int)word, NULL, 0);
        return DONE;
    case ATTACH:
        memcpy(&word, payload, sizeof word);
        return attach(client, word);
    }
    return BAD;
}

/* Takes the complete frames of the input buffer in order; false when the client is to be dropped. */
static bool take_frames(struct client *client)
{
    size_t at = 0;
    client->wait = DONE;
    while (client->wait == DONE && client->in_length - at >= FRAME_HEADER) {
        const uint8_t *frame = client->in + at;
        uint32_t length;
        memcpy(&length, frame + 4, sizeof length);
        if ((frame[1] | frame[2] | frame[3]) != 0 || length > PAYLOAD_MAX)
            return false;
        if (client->in_length - at - FRAME_HEADER < length)
            break;
        client->wait = take_frame(client, frame[0], frame + FRAME_HEADER, length);
        if (client->wait == BAD)
            return false;
        if (client->wait == DONE)
            at += FRAME_HEADER + length;
    }
    client->in_length -= at;
    memmove(client->in, client->in + at, client->in_length);
    return true;
}

/* False when the client is to be dropped. A broken connection is read to its end: what was sent before still counts. */
static bool ready(struct client *client, short events)
{
    if ((events & (POLLHUP | POLLERR)) != 0)
        forget_output(client);
    if (leaving)
        client->in_length = 0;
    else if (client->wait != DONE && !take_frames(client))
        return false;
    if (client->wait == DONE && !client->ended && (events & (POLLIN | POLLHUP | POLLERR)) != 0) {
        size_t room = sizeof client->in - client->in_length;
        ssize_t received = recv(client->fd, client->in + client->in_length, room, MSG_DONTWAIT);
        if (received < 0 && errno != EAGAIN)
            return false;
        client->ended = received == 0;
        client->in_length += received > 0 ? (size_t)received : 0;
        if (!leaving && !take_frames(client))
            return false;
    }
    return !(client->broken && client->ended && client->wait == DONE);
}

static bool permitted(int fd)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && (peer.uid == 0 || peer.uid == getuid());
}

/* A free slot, if need be that of a client that is gone and whose last stdin nobody takes. -1: none. */
static int free_slot(void)
{
    for (int slot = 0; slot < CLIENTS_MAX; slot++) {
        if (clients[slot] == NULL)
            return slot;
    }
    for (int slot = 0; slot < CLIENTS_MAX; slot++) {
        if (clients[slot]->broken) {
            drop(slot);
            return slot;
        }
    }
    return -1;
}

bool shim_clients_accept(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR;
        int slot = permitted(fd) ? free_slot() : -1;
        struct client *client = MAP_FAILED;
        if (slot >= 0)
            client = mmap(NULL, sizeof *client, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (client == MAP_FAILED) {
            close(fd);
            continue;
        }
        client->fd = fd;
        clients[slot] = client;
        if (slot >= slots)
            slots = slot + 1;
        if (leaving)
            queue(client, FRAME_EXIT, exit_payload, sizeof exit_payload);
        /* An ATTACH that came with the connection counts before any output that is read in this turn. */
        if (!ready(client, POLLIN))
            drop(slot);
    }
}

static int64_t deadline_ms(const struct client *client)
{
    return (client->progress_ms > hurry_since_ms ? client->progress_ms : hurry_since_ms) + PATIENCE_MS;
}

nfds_t shim_clients_poll(struct pollfd *fds)
{
    int64_t now_ms = hurry ? shim_now_ms() : 0;
    for (int slot = slots - 1; slot >= 0; slot--) {
        struct client *client = clients[slot];
        if (client == NULL)
            continue;
        if (client->out_length > 0)
            send_queued(client);
        bool gone = client->broken && client->ended && client->wait == DONE;
        bool late = hurry && client->out_length > 0 && now_ms >= deadline_ms(client);
        if (gone || late || (leaving && client->out_length == 0))
            drop(slot);
    }
    for (int slot = 0; slot < slots; slot++) {
        const struct client *client = clients[slot];
        bool reads = client != NULL && client->wait == DONE && !client->ended;
        bool writes = client != NULL && client->out_length > 0;
        /* poll reports a hang-up whether asked or not: a broken client that waits for the container is left out. */
        bool polled = reads || (client != NULL && !client->broken);
        fds[slot] = (struct pollfd){ .fd = polled ? client->fd : -1, .events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)) };
    }
    return (nfds_t)slots;
}

void shim_clients_ready(const struct pollfd *fds, nfds_t count)
{
    for (int slot = (int)count - 1; slot >= 0; slot--) {
        if (clients[slot] != NULL && !ready(clients[slot], fds[slot].revents))
            drop(slot);
    }
}

void shim_clients_send(enum shim_stream stream, const uint8_t *bytes, size_t length)
{
    for (int slot = 0; slot < slots; slot++) {
        if (clients[slot] != NULL && (clients[slot]->wants & 1u << stream) != 0)
            queue(clients[slot], stream == SHIM_STDOUT ? FRAME_STDOUT : FRAME_STDERR, bytes, length);
    }
}

bool shim_clients_any(void)
{
    return slots > 0;
}

bool shim_clients_full(void)
{
    for (int slot = 0; slot < slots; slot++) {
        if (clients[slot] != NULL && clients[slot]->out_length >= FULL)
            return true;
    }
    return false;
}

bool shim_clients_wait_for_stdin(void)
{
    for (int slot = 0; slot < slots; slot++) {
        if (clients[slot] != NULL && clients[slot]->wait == WAIT_FOR_STDIN)
            return true;
    }
    return false;
}

void shim_clients_hurry(void)
{
    hurry = true;
    hurry_since_ms = shim_now_ms();
}

int shim_clients_patience_ms(void)
{
    int64_t nearest_ms = -1, now_ms = shim_now_ms();
    for (int slot = 0; slot < slots; slot++) {
        if (clients[slot] == NULL || clients[slot]->out_length == 0)
            continue;
        int64_t left_ms = deadline_ms(clients[slot]) - now_ms;
        if (nearest_ms < 0 || left_ms < nearest_ms)
            nearest_ms = left_ms > 0 ? left_ms : 0;
    }
    return (int)nearest_ms;
}

void shim_clients_end(uint32_t code, uint32_t signal)
{
    exit_payload[0] = code;
    exit_payload[1] = signal;
    leaving = true;
    for (int slot = 0; slot < slots; slot++) {
        if (clients[slot] != NULL)
            queue(clients[slot], FRAME_EXIT, exit_payload, sizeof exit_payload);
    }
}
