/* histogram.c - latencies, read. */
#include "base/histogram.h"

void histogram_collect(const struct histogram *from, uint64_t *into, uint64_t *ret_sum)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into[i] += atomic_load_explicit(&from->count[i], memory_order_relaxed);
    *ret_sum += atomic_load_explicit(&from->sum, memory_order_relaxed);
}

usec_t histogram_quantile(const uint64_t *counts, uint32_t ppm)
{
    uint64_t total = 0, seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        total += counts[i];
    if (total == 0)
        return 0;
    if (ppm > 1000000)
        ppm = 1000000;
    /* total x ppm / 10^6, rounded up, without overflow */
    uint64_t rank = total / 1000000 * ppm + (total % 1000000 * ppm + 999999) / 1000000;
    if (rank == 0)
        rank = 1;
    uint32_t i = 0;
    for (; i < HISTOGRAM_BUCKETS - 1; i++) {
        seen += counts[i];
        if (seen >= rank)
            break;
    }
    return histogram_upper(i);
}
