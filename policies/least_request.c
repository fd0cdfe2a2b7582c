/* least_request.c - which of two endpoints has less to do. */
#include "policies/least_request.h"

usec_t pace_now(const struct pace *p, usec_t now)
{
    usec_t halvings = now > p->at ? (now - p->at) / (PACE_HALVES_EVERY * USEC_PER_SEC) : 0;
    return halvings > 40 ? 0 : p->mean >> halvings;
}

usec_t pace_then(const struct pace *p, usec_t latency, usec_t now)
{
    usec_t healed = pace_now(p, now), still = latency < p->mean ? latency : p->mean;
    return still > healed ? still : healed;
}

bool pace_trial_begin(struct pace_trial *t, usec_t now)
{
    usec_t next = atomic_load_explicit(&t->next, memory_order_relaxed);
    return next <= now && atomic_compare_exchange_strong_explicit(
                              &t->next, &next, now + PACE_HALVES_EVERY * USEC_PER_SEC,
                              memory_order_relaxed, memory_order_relaxed);
}

void pace_trial_passed(struct pace_trial *t)
{
    if (atomic_load_explicit(&t->next, memory_order_relaxed) > 0)
        atomic_store_explicit(&t->next, 0, memory_order_relaxed);
}

static bool is_slower(usec_t a, usec_t b)
{
    return b > 0 && a > b + PACE_FLOOR && a > PACE_TIMES * b;
}

/* By what its latency is taken for. In ms, so that nothing overflows: below a week, a million
 * requests, and 10000. */
static uint64_t cost(const struct least_request_load *of, usec_t latency, uint32_t other_weight)
{
    return (uint64_t)(of->active + 1) * (latency / USEC_PER_MSEC + 1) * other_weight;
}

enum slow { SLOW_NOT, SLOW_TO_TRY, SLOW_YET };

/* Goes the next one to `slow`, which was slower by far when it was last heard? */
static enum slow how_slow(const struct least_request_load *slow,
                          const struct least_request_load *fast, usec_t now)
{
    usec_t pace = fast->pace.mean, healed = pace_now(&slow->pace, now);
    uint64_t fast_cost = cost(fast, pace, slow->weight);
    if (cost(slow, slow->pace.mean, fast->weight) < fast_cost)
        return SLOW_NOT;
    /* What is under way there does not matter: it may be streams that last. */
    return !is_slower(healed, pace) || cost(slow, healed, fast->weight) < fast_cost ? SLOW_TO_TRY
                                                                                    : SLOW_YET;
}

enum least_request least_request_by_pace(const struct least_request_load *a,
                                         const struct least_request_load *b, usec_t now)
{
    static const enum least_request of_a[] = {LEAST_A, LEAST_TRY_A, LEAST_B};
    static const enum least_request of_b[] = {LEAST_B, LEAST_TRY_B, LEAST_A};
    if (is_slower(a->pace.mean, b->pace.mean))
        return of_a[how_slow(a, b, now)];
    if (is_slower(b->pace.mean, a->pace.mean))
        return of_b[how_slow(b, a, now)];
    return (uint64_t)b->active * a->weight < (uint64_t)a->active * b->weight ? LEAST_B : LEAST_A;
}
