/* What the three files of the shim ask of each other: shim.c (the loop), shim-client.c, shim-log.c. */
#ifndef BERTH_SHIM_PARTS_H
#define BERTH_SHIM_PARTS_H

#include "shim.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

enum { CLIENTS_MAX = 256, PAYLOAD_MAX = 64 * 1024, FRAME_HEADER = 8 };
enum shim_stream { SHIM_STDOUT, SHIM_STDERR, SHIM_STREAMS };
enum shim_frame { FRAME_STDOUT = 1, FRAME_STDERR = 2, FRAME_EXIT = 3, FRAME_ATTACHED = 4 };

/* What clients act on. `in` is the pipe's write end or the terminal, -1 once nobody reads it. */
struct shim_container {
    int terminal, in, pidfd;
};

extern struct shim_container shim_container;

/* Milliseconds of a clock that only goes forward. */
int64_t shim_now_ms(void);

/* Writes `value` in decimal with at least `width` digits and returns the end. */
char *shim_put_number(char *at, uint64_t value, int width);

/* Closes the container's stdin; a terminal stays open but takes no more input. */
void shim_close_stdin(void);

void shim_log_start(const struct shim_config *config);
void shim_log_write(enum shim_stream stream, const uint8_t *bytes, size_t length);

/* Logs the unfinished line of a stream that has ended. */
void shim_log_end(enum shim_stream stream);

/* Takes every connection that waits. False: the kernel lacks memory or descriptors, so try again later. */
bool shim_clients_accept(int listener);

/* Sends what is queued; then fills one entry per slot for poll and returns their number. */
nfds_t shim_clients_poll(struct pollfd *fds);
void shim_clients_ready(const struct pollfd *fds, nfds_t count);
void shim_clients_send(enum shim_stream stream, const uint8_t *bytes, size_t length);
bool shim_clients_any(void);

/* True while a client has so much queued that the container has to wait. */
bool shim_clients_full(void);

/* True while a client has stdin that the container does not take yet. */
bool shim_clients_wait_for_stdin(void);

/* From now on a client that takes nothing for five seconds is dropped. */
void shim_clients_hurry(void);

/* Milliseconds until the next client would be dropped for that, -1 when none is waited for. */
int shim_clients_patience_ms(void);

/* Queues EXIT for every client there is and will be; each is closed when it has all that is queued for it. */
void shim_clients_end(uint32_t code, uint32_t signal);

#endif
