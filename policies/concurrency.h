/* concurrency.h - how many requests an upstream gets at once, found out from how long it takes.
 *
 * Once an interval:   limit <- limit x clamp(minRTT x tolerance / p90, 0.5, 2) + sqrt(limit)
 *
 * after Netflix's and Envoy's gradient: as long as answers take no longer than they do without a
 * queue, the limit grows; a queue makes it shrink until about sqrt(limit) requests wait. It does
 * not grow while less than half of it is used, and does not shrink while hardly anybody waits.
 * concurrency_limit.c has the calculation, and how minRTT is kept true without starving anybody.
 *
 * In flight is who has been let through and has no answer yet. Shared by all workers and exact: one
 * word, changed by compare-and-swap, never above what a priority may have. Refusals write nothing
 * that is shared. Pure: the caller passes the time. It outlives configurations: each call has the
 * rules in force. */
#ifndef SLUICE_POLICIES_CONCURRENCY_H
#define SLUICE_POLICIES_CONCURRENCY_H

#include "base/histogram.h"
#include "policies/concurrency_limit.h"
#include "policies/priority.h"

/* One worker's: written by it alone. */
struct concurrency_worker {
    _Alignas(64) _Atomic uint64_t peak;      /* a look's number, and the most in flight since it */
    _Atomic uint64_t refused[2][PRIORITIES]; /* ever; [1]: with dryRun, and so let through */
    _Atomic uint64_t left_late, left_early;  /* who left: counted as a latency; not */
    _Atomic uint64_t errors;
    struct histogram latency; /* to the answer's head; ever */
};

struct concurrency {
    _Alignas(64) _Atomic uint32_t in_flight;
    _Atomic uint32_t limit; /* in force: while a probe runs, the probe's */
    _Atomic uint32_t looks;
    _Alignas(64) _Atomic usec_t due; /* the next look */
    _Atomic bool looking;            /* somebody does; what follows is theirs */
    struct concurrency_limit state;
    /* At the last look. */
    uint64_t seen[HISTOGRAM_BUCKETS], seen_sum, seen_late, seen_early, seen_errors, seen_refused;
    _Atomic usec_t min_rtt; /* 0: not known */
    /* For people only. */
    _Atomic usec_t p90;
    _Atomic uint64_t probes;
    uint32_t n_workers;
    struct concurrency_worker worker[];
};

/* NULL when memory is short. */
struct concurrency *concurrency_new(uint32_t n_workers, const struct concurrency_rules *r);
/* Returns NULL; NULL is harmless. */
struct concurrency *concurrency_free(struct concurrency *c);

/* What of the limit a priority may use; others are in flight too. At least 1. */
uint32_t concurrency_share(uint32_t limit, enum priority p);

/* May a request go to the upstream now? On that worker's thread. True: it is in flight, and the
 * caller owes one concurrency_leave(). */
bool concurrency_enter(struct concurrency *c, const struct concurrency_rules *r, uint32_t worker,
                       enum priority p);
void concurrency_leave(struct concurrency *c);
/* An answer: how long it took. Looks, if it is time. */
void concurrency_answered(struct concurrency *c, const struct concurrency_rules *r, uint32_t worker,
                          usec_t latency, usec_t now);
/* An error: whoever fails at once says nothing about a queue. */
void concurrency_erred(struct concurrency *c, uint32_t worker);
/* Its client has left, or its time was over, without an answer. Under overload that may be all
 * that is ever heard. What was waited for less than minRTT says nothing. */
void concurrency_left(struct concurrency *c, const struct concurrency_rules *r, uint32_t worker,
                      usec_t waited, usec_t now);

/* As it stands, for people: each number is right, together they may be of different moments. */
struct concurrency_view {
    uint32_t limit, in_flight;
    usec_t min_rtt, p90; /* 0: not known yet */
    uint64_t probes;
    uint64_t refused[2][PRIORITIES];
};
void concurrency_look(const struct concurrency *c, const struct concurrency_rules *r,
                      struct concurrency_view *ret);

#endif
