/* route_limits.c - rate limits over reloads. */
#include "proxy/route_limits.h"

#include "base/mem.h"
#include "base/rng.h"

#include <stdlib.h>

enum { LINE_BYTES = 64 };

static bool has_key(const struct conf_rate_limit *c)
{
    return c->by_client || c->header.n > 0 || c->claim.n > 0;
}

static struct route_limit *limit_unref(struct route_limit *l)
{
    if (!l || --l->refs > 0)
        return NULL;
    (void)rate_keys_free(l->keys);
    free(l);
    return NULL;
}

static struct route_limit *limit_new(const struct conf_rate_limit *c, uint32_t n_workers)
{
    struct route_limit *l = NULL;
    size_t bytes = sizeof(*l) + n_workers * sizeof(l->worker[0]);
    l = mem_should_fail() ? NULL : aligned_alloc(LINE_BYTES, bytes);
    if (!l)
        return NULL;
    memset(l, 0, bytes);
    l->refs = 1;
    l->n_workers = n_workers;
    if (!has_key(c))
        return l;
    struct rng rng;
    rng_init_random(&rng);
    const uint64_t seed[2] = {rng_next(&rng), rng_next(&rng)};
    l->keys = rate_keys_new(c->max_keys, seed);
    return l->keys ? l : limit_unref(l);
}

/* What was used under the one counts under the other. Of windows, their counts are of one length.
 */
static bool goes_on(const struct conf_rate_limit *a, const struct conf_rate_limit *b)
{
    return str_eq(a->name, b->name) && a->rule.algorithm == b->rule.algorithm &&
           (a->rule.algorithm == RATE_TOKEN_BUCKET || a->rule.per == b->rule.per) &&
           a->by_client == b->by_client && str_ieq(a->header, b->header) &&
           str_eq(a->claim, b->claim) && (!a->by_client || a->ipv6_prefix == b->ipv6_prefix);
}

static struct route_limit *limit_of_before(const struct conf_rate_limit *c,
                                           const struct conf_route *was,
                                           const struct route_limits *before)
{
    for (uint32_t i = 0; before && i < was->n_rate_limits; i++) {
        if (goes_on(&was->rate_limits[i], c)) {
            before->at[i]->refs++;
            return before->at[i];
        }
    }
    return NULL;
}

struct route_limits *route_limits_new(const struct conf_route *r, uint32_t n_workers,
                                      const struct conf_route *was,
                                      const struct route_limits *before)
{
    struct route_limits *l = mem_zalloc(sizeof(*l));
    for (uint32_t i = 0; l && i < r->n_rate_limits; i++) {
        l->at[i] = limit_of_before(&r->rate_limits[i], was, before);
        if (!l->at[i])
            l->at[i] = limit_new(&r->rate_limits[i], n_workers);
        if (!l->at[i])
            return route_limits_free(l);
        l->n++;
    }
    return l;
}

struct route_limits *route_limits_free(struct route_limits *l)
{
    for (uint32_t i = 0; l && i < l->n; i++)
        (void)limit_unref(l->at[i]);
    free(l);
    return NULL;
}

void route_limits_enter(struct route_limits *l, const struct conf_route *r)
{
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->at[i]->keys)
            rate_keys_set_most(l->at[i]->keys, r->rate_limits[i].max_keys);
    }
}
