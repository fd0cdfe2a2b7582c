/* rate_limit.h - may one more come now? One word of state for each answer, shared by all workers.
 *
 * A token bucket (as its "theoretical arrival time", GCRA: the word is the time at which the bucket
 * will be full again), a fixed window, or a sliding window (the last window's count, weighted by
 * how much of it the sliding one still covers). A word of 0 is one that nobody has used.
 *
 * Pure and exact: the word changes by compare-and-swap. A bucket never gives more than burst +
 * requests x time / per. A caller whose `now` is somewhat behind another's is only given less. */
#ifndef SLUICE_POLICIES_RATE_LIMIT_H
#define SLUICE_POLICIES_RATE_LIMIT_H

#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum rate_algorithm { RATE_TOKEN_BUCKET, RATE_FIXED_WINDOW, RATE_SLIDING_WINDOW };

enum {
    RATE_REQUESTS_MAX = 1000000, /* per window or burst: what a word has room for */
    RATE_PER_MIN = 100 * USEC_PER_MSEC,
};

struct rate_rule {
    enum rate_algorithm algorithm;
    uint32_t requests; /* 1 to RATE_REQUESTS_MAX */
    uint32_t burst;    /* of a bucket: as many at once; the others look at requests alone */
    usec_t per;        /* RATE_PER_MIN to a week */
};

typedef _Atomic uint64_t rate_word;

struct rate_verdict {
    bool allowed;
    usec_t wait;            /* refused: until one is allowed, if nobody else comes; else 0 */
    uint64_t before, after; /* allowed: the word's, for rate_give_back() */
};

/* `now` is monotonic, and not 0. */
struct rate_verdict rate_take(rate_word *w, const struct rate_rule *r, usec_t now);
/* What was allowed was not used after all; no effect where somebody else has come since then, so
 * that nobody is ever given more. */
void rate_give_back(rate_word *w, const struct rate_verdict *v);
/* It would answer as a word that nobody has used. */
bool rate_is_unused(const rate_word *w, const struct rate_rule *r, usec_t now);

#endif
