/* The shim: the launcher after its plan is done, as the parent of a container (docs/shim-protocol.md). */
#ifndef BERTH_SHIM_H
#define BERTH_SHIM_H

#include <stdint.h>
#include <sys/types.h>

/* What the step `serve` hands over. Every fd is owned by the shim from then on; -1 means "none". */
struct shim_config {
    int listener, terminal, in, out, err, log_dir;
    const char *log_name;
    int64_t log_max_bytes, log_max_files;
    int exit_dir;
    const char *exit_name;
    pid_t child;
};

/* Serves until the child is reaped and its exit record written. Returns 0 with the child's wait status, or -errno. */
int shim_serve(const struct shim_config *config, int *wait_status);

#endif
