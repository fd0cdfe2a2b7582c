/* split.h - which backend takes this request, by weight, exactly.
 *
 * Stratified picks: in each stretch of 1/weight requests, one at a random place goes to the
 * canary. Of two backends each has had within 1 of n x weight after n requests, at every n; each
 * request has the same chance to be picked, and a pattern in the traffic (GET, POST, GET, POST)
 * cannot line up with the picks.
 *
 * More than two are a chain of such picks, smallest weight first, each on what the ones before it
 * left. Of n backends the k-th smallest is then within n/(n - k + 1) of its share (the smallest
 * within 1, the second largest within n/2) and the largest, which gets what is left, within n - 1.
 *
 * Pure: random bits are the caller's. One for each route and worker; each begins at another
 * phase: the place in the first stretch. */
#ifndef SLUICE_CANARY_SPLIT_H
#define SLUICE_CANARY_SPLIT_H

#include "base/rng.h"

#include <stdint.h>

enum { SPLIT_MAX = 16, SPLIT_WHOLE_PPM = 1000000 };

/* Takes `share` of every `whole` requests that reach it. split.c's own. */
struct split_pick {
    uint32_t left; /* requests that pass before the next pick */
    uint32_t share;
    uint32_t whole;
    uint32_t per;    /* whole / share */
    uint32_t over;   /* whole % share */
    uint32_t carry;  /* how much of the request at a stretch's end counts to the next stretch */
    uint32_t to_end; /* requests from the next pick to the one at the end of its stretch */
    int8_t tilt;     /* picks at odd places less those at even ones, where it is told */
    uint8_t odd;     /* where the next pick lies */
    uint8_t backend; /* who gets it */
};

struct split {
    uint32_t n;
    uint8_t picks; /* in use; fewer than n */
    uint8_t rest;  /* the backend that takes what no pick took */
    struct split_pick pick[SPLIT_MAX - 1];
    uint32_t ppm[SPLIT_MAX]; /* sums to SPLIT_WHOLE_PPM */
};

/* Parts per million of each backend from weights (each 0 to 1,000,000) of any sum: largest
 * remainder, so that the sum is exactly SPLIT_WHOLE_PPM; a weight above 0 keeps at least 1 ppm.
 * All weights 0, n not in [1, SPLIT_MAX], or a weight above a million: -EINVAL. */
int split_normalise(const uint32_t *weights, uint32_t n, uint32_t *ret_ppm);

/* n in [1, SPLIT_MAX]; ppm sums to SPLIT_WHOLE_PPM. The phase comes from rng. */
void split_init(struct split *s, const uint32_t *ppm, uint32_t n, struct rng *rng);

/* New weights from the next request on; the exactness begins anew. */
void split_set(struct split *s, const uint32_t *ppm, uint32_t n, struct rng *rng);

/* The index of the backend for the next request. */
uint32_t split_next(struct split *s, struct rng *rng);

#endif
