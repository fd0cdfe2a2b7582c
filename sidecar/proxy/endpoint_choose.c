/* endpoint_choose.c - which address a request goes to. */
#include "proxy/endpoint.h"

#include "proxy/endpoint_limits.h"
#include "proxy/pool.h"
#include "proxy/pool_levels.h"
#include "proxy/stream.h"
#include "proxy/worker.h"

enum {
    TRIED_BITS = 64,
    DRAWS = 8, /* before all are looked at */
};

/* --- is it any good --- */

static bool panics(const struct endpoint *e)
{
    if (e->pool->levels)
        return levels_panic(pool_levels_now(e->pool));
    return standing_panics(standing_read(e->shared->group), e->pool->conf->panic_threshold);
}

/* Its ejection's time has passed: the first worker that comes across it takes it in again. */
static void look_for_return(struct endpoint_shared *e, const struct pool *p)
{
    usec_t now = p->worker->loop.now;
    bool dry_run = (standing_word(&e->standing) & STANDING_EJECTED_DRY_RUN) != 0;
    if (!outlier_return(&e->outlier, &e->standing, e->group, now))
        return;
    if (!dry_run) /* else it was used all the time */
        endpoint_shared_well(e, now);
    log_info("upstream %.*s: endpoint %.*s %s, its ejection is over", STR_FMT(p->conf->name),
             STR_FMT(e->text), dry_run ? "would be used again (dryRun)" : "is used again");
}

bool endpoint_is_out(const struct endpoint *e)
{
    uint32_t word = standing_word(&e->shared->standing);
    if (!(word & (STANDING_OUT | STANDING_EJECTIONS) & ~(uint32_t)STANDING_UNLISTED))
        return false;
    if (word & STANDING_EJECTIONS) {
        look_for_return(e->shared, e->pool);
        word = standing_word(&e->shared->standing);
    }
    if (word & (STANDING_DRAINED | STANDING_UNREACHABLE))
        return true;
    return (word & (STANDING_EJECTED | STANDING_UNHEALTHY)) && !panics(e);
}

bool endpoint_is_beyond(const struct endpoint *e)
{
    return e->pool->levels && e->pool->conf->failover_dry_run && pool_levels_beyond(e->pool, e);
}

bool endpoint_is_spare(const struct endpoint *e)
{
    return endpoint_is_out(e) || (e->pool->levels && pool_levels_spare(e->pool, e));
}

/* The bits are of one list; with the next one they say nothing, and only the number of tries
 * bounds them. */
static bool tried(const struct pool *p, const struct stream *s, uint32_t i)
{
    return s && i < TRIED_BITS && s->exchange->wait.tried_version == p->endpoints_version &&
           (s->exchange->wait.tried_endpoints >> i & 1);
}

/* What is asked of an endpoint, the best first. An IPv6 that leads nowhere takes IPv4 with it as
 * little as the other way round (RFC 8305's reason, without its race). */
enum preference { OTHER_FAMILY, NOT_REFUSED, WELL, ANY };

static bool fits(const struct pool *p, const struct stream *s, const struct endpoint *e,
                 enum preference preference)
{
    if (tried(p, s, e->index) || endpoint_is_beyond(e))
        return false;
    if (endpoint_limits_set(p->conf) && endpoint_is_full(e, s))
        return false;
    if (preference == ANY)
        return !endpoint_drained(e);
    if (endpoint_is_out(e))
        return false;
    if (preference == WELL)
        return true;
    return e->avoid_until <= p->worker->loop.now &&
           (preference == NOT_REFUSED ||
            e->shared->address.u.sa.sa_family != s->exchange->wait.refused_family);
}

/* --- how much of its share --- */

static uint32_t slow_weight(const struct pool *p, struct endpoint_shared *e, uint32_t percent,
                            usec_t since)
{
    const struct slow_start_rules *r = p->conf->slow_start;
    usec_t now = p->worker->loop.now;
    if (!r || slow_start_is_over(r, since, now)) {
        /* From here on it is not looked at any more, unless it has begun again. */
        (void)atomic_compare_exchange_strong(&e->well_since, &since, 0);
        return percent * 100;
    }
    return percent * slow_start_percent(r, since, now);
}

static uint32_t weight_of(const struct pool *p, const struct endpoint *e)
{
    struct endpoint_shared *shared = e->shared;
    uint32_t percent = atomic_load_explicit(&shared->percent, memory_order_relaxed);
    usec_t since = atomic_load_explicit(&shared->well_since, memory_order_relaxed);
    return since == 0 ? percent * 100 : slow_weight(p, shared, percent, since);
}

