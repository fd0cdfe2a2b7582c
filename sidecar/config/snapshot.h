/* snapshot.h - a configuration in force: immutable after it is built.
 *
 * A stream holds the snapshot that it began with until it finishes, through its worker's view of it
 * (proxy/view.h): so nothing that workers share is written when a stream takes or leaves one. */
#ifndef SLUICE_CONFIG_SNAPSHOT_H
#define SLUICE_CONFIG_SNAPSHOT_H

#include "config/config.h"

enum { WORKERS_MAX = 64 };

struct snapshot {
    struct conf *conf;
    uint64_t generation; /* from 1 */
};

/* Takes conf over; NULL when memory is short (conf is the caller's then). */
struct snapshot *snapshot_new(struct conf *conf, uint64_t generation);
struct snapshot *snapshot_free(struct snapshot *s);

#endif
