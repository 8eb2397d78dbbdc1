/* What the two directions of merge_tree share: op-merge.c puts a layer onto a tree, merge-changes.c makes one of what differs. */
#ifndef BERTH_MERGE_H
#define BERTH_MERGE_H

#include "exec.h"

#include <sys/stat.h>

#define MERGE_MAX_DEPTH 256
#define MERGE_NAMES_BYTES 16384 /* of the scratch space, for the names of attributes */

struct merge {
    struct context *ctx;
    int links;              /* a name for each file of the layer with several, by its inode number */
    const struct id_shift shift;
    const bool keeps_marks; /* whiteouts and opaque directories stay what they are: `to` is an upper directory */
    bool cannot_clone;
};

/* Whether an attribute belongs to the file, and not to the machine or to an overlay. */
bool merge_copies_xattr(const char *name);
int merge_attributes(struct merge *m, int from, int to, const struct stat *stat);
int merge_entry(struct merge *m, int from, int to, const char *name, int depth, bool is_new);

/* Puts into `to` what `from` has changed of `base`; 1 when there was something, 0, or -errno. */
int merge_changes(struct merge *m, int base, int from, int to, int depth);

#endif