/* --- least request: of two that are drawn by their weights the one with less to do --- */

/* Looks at all: where few can be used, or their weights are small. */
static struct endpoint *draw_of_all(struct pool *p, const struct stream *s,
                                    enum preference preference, const struct endpoint_range *r,
                                    const struct endpoint *but)
{
    struct endpoint *drawn = NULL;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        struct endpoint *e = p->endpoints[r->first + i];
        if (e == but || !fits(p, s, e, preference))
            continue;
        uint32_t weight = weight_of(p, e);
        sum += weight;
        if (rng_below(&p->worker->loop.rng, sum) < weight)
            drawn = e;
    }
    return drawn;
}

/* By chance and in proportion to the weights, other than `but`. */
static struct endpoint *draw(struct pool *p, const struct stream *s, enum preference preference,
                             const struct endpoint_range *r, const struct endpoint *but)
{
    struct rng *rng = &p->worker->loop.rng;
    for (int i = 0; r->n > 2 && i < DRAWS; i++) {
        struct endpoint *e = p->endpoints[r->first + rng_below(rng, r->n)];
        if (e == but || !fits(p, s, e, preference))
            continue;
        uint32_t weight = weight_of(p, e);
        if (weight == ENDPOINT_WEIGHT_WHOLE || rng_below(rng, ENDPOINT_WEIGHT_WHOLE) < weight)
            return e;
    }
    return draw_of_all(p, s, preference, r, but);
}

static struct endpoint *least_of_two(struct pool *p, const struct stream *s,
                                     enum preference preference, const struct endpoint_range *r)
{
    struct endpoint *a = draw(p, s, preference, r, NULL);
    struct endpoint *b = a ? draw(p, s, preference, r, a) : NULL;
    if (!b)
        return a;
    usec_t now = p->worker->loop.now;
    const struct least_request_load la = {a->active, weight_of(p, a), a->pace};
    const struct least_request_load lb = {b->active, weight_of(p, b), b->pace};
    switch (least_request(&la, &lb, now)) {
    case LEAST_A:
        return a;
    case LEAST_B:
        return b;
    case LEAST_TRY_A:
        return pace_trial_begin(&a->shared->trial, now) ? a : b;
    case LEAST_TRY_B:
        break;
    }
    return pace_trial_begin(&b->shared->trial, now) ? b : a;
}

/* --- round robin: who comes by saves up its weight, and goes when that is whole --- */

/* All have small weights: the laps until the first has saved up its own, at once. */
static struct endpoint *after_laps(struct pool *p, const struct stream *s,
                                   enum preference preference, const struct endpoint_range *r)
{
    struct endpoint *best = NULL;
    uint32_t laps = UINT32_MAX;
    for (uint32_t k = 0; k < r->n; k++) {
        struct endpoint *e = p->endpoints[r->first + (r->cursor + k) % r->n];
        if (!fits(p, s, e, preference))
            continue;
        uint32_t weight = weight_of(p, e);
        uint32_t need = (ENDPOINT_WEIGHT_WHOLE - e->credit + weight - 1) / weight;
        if (need < laps) {
            best = e;
            laps = need;
        }
    }
    for (uint32_t k = 0; k < r->n && best; k++) {
        struct endpoint *e = p->endpoints[r->first + k];
        if (fits(p, s, e, preference))
            e->credit += laps * weight_of(p, e);
    }
    if (best)
        best->credit -= ENDPOINT_WEIGHT_WHOLE;
    return best;
}

static struct endpoint *in_turn(struct pool *p, const struct stream *s, enum preference preference,
                                struct endpoint_range *r)
{
    for (uint32_t k = 0; k < r->n; k++) {
        struct endpoint *e = p->endpoints[r->first + r->cursor % r->n];
        r->cursor = (r->cursor + 1) % r->n;
        if (!fits(p, s, e, preference))
            continue;
        uint32_t weight = weight_of(p, e);
        if (weight == ENDPOINT_WEIGHT_WHOLE)
            return e;
        e->credit += weight;
        if (e->credit >= ENDPOINT_WEIGHT_WHOLE) {
            e->credit -= ENDPOINT_WEIGHT_WHOLE;
            return e;
        }
    }
    return after_laps(p, s, preference, r);
}

/* --- choosing --- */

enum balancing { BY_BALANCE, IN_TURN };

