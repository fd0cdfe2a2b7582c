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
enum { STATE_AT = 62, PROBE_AT = 60, STREAK_AT = 55, COUNT_AT = 32 };
enum { STREAK_MAX = 31, COUNT_MAX = (1 << 23) - 1 };

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
    return (struct breaker_word){
        .state = (enum breaker_state)(v >> STATE_AT),
        .probe = (enum breaker_probe)(v >> PROBE_AT & 3),
        .streak = (uint32_t)(v >> STREAK_AT) & STREAK_MAX,
        .count = (uint32_t)(v >> COUNT_AT) & COUNT_MAX,
        .epoch = (uint32_t)v,
    };
}

static inline uint64_t breaker_pack(struct breaker_word w)
{
    return (uint64_t)w.state << STATE_AT | (uint64_t)w.probe << PROBE_AT |
           (uint64_t)w.streak << STREAK_AT | (uint64_t)w.count << COUNT_AT | w.epoch;
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
