/* call_window.c - buckets that say what they are of. */
#include "policies/call_window.h"

#include <stdbool.h>

/* A bucket: 12 bits of the epoch and the window's length, 20 of the bucket's number in time, 32 of
 * the count. An old one is taken for a new one only if both have gone round to the same number,
 * which for buckets of a second takes twelve days of silence to the second. The length is among
 * them as numbers of windows of different lengths cannot be compared: a shorter one's are larger,
 * and would be taken for later for as long as the machine runs. */
enum { EPOCH_BITS = 12, NUMBER_BITS = 20, COUNT_BITS = 32 };

static uint64_t number_at(usec_t window, usec_t now)
{
    return now / (window / CALL_WINDOW_BUCKETS);
}

static uint64_t tag_of(uint32_t epoch, usec_t window, uint64_t number)
{
    uint64_t of = epoch + (window * UINT64_C(0x9e3779b97f4a7c15) >> (64 - EPOCH_BITS));
    return (of & ((1U << EPOCH_BITS) - 1)) << NUMBER_BITS | (number & ((1U << NUMBER_BITS) - 1));
}

/* Of this epoch and length, and of a later time: a worker that is so far behind has nothing to add.
 */
static bool is_later(uint64_t bucket, uint64_t tag)
{
    uint32_t ahead = (uint32_t)((bucket >> COUNT_BITS) - tag) << (32 - NUMBER_BITS);
    return bucket >> (COUNT_BITS + NUMBER_BITS) == tag >> NUMBER_BITS && ahead != 0 &&
           ahead < UINT32_C(1) << 31;
}

void call_window_add(struct call_window *w, enum call_kind kind, uint32_t epoch, usec_t window,
                     usec_t now)
{
    uint64_t number = number_at(window, now), tag = tag_of(epoch, window, number), is;
    _Atomic uint64_t *at = &w->buckets[kind][number % CALL_WINDOW_BUCKETS];
    uint64_t was = atomic_load_explicit(at, memory_order_relaxed);
    do {
        if (was >> COUNT_BITS == tag)
            is = was + ((uint32_t)was < UINT32_MAX);
        else if (is_later(was, tag))
            return;
        else
            is = tag << COUNT_BITS | 1;
    } while (!atomic_compare_exchange_weak_explicit(at, &was, is, memory_order_acq_rel,
                                                    memory_order_relaxed));
}

uint64_t call_window_sum(const struct call_window *w, enum call_kind kind, uint32_t epoch,
                         usec_t window, usec_t now)
{
    uint64_t number = number_at(window, now), sum = 0;
    for (uint64_t back = 0; back < CALL_WINDOW_BUCKETS && back <= number; back++) {
        uint64_t at = number - back;
        uint64_t v =
            atomic_load_explicit(&w->buckets[kind][at % CALL_WINDOW_BUCKETS], memory_order_acquire);
        if (v >> COUNT_BITS == tag_of(epoch, window, at))
            sum += (uint32_t)v;
    }
    return sum;
}
