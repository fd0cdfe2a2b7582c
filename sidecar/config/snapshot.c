/* snapshot.c - a configuration in force. */
#include "config/snapshot.h"

#include "base/mem.h"
#include "config/build.h"

struct snapshot *snapshot_new(struct conf *conf, uint64_t generation, uint32_t n_workers)
{
    size_t bytes = sizeof(struct snapshot) + n_workers * sizeof(struct snapshot_refs);
    if (mem_should_fail())
        return NULL;
    struct snapshot *s = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    if (!s)
        return NULL;
    memset(s, 0, bytes);
    s->conf = conf;
    s->generation = generation;
    s->loaded_wall = clock_wall();
    s->n_workers = n_workers;
    return s;
}

struct snapshot *snapshot_free(struct snapshot *s)
{
    if (!s)
        return NULL;
    s->conf = config_free(s->conf);
    free(s);
    return NULL;
}

uint64_t snapshot_streams(const struct snapshot *s)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < s->n_workers; i++)
        n += atomic_load_explicit(&s->refs[i].n, memory_order_relaxed);
    return n;
}
