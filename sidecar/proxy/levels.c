/* levels.c - what each level of an upstream takes of its requests now. */
#include "proxy/levels.h"

#include "proxy/upstream_shared.h"

#include <stdio.h>

/* --- looking --- */

/* Percent of its share that slow start keeps back of an endpoint that is usable. */
static uint32_t kept_back(const struct endpoint_shared *e, const struct slow_start_rules *r,
                          usec_t now)
{
    usec_t since = atomic_load_explicit(&e->well_since, memory_order_relaxed);
    if (since == 0 || (standing_word(&e->standing) & STANDING_OUT))
        return 0;
    return 100 - slow_start_percent(r, since, now);
}

struct looking {
    const struct standing_group *group;
    const struct slow_start_rules *slow_start;
    levels_endpoint_fn *endpoint;
    const void *ctx;
    usec_t now;
};

static struct failover_count count_place(const struct looking *l, const struct place *p)
{
    struct standing_counts c = standing_read_part(l->group, p->part);
    struct failover_count ret = {.there = c.there, .usable = c.usable};
    for (uint32_t i = 0; l->slow_start && i < p->n; i++)
        ret.missing += kept_back(l->endpoint(l->ctx, p->first + i), l->slow_start, l->now);
    /* The list may be newer or older than the counts. */
    ret.missing = (uint32_t)min_u64(ret.missing, (uint64_t)ret.usable * 99);
    return ret;
}

static struct level *level_of(struct levels *ret, uint32_t place, uint32_t priority)
{
    struct level *last = ret->n > 0 ? &ret->at[ret->n - 1] : NULL;
    if (last && last->priority == priority)
        return last;
    CHECK(ret->n < FAILOVER_LEVELS_MAX);
    last = &ret->at[ret->n++];
    *last = (struct level){.priority = priority, .first_place = place};
    return last;
}

static void share_zones(const struct places *p, const struct failover_count *counts,
                        struct str own_zone, struct levels *ret)
{
    for (uint32_t i = 0; i < ret->n; i++) {
        const struct level *l = &ret->at[i];
        uint32_t own = l->n_places;
        for (uint32_t k = 0; k < l->n_places; k++) {
            if (str_eq(place_zone(&p->at[l->first_place + k]), own_zone))
                own = k;
        }
        failover_zones(counts + l->first_place, l->n_places, own, ret->zone_ppm + l->first_place);
    }
}

static void keep_first(const struct conf_upstream *conf, struct levels *ret)
{
    while (ret->kept + 1 < ret->n && ret->at[ret->kept].count.there == 0)
        ret->kept++;
    const struct failover_count *c = &ret->at[ret->kept].count;
    ret->kept_panics = standing_panics(
        (struct standing_counts){.there = c->there, .usable = c->usable}, conf->panic_threshold);
}

void levels_look(const struct places *p, const struct standing_group *g,
                 const struct conf_upstream *conf, levels_endpoint_fn *endpoint, const void *ctx,
                 usec_t now, struct levels *ret)
{
    struct looking looking = {g, conf->slow_start, endpoint, ctx, now};
    struct failover_rules rules = {conf->overprovisioning, conf->panic_threshold};
    struct failover_count counts[FAILOVER_PARTS_MAX], of_level[FAILOVER_LEVELS_MAX];
    *ret = (struct levels){.dry_run = conf->failover_dry_run};
    for (uint32_t i = 0; i < p->n; i++) {
        struct level *l = level_of(ret, i, p->at[i].priority);
        counts[i] = count_place(&looking, &p->at[i]);
        l->n_places++;
        l->count.there += counts[i].there;
        l->count.usable += counts[i].usable;
        l->count.missing += counts[i].missing;
        ret->starting = ret->starting || counts[i].missing > 0;
    }
    for (uint32_t i = 0; i < ret->n; i++)
        of_level[i] = ret->at[i].count;
    ret->panic = failover_levels(of_level, ret->n, &rules, ret->ppm);
    if (ret->n == 1) /* as where there are no levels */
        ret->panic = standing_panics(standing_read(g), conf->panic_threshold);
    ret->by_zone = conf->own_zone.n > 0 && p->n > ret->n;
    if (ret->by_zone)
        share_zones(p, counts, conf->own_zone, ret);
    if (ret->dry_run)
        keep_first(conf, ret);
}

/* --- on the control thread --- */

static const struct endpoint_shared *endpoint_at(const void *ctx, uint32_t i)
{
    return ((const struct upstream_shared *)ctx)->endpoints[i];
}

bool upstream_levels(const struct upstream_shared *u, const struct conf_upstream *conf,
                     struct levels *ret)
{
    if (!u->places)
        return false;
    levels_look(u->places, &u->group, conf, endpoint_at, u, clock_mono(), ret);
    return true;
}

bool upstream_panics(const struct upstream_shared *u, const struct conf_upstream *conf)
{
    struct levels l;
    if (upstream_levels(u, conf, &l))
        return levels_panic(&l);
    return standing_panics(standing_read(&u->group), conf->panic_threshold);
}

/* --- the log --- */

enum { TEXT_MAX = 512 };

/* "priority 0 takes 40 % (1 of 3 well), priority 1 takes 60 % (2 of 2 well)" */
static const char *text_of(const struct levels *l, char *text)
{
    size_t o = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < l->n && o < TEXT_MAX; i++)
        o += (size_t)snprintf(text + o, TEXT_MAX - o, "%spriority %u takes %u %% (%u of %u well)",
                              i > 0 ? ", " : "", l->at[i].priority,
                              (l->ppm[i] + FAILOVER_WHOLE / 200) / (FAILOVER_WHOLE / 100),
                              l->at[i].count.usable, l->at[i].count.there);
    return text;
}

/* Which levels take something, and which takes most: what is told when it is another. */
static uint32_t shape_of(const struct levels *l)
{
    uint32_t shape = 0, most = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->ppm[i] > 0)
            shape |= 1u << l->at[i].priority;
        if (l->ppm[i] > l->ppm[most])
            most = i;
    }
    return shape | l->at[most].priority << FAILOVER_LEVELS_MAX | (uint32_t)l->panic << 16;
}

/* All is with the first level that has endpoints. */
static bool is_normal(const struct levels *l)
{
    uint32_t i = 0;
    while (i < l->n && l->at[i].count.there == 0)
        i++;
    return !l->panic && (i == l->n || l->ppm[i] == FAILOVER_WHOLE);
}

void upstream_levels_tell(struct upstream_shared *u, const struct conf_upstream *conf)
{
    struct levels l;
    char text[TEXT_MAX];
    uint32_t was = u->levels_told;
    u->levels_told = 0;
    if (!upstream_levels(u, conf, &l) || l.n < 2)
        return;
    u->levels_told = shape_of(&l);
    if (u->levels_told == was || (was == 0 && is_normal(&l)))
        return;
    const char *dry = l.dry_run ? " (dryRun)" : "";
    if (l.panic)
        log_warn(
            "upstream %.*s%s: too few endpoints of all priorities are well, and all are used: %s",
            STR_FMT(conf->name), dry, text_of(&l, text));
    else if (is_normal(&l))
        log_info("upstream %.*s%s: failed back: %s", STR_FMT(conf->name), dry, text_of(&l, text));
    else
        log_warn("upstream %.*s%s: failover: %s", STR_FMT(conf->name), dry, text_of(&l, text));
}
