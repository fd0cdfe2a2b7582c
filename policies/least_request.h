/* least_request.h - which of two endpoints has less to do: by what is under way there, and, where
 * one is slower by far, by how long that takes.
 *
 * Requests under way alone keep a slow endpoint as busy as the others, and each of them is a slow
 * answer. But endpoints that are about as fast are not told apart by their latency: the best by a
 * hair would get nearly all. Pure. */
#ifndef SLUICE_POLICIES_LEAST_REQUEST_H
#define SLUICE_POLICIES_LEAST_REQUEST_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PACE_TIMES = 4,        /* so much slower than the other one, and by PACE_FLOOR */
    PACE_SHARE = 4,        /* a new latency is so much of the mean: a quarter */
    PACE_HALVES_EVERY = 5, /* s without an answer, after which it may be tried again */
};
#define PACE_FLOOR (100 * USEC_PER_MSEC)

/* Of one endpoint; zeroed: not known. */
struct pace {
    usec_t mean; /* moving, of the latencies; 0: none yet */
    usec_t at;   /* of the last */
};

/* With time what it was says less. */
usec_t pace_now(const struct pace *p, usec_t now);

static inline void pace_note(struct pace *p, usec_t latency, usec_t now)
{
    usec_t was = now < p->at + PACE_HALVES_EVERY * USEC_PER_SEC ? p->mean : pace_now(p, now);
    /* From nothing too, so that a single slow answer is a quarter of what several are. */
    p->mean = was - was / PACE_SHARE + latency / PACE_SHARE;
    p->at = now;
}

struct least_request_load {
    uint32_t active; /* requests under way */
    uint32_t weight; /* of its share; > 0 */
    struct pace pace;
};

/* least_request_prefers() where one may be slower by far. */
bool least_request_prefers_by_pace(const struct least_request_load *a,
                                   const struct least_request_load *b, usec_t now);

/* Does b have less to do than a, for its share? */
static inline bool least_request_prefers(const struct least_request_load *a,
                                         const struct least_request_load *b, usec_t now)
{
    /* One with a tenth of its share is as busy with one request as another with ten. */
    if (a->pace.mean <= PACE_FLOOR && b->pace.mean <= PACE_FLOOR)
        return (uint64_t)b->active * a->weight < (uint64_t)a->active * b->weight;
    return least_request_prefers_by_pace(a, b, now);
}

#endif
