/* snapshot.c - a configuration in force. */
#include "config/snapshot.h"

#include "base/mem.h"
#include "config/build.h"

struct snapshot *snapshot_new(struct conf *conf, uint64_t generation)
{
    struct snapshot *s = mem_zalloc(sizeof(*s));
    if (!s)
        return NULL;
    s->conf = conf;
    s->generation = generation;
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
