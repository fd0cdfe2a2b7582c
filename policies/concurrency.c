/* concurrency.c - what workers share of an upstream's limit: who is in flight, and latencies. */
#include "policies/concurrency.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { LOW_PERCENT = 80, NORMAL_PERCENT = 95, CRITICAL_PERCENT = 110 };
/* How long an answer would have taken that somebody did not wait for: as long again. It is longer
 * than it was waited for, and if that counted as it is, clients that have no more patience than an
 * answer takes without a queue would never show that there is one. */
enum { LEFT_TIMES = 2 };

struct concurrency *concurrency_new(uint32_t n_workers, const struct concurrency_rules *r)
{
    size_t bytes = sizeof(struct concurrency) + n_workers * sizeof(struct concurrency_worker);
    /* A whole number of cache lines, as each worker's part is. */
    struct concurrency *c = mem_should_fail() ? NULL : aligned_alloc(64, bytes);
    if (!c)
        return NULL;
    memset(c, 0, bytes);
    c->n_workers = n_workers;
    concurrency_limit_init(&c->state, r);
    atomic_init(&c->limit, concurrency_limit_now(&c->state, r));
    return c;
}

struct concurrency *concurrency_free(struct concurrency *c)
{
    free(c);
    return NULL;
}

/* --- in flight --- */

/* Whatever the limit, each priority has something, and critical is always above the others. */
uint32_t concurrency_share(uint32_t limit, enum priority p)
{
    uint64_t whole = limit, share;
    if (p == PRIORITY_LOW)
        share = whole * LOW_PERCENT / 100;
    else if (p == PRIORITY_NORMAL)
        share = (whole * NORMAL_PERCENT + 99) / 100;
    else
        share = (whole * CRITICAL_PERCENT + 99) / 100;
    return share > 0 ? (uint32_t)share : 1;
}

/* A configuration with other bounds holds from its first request on. */
static uint32_t limit_now(const struct concurrency *c, const struct concurrency_rules *r)
{
    uint32_t limit = atomic_load_explicit(&c->limit, memory_order_relaxed);
    if (limit > r->max_limit)
        return r->max_limit;
    return limit < r->min_limit ? r->min_limit : limit;
}

static void add(_Atomic uint64_t *n)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void note_peak(struct concurrency *c, struct concurrency_worker *w, uint32_t in_flight)
{
    uint64_t look = atomic_load_explicit(&c->looks, memory_order_relaxed);
    uint64_t peak = atomic_load_explicit(&w->peak, memory_order_relaxed);
    if (peak >> 32 != look || (uint32_t)peak < in_flight)
        atomic_store_explicit(&w->peak, look << 32 | in_flight, memory_order_relaxed);
}

bool concurrency_enter(struct concurrency *c, const struct concurrency_rules *r, uint32_t worker,
                       enum priority p)
{
    struct concurrency_worker *w = &c->worker[worker];
    uint32_t most = concurrency_share(limit_now(c, r), p);
    uint32_t n = atomic_load_explicit(&c->in_flight, memory_order_relaxed);
    bool counted = false;
    do {
        if (n < most)
            continue;
        if (!counted)
            add(&w->refused[r->dry_run][p]);
        counted = true;
        if (!r->dry_run)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&c->in_flight, &n, n + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    note_peak(c, w, n + 1);
    return true;
}

void concurrency_leave(struct concurrency *c)
{
    (void)atomic_fetch_sub_explicit(&c->in_flight, 1, memory_order_relaxed);
}

/* --- looking --- */

/* 90 % of the counts are below it; within a bucket as if they were spread evenly. */
static usec_t p90_of(const uint64_t *counts, uint64_t n)
{
    uint64_t rank = (n * 9 + 9) / 10, seen = 0;
    uint32_t i = 0;
    while (i < HISTOGRAM_BUCKETS - 1 && seen + counts[i] < rank)
        seen += counts[i++];
    usec_t from = i > 0 ? histogram_upper(i - 1) : 0;
    return from + (histogram_upper(i) - from) * (rank - seen) / (counts[i] > 0 ? counts[i] : 1);
}

static uint32_t peak_of(const struct concurrency *c)
{
    uint64_t look = atomic_load_explicit(&c->looks, memory_order_relaxed);
    uint32_t most = atomic_load_explicit(&c->in_flight, memory_order_relaxed);
    for (uint32_t i = 0; i < c->n_workers; i++) {
        uint64_t peak = atomic_load_explicit(&c->worker[i].peak, memory_order_relaxed);
        if (peak >> 32 == look && (uint32_t)peak > most)
            most = (uint32_t)peak;
    }
    return most;
}

static uint64_t refused_of(const struct concurrency *c)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < c->n_workers; i++) {
        for (uint32_t k = 0; k < 2 * PRIORITIES; k++)
            n += atomic_load_explicit(&c->worker[i].refused[k / PRIORITIES][k % PRIORITIES],
                                      memory_order_relaxed);
    }
    return n;
}

