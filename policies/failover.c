/* failover.c - which level of an upstream's endpoints takes a request, and which zone of it. */
#include "policies/failover.h"

#include "base/check.h"

/* In hundredths of an endpoint. */
static uint64_t strength(const struct failover_count *c)
{
    return (uint64_t)c->usable * 100 - c->missing;
}

/* What so many hundredths of a level's endpoints are good for, in ppm. Never nothing where there is
 * something. */
static uint32_t good_for(uint64_t strength, uint32_t there, uint32_t overprovisioning)
{
    uint64_t whole = (uint64_t)there * 10000;
    if (strength == 0 || there == 0)
        return 0;
    uint64_t ppm = (strength * overprovisioning * FAILOVER_WHOLE + whole - 1) / whole;
    return ppm < FAILOVER_WHOLE ? (uint32_t)ppm : FAILOVER_WHOLE;
}

/* To each in proportion to its weight; what rounding leaves goes to `rest`. The sum of the weights
 * is not 0, and none is above 2^40. */
static void split(uint32_t all, const uint64_t *weights, uint32_t n, uint32_t rest,
                  uint32_t *ret_ppm)
{
    uint64_t sum = 0;
    uint32_t left = all;
    for (uint32_t i = 0; i < n; i++)
        sum += weights[i];
    CHECK(sum > 0);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t ppm = (uint32_t)(weights[i] * all / sum);
        ret_ppm[i] = ppm;
        left -= ppm;
    }
    ret_ppm[rest] += left;
}

static uint32_t first_with(const uint64_t *weights, uint32_t n)
{
    uint32_t i = 0;
    while (i < n && weights[i] == 0)
        i++;
    return i;
}

/* By the number of endpoints; nothing where there are none. */
static void split_by_number(const struct failover_count *c, uint32_t n, uint32_t *ret_ppm)
{
    uint64_t weights[FAILOVER_PARTS_MAX] = {0};
    for (uint32_t i = 0; i < n; i++) {
        weights[i] = c[i].there;
        ret_ppm[i] = 0;
    }
    uint32_t first = first_with(weights, n);
    if (first < n)
        split(FAILOVER_WHOLE, weights, n, first, ret_ppm);
}

/* --- levels --- */

struct sums {
    uint64_t there, usable;
    uint64_t good;     /* for so much, slow start not considered */
    uint64_t good_now; /* the same with it */
    bool calm;         /* a level has not fewer usable ones than panic_threshold */
    uint64_t each[FAILOVER_LEVELS_MAX];
};

static struct sums add_up(const struct failover_count *levels, uint32_t n,
                          const struct failover_rules *rules)
{
    struct sums s = {0};
    for (uint32_t i = 0; i < n; i++) {
        const struct failover_count *c = &levels[i];
        if (c->there > 0 &&
            (uint64_t)c->usable * 100 >= (uint64_t)c->there * rules->panic_threshold)
            s.calm = true;
        s.there += c->there;
        s.usable += c->usable;
        s.good += good_for((uint64_t)c->usable * 100, c->there, rules->overprovisioning);
        s.each[i] = good_for(strength(c), c->there, rules->overprovisioning);
        s.good_now += s.each[i];
    }
    return s;
}

bool failover_levels(const struct failover_count *levels, uint32_t n,
                     const struct failover_rules *rules, uint32_t *ret_ppm)
{
    struct sums s = add_up(levels, n, rules);
    uint32_t left = FAILOVER_WHOLE;
    if (!s.calm && s.there > 0 && s.good < FAILOVER_WHOLE) {
        split_by_number(levels, n, ret_ppm);
        return true;
    }
    if (s.good_now > 0 && s.good_now < FAILOVER_WHOLE) {
        split(FAILOVER_WHOLE, s.each, n, first_with(s.each, n), ret_ppm);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t ppm = s.usable == 0 && levels[i].there > 0 ? FAILOVER_WHOLE : s.each[i];
        ret_ppm[i] = ppm < left ? (uint32_t)ppm : left;
        left -= ret_ppm[i];
    }
    return false;
}

/* --- zones --- */

void failover_zones(const struct failover_count *zones, uint32_t n, uint32_t own, uint32_t *ret_ppm)
{
    uint64_t room[FAILOVER_PARTS_MAX] = {0}, sum = 0;
    uint32_t callers = own < n ? n : n + 1, kept = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += strength(&zones[i]);
    if (sum == 0) {
        split_by_number(zones, n, ret_ppm);
        return;
    }
    /* Above what its own callers bring, in hundredths of an endpoint for each zone of callers. */
    for (uint32_t i = 0; i < n; i++) {
        uint64_t can = strength(&zones[i]) * callers;
        room[i] = i != own && can > sum ? can - sum : 0;
        ret_ppm[i] = 0;
    }
    if (own < n) {
        uint64_t ppm = strength(&zones[own]) * callers * FAILOVER_WHOLE / sum;
        kept = ppm < FAILOVER_WHOLE ? (uint32_t)ppm : FAILOVER_WHOLE;
    }
    if (kept < FAILOVER_WHOLE) /* then others have what this zone lacks */
        split(FAILOVER_WHOLE - kept, room, n, first_with(room, n), ret_ppm);
    if (own < n)
        ret_ppm[own] = kept;
}

/* --- choosing --- */

uint32_t failover_pick(const uint32_t *ppm, uint32_t n, uint32_t random)
{
    uint32_t last = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (random < ppm[i])
            return i;
        random -= ppm[i];
        if (ppm[i] > 0)
            last = i;
    }
    return last;
}
