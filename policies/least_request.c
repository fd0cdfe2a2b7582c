/* least_request.c - which of two endpoints has less to do. */
#include "policies/least_request.h"

usec_t pace_now(const struct pace *p, usec_t now)
{
    usec_t halvings = now > p->at ? (now - p->at) / (PACE_HALVES_EVERY * USEC_PER_SEC) : 0;
    return halvings > 40 ? 0 : p->mean >> halvings;
}

static bool is_slower(usec_t a, usec_t b)
{
    return b > 0 && a > b + PACE_FLOOR && a > PACE_TIMES * b;
}

bool least_request_prefers_by_pace(const struct least_request_load *a,
                                   const struct least_request_load *b, usec_t now)
{
    usec_t pa = pace_now(&a->pace, now), pb = pace_now(&b->pace, now);
    if (!is_slower(pa, pb) && !is_slower(pb, pa))
        return (uint64_t)b->active * a->weight < (uint64_t)a->active * b->weight;
    /* In ms, so that nothing overflows: below a week, a million requests, and 10000. */
    uint64_t cost_a = (uint64_t)(a->active + 1) * (pa / USEC_PER_MSEC + 1) * b->weight;
    uint64_t cost_b = (uint64_t)(b->active + 1) * (pb / USEC_PER_MSEC + 1) * a->weight;
    return cost_b < cost_a;
}