static struct endpoint *choose_in(struct pool *p, const struct stream *s,
                                  enum preference preference, enum balancing how,
                                  struct endpoint_range *r)
{
    return how == IN_TURN || p->conf->balance == BALANCE_ROUND_ROBIN
               ? in_turn(p, s, preference, r)
               : least_of_two(p, s, preference, r);
}

/* Where a request goes as long as there is somebody good. */
struct drawn {
    uint32_t level;
    struct endpoint_range *zone; /* NULL: any of the level */
};

static struct drawn draw_level(struct pool *p, const struct levels *now)
{
    struct rng *rng = &p->worker->loop.rng;
    struct drawn d = {.zone = NULL};
    d.level = failover_pick(now->ppm, now->n, rng_below(rng, FAILOVER_WHOLE));
    const struct level *l = &now->at[d.level];
    if (now->by_zone && l->n_places > 1) {
        uint32_t zone = failover_pick(now->zone_ppm + l->first_place, l->n_places,
                                      rng_below(rng, FAILOVER_WHOLE));
        d.zone = &p->levels->place[l->first_place + zone];
    }
    return d;
}

/* Another family is no reason to leave the level. */
static struct endpoint *choose_drawn(struct pool *p, const struct stream *s,
                                     enum preference preference, enum balancing how,
                                     const struct drawn *d)
{
    struct endpoint *e = d->zone ? choose_in(p, s, preference, how, d->zone) : NULL;
    if (!e)
        e = choose_in(p, s, preference, how, &p->levels->level[d->level]);
    for (uint32_t i = 0; !e && preference != OTHER_FAMILY && i < p->levels->now.n; i++) {
        if (i != d->level)
            e = choose_in(p, s, preference, how, &p->levels->level[i]);
    }
    return e;
}

static struct endpoint *choose(struct pool *p, const struct stream *s, enum preference first,
                               enum balancing how)
{
    struct endpoint_range all = {.n = p->n_endpoints, .cursor = p->cursor};
    struct endpoint *e = NULL;
    const struct levels *now = p->levels ? pool_levels_now(p) : NULL;
    if (now && !now->panic && !now->dry_run) {
        struct drawn d = draw_level(p, now);
        for (int k = (int)first; k <= ANY && !e; k++)
            e = choose_drawn(p, s, (enum preference)k, how, &d);
        return e;
    }
    for (int k = (int)first; k <= ANY && !e; k++)
        e = choose_in(p, s, (enum preference)k, how, &all);
    p->cursor = all.cursor;
    return e;
}

struct endpoint *endpoint_choose_next(struct pool *p)
{
    return choose(p, NULL, NOT_REFUSED, IN_TURN);
}

struct endpoint *endpoint_choose(struct pool *p, const struct stream *s)
{
    if (p->n_endpoints == 1)
        return fits(p, s, p->endpoints[0], ANY) ? p->endpoints[0] : NULL;
    bool again = s && s->exchange->wait.refused_family != AF_UNSPEC;
    return choose(p, s, again ? OTHER_FAMILY : NOT_REFUSED, BY_BALANCE);
}

bool endpoint_limited(const struct pool *p, const struct stream *s)
{
    for (uint32_t i = 0; endpoint_limits_set(p->conf) && i < p->n_endpoints; i++) {
        const struct endpoint *e = p->endpoints[i];
        if (!tried(p, s, i) && !endpoint_drained(e) && endpoint_is_full(e, s))
            return true;
    }
    return false;
}

/* --- what a request has tried --- */

static void note_tried(struct endpoint *e, struct stream *s)
{
    struct pool *p = e->pool;
    if (s->exchange->wait.tried_version != p->endpoints_version) {
        s->exchange->wait.tried_version = p->endpoints_version;
        s->exchange->wait.tried_endpoints = 0;
    }
    if (e->index < TRIED_BITS)
        s->exchange->wait.tried_endpoints |= UINT64_C(1) << e->index;
}

static bool has_tried_all(const struct pool *p, const struct stream *s)
{
    if (p->n_endpoints > TRIED_BITS)
        return false;
    for (uint32_t i = 0; i < p->n_endpoints; i++) {
        if (fits(p, s, p->endpoints[i], ANY))
            return false;
    }
    return true;
}

void endpoint_declined(struct endpoint *e, struct stream *s)
{
    note_tried(e, s);
    if (has_tried_all(e->pool, s))
        s->exchange->wait.tried_endpoints = 0; /* from the beginning */
}

void endpoint_refused(struct endpoint *e, struct stream *s)
{
    s->tries++;
    s->exchange->wait.refused_family = e->shared->address.u.sa.sa_family;
    note_tried(e, s);
}
