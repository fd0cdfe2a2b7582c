/* least_request.h - which of two endpoints has less to do: by what is under way there, and, where
 * one is slower by far, by how long that takes.
 *
 * Requests under way alone keep a slow endpoint as busy as the others, and each of them is a slow
 * answer. But endpoints that are about as fast are not told apart by their latency: the best by a
 * hair would get nearly all.
 *
 * One that gets nothing tells nothing, so what its latency was is believed less with time. But only
 * as far as a trial: one request of one worker, and no other for a while; else each worker would
 * send as many to an endpoint that is still slow as it has under way at the others. Pure. */
#ifndef SLUICE_POLICIES_LEAST_REQUEST_H
#define SLUICE_POLICIES_LEAST_REQUEST_H

#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    PACE_TIMES = 4,        /* so much slower than the other one, and by PACE_FLOOR */
    PACE_SHARE = 4,        /* a new latency is so much of the mean: a quarter */
    PACE_HALVES_EVERY = 5, /* s without an answer; and from one trial to the next */
};
#define PACE_FLOOR (100 * USEC_PER_MSEC)

/* Of one endpoint; zeroed: not known. */
struct pace {
    usec_t mean; /* moving, of the latencies; 0: none yet */
    usec_t at;   /* of the last */
};

/* With time what it was says less. */
usec_t pace_now(const struct pace *p, usec_t now);

/* The same before an answer that took so long: one that is as slow as it ever was says that it
 * still was so all the time. */
usec_t pace_then(const struct pace *p, usec_t latency, usec_t now);

static inline void pace_note(struct pace *p, usec_t latency, usec_t now)
{
    usec_t was =
        now < p->at + PACE_HALVES_EVERY * USEC_PER_SEC ? p->mean : pace_then(p, latency, now);
    /* From nothing too, so that a single slow answer is a quarter of what several are. */
    p->mean = was - was / PACE_SHARE + latency / PACE_SHARE;
    p->at = now;
}

/* Of one endpoint, for all workers; zeroed: it may be tried. */
struct pace_trial {
    _Atomic usec_t next; /* not before */
};

/* It is this caller's to try; nobody else's for a while. */
bool pace_trial_begin(struct pace_trial *t, usec_t now);
/* It answered in time: the other workers need not wait. */
void pace_trial_passed(struct pace_trial *t);
/* Is this answer so much faster than those before that a trial has passed? Before pace_note(). */
static inline bool pace_is_better(const struct pace *p, usec_t latency)
{
    return p->mean > PACE_FLOOR && latency < p->mean / PACE_TIMES;
}

struct least_request_load {
    uint32_t active; /* requests under way */
    uint32_t weight; /* of its share; > 0 */
    struct pace pace;
};

enum least_request {
    LEAST_A,     /* the first that was drawn, where both have as much to do */
    LEAST_B,     /* it has less to do, for its share */
    LEAST_TRY_A, /* it was slower by far, some time ago: after pace_trial_begin(), else b */
    LEAST_TRY_B,
};

/* least_request() where one may be slower by far. */
enum least_request least_request_by_pace(const struct least_request_load *a,
                                         const struct least_request_load *b, usec_t now);

/* Which of two has less to do? */
static inline enum least_request least_request(const struct least_request_load *a,
                                               const struct least_request_load *b, usec_t now)
{
    if (a->pace.mean > PACE_FLOOR || b->pace.mean > PACE_FLOOR)
        return least_request_by_pace(a, b, now);
    /* One with a tenth of its share is as busy with one request as another with ten. */
    return (uint64_t)b->active * a->weight < (uint64_t)a->active * b->weight ? LEAST_B : LEAST_A;
}

#endif
