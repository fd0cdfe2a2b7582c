/* build_failover.c - endpoints with a priority or a zone: what is too much, and what has no effect.
 */
#include "config/builder.h"

#include "config/lint.h"
#include "config/problems.h"

static bool same_place(const struct conf_endpoint *a, const struct conf_endpoint *b)
{
    return a->priority == b->priority && str_eq(a->zone, b->zone);
}

/* Stops counting above the limit. */
static uint32_t count_places(const struct conf_upstream *u)
{
    uint32_t first[FAILOVER_PARTS_MAX + 1], n = 0;
    for (uint32_t i = 0; i < u->n_endpoints && n <= FAILOVER_PARTS_MAX; i++) {
        uint32_t k = 0;
        while (k < n && !same_place(&u->endpoints[first[k]], &u->endpoints[i]))
            k++;
        if (k == n)
            first[n++] = i;
    }
    return n;
}

void build_failover(struct builder *b, struct conf_upstream *u, const struct yaml_node *node)
{
    if (u->prefer_own_zone)
        u->own_zone = b->conf->zone;
    if (count_places(u) > FAILOVER_PARTS_MAX)
        problem_at(b->problems, yaml_get(node, "endpoints"),
                   "expected at most %d pairs of priority and zone", FAILOVER_PARTS_MAX);
}

/* ---- what has no effect ---- */

/* Which priorities there are, a bit each. */
static uint32_t priorities_of(const struct conf_upstream *u)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        bits |= 1u << u->endpoints[i].priority;
    return bits;
}

static uint32_t count_zoned(const struct conf_upstream *u, struct str zone)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        n += zone.n > 0 ? str_eq(u->endpoints[i].zone, zone) : u->endpoints[i].zone.n > 0;
    return n;
}

/* The first endpoint that has the key. */
static const struct yaml_node *first_given(const struct yaml_node *endpoints, const char *key)
{
    const struct yaml_node *it = endpoints ? endpoints->first : NULL;
    while (it && !yaml_get(it, key))
        it = it->next;
    return it ? yaml_get(it, key) : NULL;
}

static void check_priorities(struct builder *b, uint32_t bits, const struct yaml_node *node)
{
    const struct yaml_node *given = first_given(yaml_get(node, "endpoints"), "priority");
    const struct yaml_node *factor =
        yaml_get(yaml_get(node, "failover"), "overprovisioningPercent");
    uint32_t lowest = (uint32_t)__builtin_ctz(bits), gap = 0;

    if ((bits & (bits - 1)) == 0) {
        if (given)
            warning_at(b->problems, given, "has no effect: all endpoints have priority %u", lowest);
        if (factor)
            warning_at(b->problems, factor, "has no effect: all endpoints have priority %u",
                       lowest);
        return;
    }
    while (bits >> gap & 1)
        gap++;
    if (given && bits >> gap)
        warning_at(b->problems, given, "no endpoint has priority %u, and some have one behind it",
                   gap);
}

static void check_zones(struct builder *b, const struct conf_upstream *u,
                        const struct yaml_node *node)
{
    const struct yaml_node *zone = first_given(yaml_get(node, "endpoints"), "zone");
    const struct yaml_node *prefer = yaml_get(yaml_get(node, "failover"), "preferOwnZone");
    uint32_t zoned = count_zoned(u, STR_NONE);

    if (prefer && zoned == 0)
        warning_at(b->problems, prefer, "has no effect: no endpoint has a zone");
    else if (zone && !yaml_get(b->root, "locality"))
        warning_at(b->problems, zone, "has no effect: our own zone is not given (locality.zone)");
}

static void check_dry_run(struct builder *b, const struct conf_upstream *u, uint32_t bits,
                          const struct yaml_node *node)
{
    const struct yaml_node *it = yaml_get(yaml_get(node, "failover"), "dryRun");
    bool zones = u->own_zone.n > 0 && count_zoned(u, STR_NONE) > 0;
    if (it && (bits & (bits - 1)) == 0 && !zones)
        warning_at(b->problems, it, "has no effect: neither priorities nor zones decide anything");
}

static void check_own_zone(struct builder *b)
{
    const struct yaml_node *own = yaml_get(yaml_get(b->root, "locality"), "zone");
    uint32_t there = 0;
    if (!own || b->conf->zone.n == 0)
        return;
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++)
        there += count_zoned(&b->conf->upstreams[i], b->conf->zone);
    if (there == 0)
        warning_at(b->problems, own, "has no effect: no endpoint has this zone");
}

void lint_failover(struct builder *b)
{
    check_own_zone(b);
    for (uint32_t i = 0; i < b->conf->n_upstreams; i++) {
        const struct conf_upstream *u = &b->conf->upstreams[i];
        const struct yaml_node *node = b->upstreams[i].node;
        check_priorities(b, priorities_of(u), node);
        check_zones(b, u, node);
        check_dry_run(b, u, priorities_of(u), node);
    }
}