static void look(struct concurrency *c, const struct concurrency_rules *r, usec_t now)
{
    uint64_t counts[HISTOGRAM_BUCKETS] = {0}, fresh[HISTOGRAM_BUCKETS], sum = 0;
    uint64_t refused = refused_of(c), late = 0, early = 0, errors = 0;
    struct concurrency_sample s = {.peak = peak_of(c), .refused = refused != c->seen_refused};
    for (uint32_t i = 0; i < c->n_workers; i++) {
        late += atomic_load_explicit(&c->worker[i].left_late, memory_order_relaxed);
        early += atomic_load_explicit(&c->worker[i].left_early, memory_order_relaxed);
        errors += atomic_load_explicit(&c->worker[i].errors, memory_order_relaxed);
        histogram_collect(&c->worker[i].latency, counts, &sum);
    }
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        fresh[i] = counts[i] - c->seen[i];
        s.n += fresh[i];
    }
    /* Its worker may be between counting one here and there. */
    s.late = late - c->seen_late < s.n ? late - c->seen_late : s.n;
    s.early = early - c->seen_early;
    s.errors = errors - c->seen_errors;
    if (s.n > 0) {
        s.p90 = p90_of(fresh, s.n);
        s.mean = (sum - c->seen_sum) / s.n;
    }
    bool taken, probed = c->state.phase == CONCURRENCY_SETTLE;
    usec_t due = concurrency_limit_step(&c->state, r, &s, now, &taken);
    atomic_store_explicit(&c->due, due, memory_order_relaxed);
    if (!taken)
        return;
    memcpy(c->seen, counts, sizeof(counts));
    c->seen_sum = sum;
    c->seen_refused = refused;
    c->seen_late = late;
    c->seen_early = early;
    c->seen_errors = errors;
    atomic_store_explicit(&c->looks, c->looks + 1, memory_order_relaxed);
    atomic_store_explicit(&c->limit, concurrency_limit_now(&c->state, r), memory_order_relaxed);
    if (s.n > 0)
        atomic_store_explicit(&c->p90, s.p90, memory_order_relaxed);
    atomic_store_explicit(&c->min_rtt, (usec_t)concurrency_limit_rtt(&c->state).p90,
                          memory_order_relaxed);
    if (!probed && c->state.phase == CONCURRENCY_SETTLE)
        add(&c->probes);
}

static void look_if_due(struct concurrency *c, const struct concurrency_rules *r, usec_t now)
{
    if (now < atomic_load_explicit(&c->due, memory_order_relaxed) ||
        atomic_load_explicit(&c->looking, memory_order_relaxed) ||
        atomic_exchange_explicit(&c->looking, true, memory_order_acquire))
        return;
    /* Another may have looked in between. */
    if (now >= atomic_load_explicit(&c->due, memory_order_relaxed))
        look(c, r, now);
    atomic_store_explicit(&c->looking, false, memory_order_release);
}

void concurrency_answered(struct concurrency *c, const struct concurrency_rules *r, uint32_t worker,
                          usec_t latency, usec_t now)
{
    histogram_add(&c->worker[worker].latency, latency);
    look_if_due(c, r, now);
}

void concurrency_erred(struct concurrency *c, uint32_t worker)
{
    add(&c->worker[worker].errors);
}

void concurrency_left(struct concurrency *c, const struct concurrency_rules *r, uint32_t worker,
                      usec_t waited, usec_t now)
{
    struct concurrency_worker *w = &c->worker[worker];
    usec_t min_rtt = atomic_load_explicit(&c->min_rtt, memory_order_relaxed);
    bool early = min_rtt == 0 || waited < min_rtt;
    add(early ? &w->left_early : &w->left_late);
    if (!early)
        histogram_add(&w->latency, LEFT_TIMES * waited);
    look_if_due(c, r, now);
}

void concurrency_look(const struct concurrency *c, const struct concurrency_rules *r,
                      struct concurrency_view *ret)
{
    *ret = (struct concurrency_view){
        .limit = limit_now(c, r),
        .in_flight = atomic_load_explicit(&c->in_flight, memory_order_relaxed),
        .min_rtt = atomic_load_explicit(&c->min_rtt, memory_order_relaxed),
        .p90 = atomic_load_explicit(&c->p90, memory_order_relaxed),
        .probes = atomic_load_explicit(&c->probes, memory_order_relaxed),
    };
    for (uint32_t i = 0; i < c->n_workers; i++) {
        for (uint32_t dry = 0; dry < 2; dry++) {
            for (uint32_t p = 0; p < PRIORITIES; p++)
                ret->refused[dry][p] +=
                    atomic_load_explicit(&c->worker[i].refused[dry][p], memory_order_relaxed);
        }
    }
}
