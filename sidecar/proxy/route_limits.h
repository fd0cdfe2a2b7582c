/* route_limits.h - what has been used of a route's rate limits, for the whole process.
 *
 * Keyed by listener, route and the limit's name, and so beside the snapshots: a reload resets
 * nothing of a limit that counts as before. Made, counted and freed by the control thread; asked by
 * the workers' streams (stream_limit.c). */
#ifndef SLUICE_PROXY_ROUTE_LIMITS_H
#define SLUICE_PROXY_ROUTE_LIMITS_H

#include "config/config.h"
#include "proxy/stats.h"

struct route_limit_stats {
    counter_t allowed, refused;
    counter_t refused_dry_run; /* by dryRun */
};

struct route_limit {
    uint32_t refs; /* the control thread's: of struct route_limits */
    uint32_t n_workers;
    rate_word word;         /* of all requests; or */
    struct rate_keys *keys; /* of each key; NULL: there are none */
    struct {
        _Alignas(64) struct route_limit_stats stats; /* written by its worker only */
    } worker[];
};

/* Of one route of one snapshot, as conf_route.rate_limits. */
struct route_limits {
    uint32_t n;
    struct route_limit *at[RATE_LIMITS_MAX]; /* a reference each */
};

/* Of a route that has some. was, before: that route in the snapshot before; NULL: there is none.
 * NULL when memory is short. */
struct route_limits *route_limits_new(const struct conf_route *r, uint32_t n_workers,
                                      const struct conf_route *was,
                                      const struct route_limits *before);
/* NULL is harmless; returns NULL. */
struct route_limits *route_limits_free(struct route_limits *l);
/* They are those in force: other bounds from now on. */
void route_limits_enter(struct route_limits *l, const struct conf_route *r);

#endif
