/* breaker_word.h - the word that a circuit breaker is, and the time that belongs to it. Not for
 * others.
 *
 * The state, the epoch and what is counted stand in one word, so that a result counts for its epoch
 * or not at all, and of several workers that see the last failure one opens it. The time that
 * belongs to an epoch does not fit in. It follows in `until`, with the epoch's number: whoever
 * comes between the two takes it as not over. */
#ifndef SLUICE_POLICIES_BREAKER_WORD_H
#define SLUICE_POLICIES_BREAKER_WORD_H

#include "policies/circuit_breaker.h"

/* From the top: 2 bits of state, 2 of the probe, 5 how often it has reopened, 23 of the count, 32
 * of the epoch. */
enum { PROBE_BITS = 2, STREAK_BITS = 5, COUNT_BITS = 23, EPOCH_BITS = 32 };
enum { STREAK_MAX = (1 << STREAK_BITS) - 1, COUNT_MAX = (1 << COUNT_BITS) - 1 };

enum breaker_probe {
    PROBE_NONE,
    PROBE_OUT,
    PROBE_ANSWERED, /* its response has begun, and goes on */
};

struct breaker_word {
    enum breaker_state state;
    enum breaker_probe probe;
    uint32_t streak;
    uint32_t count; /* CLOSED: errors in a row; HALF_OPEN: good probes */
    uint32_t epoch;
};

static inline struct breaker_word breaker_unpack(uint64_t v)
{
    uint64_t counts = v >> EPOCH_BITS, states = counts >> (COUNT_BITS + STREAK_BITS);
    return (struct breaker_word){
        .state = (enum breaker_state)(states >> PROBE_BITS),
        .probe = (enum breaker_probe)(states & ((1 << PROBE_BITS) - 1)),
        .streak = (uint32_t)(counts >> COUNT_BITS) & STREAK_MAX,
        .count = (uint32_t)counts & COUNT_MAX,
        .epoch = (uint32_t)v,
    };
}

static inline uint64_t breaker_pack(struct breaker_word w)
{
    uint64_t v = w.state;
    v = v << PROBE_BITS | w.probe;
    v = v << STREAK_BITS | w.streak;
    v = v << COUNT_BITS | w.count;
    return v << EPOCH_BITS | w.epoch;
}

static inline uint64_t breaker_load(const struct breaker *b)
{
    return atomic_load_explicit(&b->word, memory_order_acquire);
}

/* --- the epoch's time: 24 bits of its number, 40 of milliseconds --- */

enum { TIME_BITS = 40 };

/* False: it is not told yet. */
static inline bool breaker_until(const struct breaker *b, uint32_t epoch, usec_t *ret)
{
    uint64_t v = atomic_load_explicit(&b->until, memory_order_acquire);
    *ret = (v & ((UINT64_C(1) << TIME_BITS) - 1)) * USEC_PER_MSEC;
    return v >> TIME_BITS == (epoch & 0xffffff);
}

static inline bool breaker_is_over(const struct breaker *b, const struct breaker_word *w,
                                   usec_t now, usec_t *ret_until)
{
    return breaker_until(b, w->epoch, ret_until) && now >= *ret_until;
}

#endif
