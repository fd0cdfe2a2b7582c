/* snapshot.h - a configuration in force: immutable, counted per worker.
 *
 * A stream holds the snapshot that it began with until it finishes. Each worker counts its own
 * streams in a line of its own, so that taking and leaving a snapshot shares no write. */
#ifndef SLUICE_CONFIG_SNAPSHOT_H
#define SLUICE_CONFIG_SNAPSHOT_H

#include "config/config.h"

#include <stdatomic.h>

enum { WORKERS_MAX = 64 };

struct snapshot_refs {
    _Alignas(64) _Atomic uint64_t n;
};

struct snapshot {
    struct conf *conf;
    uint64_t generation;
    usec_t loaded_wall;
    uint32_t n_workers;
    struct snapshot_refs refs[];
};

/* Takes conf over; NULL when memory is short (conf is the caller's then). */
struct snapshot *snapshot_new(struct conf *conf, uint64_t generation, uint32_t n_workers);
struct snapshot *snapshot_free(struct snapshot *s);
/* Streams that hold it, over all workers. */
uint64_t snapshot_streams(const struct snapshot *s);

static inline void snapshot_add(struct snapshot *s, uint32_t worker, int64_t n)
{
    _Atomic uint64_t *r = &s->refs[worker].n;
    atomic_store_explicit(r, atomic_load_explicit(r, memory_order_relaxed) + (uint64_t)n,
                          memory_order_relaxed);
}

#endif
