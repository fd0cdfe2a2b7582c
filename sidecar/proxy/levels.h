/* levels.h - what each level of an upstream takes of its requests now, and each zone of a level.
 *
 * The control thread asks for it when it shows or tells it; workers' pools have it at hand
 * (pool_levels.h). */
#ifndef SLUICE_PROXY_LEVELS_H
#define SLUICE_PROXY_LEVELS_H

#include "config/config.h"
#include "proxy/places.h"

struct endpoint_shared;
struct upstream_shared;

struct level {
    uint32_t priority;
    uint32_t first_place, n_places; /* in places.at */
    struct failover_count count;
};

struct levels {
    bool panic;   /* neither levels nor zones are looked at */
    bool by_zone; /* the zone that we are in is preferred */
    /* dryRun: what follows would be, and is not: level `kept`, the first that has endpoints, takes
     * everything; `kept_panics`: so few of it are well that all of it are used. */
    bool dry_run, kept_panics;
    uint32_t kept;
    bool starting; /* slow start keeps something back: it changes with time */
    uint32_t n;
    struct level at[FAILOVER_LEVELS_MAX];
    uint32_t ppm[FAILOVER_LEVELS_MAX];     /* of all requests */
    uint32_t zone_ppm[FAILOVER_PARTS_MAX]; /* of its level's, by place */
};

/* So few are well that all are used which may be. */
static inline bool levels_panic(const struct levels *l)
{
    return l->dry_run ? l->kept_panics : l->panic;
}

/* Endpoint i of those that the places speak of. */
typedef const struct endpoint_shared *levels_endpoint_fn(const void *ctx, uint32_t i);
/* Of an upstream that has places. O(places), and with slowStart O(endpoints). */
void levels_look(const struct places *p, const struct standing_group *g,
                 const struct conf_upstream *conf, levels_endpoint_fn *endpoint, const void *ctx,
                 usec_t now, struct levels *ret);

/* Control thread. False: it has no places, and nothing is set. */
bool upstream_levels(const struct upstream_shared *u, const struct conf_upstream *conf,
                     struct levels *ret);
/* Control thread: so few are well that all are used. */
bool upstream_panics(const struct upstream_shared *u, const struct conf_upstream *conf);
/* About once a second: logs that another level has taken over. */
void upstream_levels_tell(struct upstream_shared *u, const struct conf_upstream *conf);

#endif
