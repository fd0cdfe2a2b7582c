/* pool_levels.c - what each level takes of the requests of one worker's pool. */
#include "proxy/pool_levels.h"

#include "base/mem.h"
#include "proxy/endpoint.h"
#include "proxy/pool.h"
#include "proxy/worker.h"

#include <errno.h>

enum { LOOK_MS = 100 }; /* so often while slow start goes on */

int pool_levels_new(const struct upstream_shared *u, struct pool_levels **ret)
{
    *ret = NULL;
    if (!u->places || u->places->n < 2)
        return 0;
    *ret = mem_zalloc(sizeof(**ret));
    if (!*ret)
        return -ENOMEM;
    (*ret)->places = *u->places;
    return 0;
}

void pool_levels_configure(struct pool *p)
{
    if (p->levels)
        p->levels->looked = false;
}

/* Those of a level lie behind each other, as those of its places do. */
void pool_levels_enter(struct pool *p)
{
    struct pool_levels *l = p->levels;
    uint32_t level = 0;
    for (uint32_t i = 0; l && i < l->places.n; i++) {
        const struct place *at = &l->places.at[i];
        if (i > 0 && at->priority != at[-1].priority)
            level++;
        if (l->level[level].n == 0)
            l->level[level].first = at->first;
        l->level[level].n += at->n;
        l->place[i] = (struct endpoint_range){.first = at->first, .n = at->n};
        for (uint32_t k = 0; k < at->n; k++)
            p->endpoints[at->first + k]->place = (uint8_t)i;
    }
}

static const struct endpoint_shared *endpoint_at(const void *ctx, uint32_t i)
{
    return ((const struct pool *)ctx)->endpoints[i]->shared;
}

static void look(struct pool *p, uint32_t changes)
{
    struct pool_levels *l = p->levels;
    usec_t now = p->worker->loop.now;
    levels_look(&l->places, &p->shared->group, p->conf, endpoint_at, p, now, &l->now);
    l->looked = true;
    l->seen = changes;
    l->look_again = l->now.starting ? now + LOOK_MS * USEC_PER_MSEC : USEC_NEVER;
}

const struct levels *pool_levels_now(struct pool *p)
{
    struct pool_levels *l = p->levels;
    uint32_t changes = standing_changes(&p->shared->group);
    if (!l->looked || changes != l->seen || p->worker->loop.now >= l->look_again)
        look(p, changes);
    return &l->now;
}

/* In levels.at. */
static uint32_t level_of(const struct levels *l, uint32_t place)
{
    uint32_t i = 0;
    while (i + 1 < l->n && place >= l->at[i + 1].first_place)
        i++;
    return i;
}

/* Where it would have gone is drawn again: only the shares count. */
static void count_dry_run(struct pool *p)
{
    const struct levels *now = &p->levels->now;
    struct rng *rng = &p->worker->loop.rng;
    const struct level *l =
        &now->at[failover_pick(now->ppm, now->n, rng_below(rng, FAILOVER_WHOLE))];
    count_add(&p->stats->level_requests[1][l->priority], 1);
    if (!now->by_zone)
        return;
    uint32_t zone =
        failover_pick(now->zone_ppm + l->first_place, l->n_places, rng_below(rng, FAILOVER_WHOLE));
    const struct place *at = &p->levels->places.at[l->first_place + zone];
    count_add(&p->stats->zone_requests[1][!str_eq(place_zone(at), p->conf->own_zone)], 1);
}

void pool_levels_count(struct pool *p, const struct endpoint *e)
{
    const struct pool_levels *l = p->levels;
    const struct place *at = &l->places.at[e->place];
    count_add(&p->stats->level_requests[0][at->priority], 1);
    if (l->now.by_zone)
        count_add(&p->stats->zone_requests[0][!str_eq(place_zone(at), p->conf->own_zone)], 1);
    if (l->now.dry_run)
        count_dry_run(p);
}

bool pool_levels_beyond(struct pool *p, const struct endpoint *e)
{
    const struct levels *now = pool_levels_now(p);
    return now->dry_run && endpoint_listed(e) && level_of(now, e->place) != now->kept;
}

bool pool_levels_spare(struct pool *p, const struct endpoint *e)
{
    const struct levels *now = pool_levels_now(p);
    if (now->dry_run)
        return pool_levels_beyond(p, e);
    return endpoint_listed(e) && !now->panic && now->ppm[level_of(now, e->place)] == 0;
}
