/* cleanup_try.h - what an answer to a release means, and when to try again. Pure. */
#ifndef SLUICE_LIFECYCLE_CLEANUP_TRY_H
#define SLUICE_LIFECYCLE_CLEANUP_TRY_H

#include "base/clock.h"
#include "lifecycle/cleanup.h"

#define CLEANUP_BACKOFF_FIRST (100 * USEC_PER_MSEC)
#define CLEANUP_BACKOFF_MOST  (5 * USEC_PER_SEC)

enum cleanup_verdict {
    CLEANUP_SAYS_RELEASED, /* 2xx */
    CLEANUP_SAYS_GONE,     /* 404, 410 */
    CLEANUP_SAYS_AGAIN,    /* no answer, 5xx, 408, 425, 429 */
    CLEANUP_SAYS_NO,       /* the rest: another try would get the same answer */
};

/* status 0: there was no answer. */
enum cleanup_verdict cleanup_judge(unsigned status);

/* The pause behind try number `tries` (1: the first): from 0 to 100 ms, doubled for each, at most
 * 5 s ("full jitter"). */
usec_t cleanup_backoff(uint32_t tries, uint64_t random);

/* When to try again after try number `tries`; 0: no more, all tries are used or the next would
 * begin at or behind the deadline. retry_after: what the server asked for, heeded up to 5 s. */
usec_t cleanup_try_again(const struct cleanup_action *a, uint32_t tries, usec_t now,
                         usec_t deadline, usec_t retry_after, uint64_t random);

/* The longest that all tries can take, with their pauses. */
usec_t cleanup_longest(const struct cleanup_action *a);

#endif
