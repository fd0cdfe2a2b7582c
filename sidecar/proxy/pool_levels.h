/* pool_levels.h - what each level takes of the requests of one worker's pool.
 *
 * Looked at again when the standing of an endpoint has changed, and while slow start goes on; in
 * between it costs a request one number that is compared. */
#ifndef SLUICE_PROXY_POOL_LEVELS_H
#define SLUICE_PROXY_POOL_LEVELS_H

#include "proxy/levels.h"

struct endpoint;
struct pool;

/* Endpoints of a pool that lie in a row. */
struct endpoint_range {
    uint32_t first, n;
    uint32_t cursor; /* round robin */
};

struct pool_levels {
    struct places places;
    struct levels now;
    bool looked;       /* since the places or the settings changed */
    uint32_t seen;     /* standing_changes() then */
    usec_t look_again; /* while slow start goes on */
    struct endpoint_range level[FAILOVER_LEVELS_MAX], place[FAILOVER_PARTS_MAX];
};

/* Control thread: for the pools of u. *ret NULL: all stand at one place, there is nothing to choose
 * between. Freed with free(). 0 or -ENOMEM. */
int pool_levels_new(const struct upstream_shared *u, struct pool_levels **ret);

/* Of a pool's new levels, whose endpoints it has just numbered; it may have none. */
void pool_levels_enter(struct pool *p);
/* On the worker: its settings are others. */
void pool_levels_configure(struct pool *p);

/* On the worker, of a pool that has levels. */
const struct levels *pool_levels_now(struct pool *p);
/* A request goes to e. */
void pool_levels_count(struct pool *p, const struct endpoint *e);
/* As things are, nothing goes to its level. */
bool pool_levels_spare(struct pool *p, const struct endpoint *e);
/* dryRun: its level is not the one that takes everything. */
bool pool_levels_beyond(struct pool *p, const struct endpoint *e);

#endif
