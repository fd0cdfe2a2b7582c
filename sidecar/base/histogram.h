/* histogram.h - latencies, log-linear: 8 buckets to a doubling, so within 12.5 % everywhere.
 *
 * Written by one thread, read by another at any time: counts are relaxed atomics that only the
 * owner increments. Values in microseconds, up to 2^32 (71 minutes), above that in the last. */
#ifndef SLUICE_BASE_HISTOGRAM_H
#define SLUICE_BASE_HISTOGRAM_H

#include "base/clock.h"

#include <stdatomic.h>

enum { HISTOGRAM_SUB = 8, HISTOGRAM_BUCKETS = HISTOGRAM_SUB * 30 };

struct histogram {
    _Atomic uint64_t sum;                      /* microseconds */
    _Atomic uint64_t count[HISTOGRAM_BUCKETS]; /* 32 bits would wrap within days */
};

/* Rises with v, by at most 1 a step; the last is UINT32_MAX's. */
static inline uint32_t histogram_bucket(usec_t v)
{
    if (v < HISTOGRAM_SUB)
        return (uint32_t)v;
    if (v > UINT32_MAX)
        v = UINT32_MAX;
    uint32_t top = 63u - (uint32_t)__builtin_clzll(v); /* >= 3 */
    return (top - 2) * HISTOGRAM_SUB + (uint32_t)((v >> (top - 3)) & (HISTOGRAM_SUB - 1));
}

/* The first value above bucket i, in microseconds. Prometheus' `le` is inclusive: one less. */
static inline usec_t histogram_upper(uint32_t i)
{
    if (i < HISTOGRAM_SUB)
        return i + 1;
    uint32_t top = i / HISTOGRAM_SUB + 2;
    return (usec_t)(HISTOGRAM_SUB + i % HISTOGRAM_SUB + 1) << (top - 3);
}

static inline void histogram_add(struct histogram *h, usec_t v)
{
    _Atomic uint64_t *c = &h->count[histogram_bucket(v)];
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store_explicit(&h->sum, atomic_load_explicit(&h->sum, memory_order_relaxed) + v,
                          memory_order_relaxed);
}

/* Adds what `from` holds now to plain sums; `into` has HISTOGRAM_BUCKETS entries. */
void histogram_collect(const struct histogram *from, uint64_t *into, uint64_t *ret_sum);
/* The least bucket bound below which at least `ppm` parts per million of the counts lie; 0 when
 * there are none. What is above 2^32 reads as 2^32. */
usec_t histogram_quantile(const uint64_t *counts, uint32_t ppm);

#endif
