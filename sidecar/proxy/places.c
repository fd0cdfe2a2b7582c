/* places.c - where an upstream's endpoints stand. */
#include "proxy/places.h"

#include "base/mem.h"
#include "proxy/upstream_shared.h"

#include <errno.h>

/* While one list follows another, both have their parts. */
_Static_assert(2 * FAILOVER_PARTS_MAX <= STANDING_PARTS, "parts for two lists");

static int compare(const struct place *p, uint32_t priority, struct str zone)
{
    if (p->priority != priority)
        return p->priority < priority ? -1 : 1;
    int order = memcmp(p->zone, zone.n ? zone.p : "", min_u64(p->zone_n, zone.n));
    return order != 0 ? order : (p->zone_n > zone.n) - (p->zone_n < zone.n);
}

/* Where it is in the sorted list, or belongs. */
static uint32_t search(const struct places *p, uint32_t priority, struct str zone, bool *ret_found)
{
    uint32_t i = 0;
    int order = -1;
    while (i < p->n && (order = compare(&p->at[i], priority, zone)) < 0)
        i++;
    *ret_found = i < p->n && order == 0;
    return i;
}

static void enter(struct places *p, const struct endpoint_address *a)
{
    bool found;
    uint32_t i = search(p, a->priority, a->zone, &found);
    if (found)
        return;
    CHECK(p->n < FAILOVER_PARTS_MAX && a->priority < FAILOVER_LEVELS_MAX && a->zone.n <= ZONE_MAX);
    memmove(&p->at[i + 1], &p->at[i], (p->n - i) * sizeof(p->at[0]));
    p->at[i] = (struct place){.priority = (uint8_t)a->priority, .zone_n = (uint8_t)a->zone.n};
    if (a->zone.n > 0)
        memcpy(p->at[i].zone, a->zone.p, a->zone.n);
    p->n++;
}

static bool is_plain(const struct place *p)
{
    return p->priority == 0 && p->zone_n == 0;
}

/* What was there keeps its part, and what is new takes one that nobody had: until the workers have
 * been told, they count by the old meaning. */
static void take_parts(struct places *p, const struct places *was)
{
    uint64_t taken = 1;
    for (uint32_t i = 0; was && i < was->n; i++)
        taken |= UINT64_C(1) << was->at[i].part;
    for (uint32_t i = 0; i < p->n; i++) {
        struct place *at = &p->at[i];
        bool found = false;
        uint32_t k = was ? search(was, at->priority, place_zone(at), &found) : 0;
        if (is_plain(at))
            at->part = 0;
        else if (found)
            at->part = was->at[k].part;
        else
            at->part = (uint8_t)__builtin_ctzll(~taken);
        taken |= UINT64_C(1) << at->part;
    }
}

int places_of(const struct places *was, const struct endpoint_address *list, uint32_t n,
              struct places **ret, uint8_t *at_place)
{
    bool plain = true, found;
    for (uint32_t i = 0; i < n; i++)
        plain = plain && list[i].priority == 0 && list[i].zone.n == 0;
    if (plain) {
        if (n > 0)
            memset(at_place, 0, n);
        *ret = NULL;
        return 0;
    }
    struct places *p = mem_zalloc(sizeof(*p));
    if (!p)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        enter(p, &list[i]);
    take_parts(p, was);
    for (uint32_t i = 0; i < n; i++)
        at_place[i] = (uint8_t)search(p, list[i].priority, list[i].zone, &found);
    *ret = p;
    return 0;
}

void places_arrange(struct places *p, const uint8_t *at_place, uint32_t n, uint32_t *ret_to)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; i++)
        p->at[at_place[i]].n++;
    for (uint32_t i = 0; i < p->n; i++) {
        p->at[i].first = at;
        at += p->at[i].n;
        p->at[i].n = 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct place *place = &p->at[at_place[i]];
        ret_to[i] = place->first + place->n++;
    }
}

const struct place *places_at(const struct places *p, uint32_t i)
{
    for (uint32_t k = 0; p && k < p->n; k++) {
        if (i - p->at[k].first < p->at[k].n)
            return &p->at[k];
    }
    return NULL;
}

struct places *places_copy(const struct places *p)
{
    struct places *copy = p ? mem_alloc(sizeof(*copy)) : NULL;
    if (copy)
        *copy = *p;
    return copy;
}
