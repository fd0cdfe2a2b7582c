/* call_window.h - how many calls of the last seconds went how: ten buckets, by time.
 *
 * Shared by all workers without locks: each number is exact. A bucket carries what it is of (which
 * time, which epoch of its owner), so that nobody has to clear it: a number of another time or
 * epoch is none. Pure: the caller passes the time. */
#ifndef SLUICE_POLICIES_CALL_WINDOW_H
#define SLUICE_POLICIES_CALL_WINDOW_H

#include "base/clock.h"

#include <stdatomic.h>

enum { CALL_WINDOW_BUCKETS = 10 };

enum call_kind {
    CALL_ANY, /* each of them */
    CALL_FAILED,
    CALL_SLOW,
    CALL_KINDS,
};

/* Zeroed: nothing has been counted. */
struct call_window {
    _Atomic uint64_t buckets[CALL_KINDS][CALL_WINDOW_BUCKETS]; /* what it is of, how many */
};

/* One call more. `window`: the length of all buckets, at least CALL_WINDOW_BUCKETS; with another
 * length it begins anew. Who adds to two kinds, and then asks for both in the other order, sees of
 * everybody whom it sees in the second kind the first as well. */
void call_window_add(struct call_window *w, enum call_kind kind, uint32_t epoch, usec_t window,
                     usec_t now);
/* In the bucket of `now` and the nine before it. */
uint64_t call_window_sum(const struct call_window *w, enum call_kind kind, uint32_t epoch,
                         usec_t window, usec_t now);

#endif
