/* breaker_look.c - how a circuit breaker stands: for who asks on a request's way, and for people.
 */
#include "policies/breaker_word.h"

/* --- questions --- */

bool breaker_is_current(const struct breaker *b, uint32_t epoch)
{
    return (uint32_t)breaker_load(b) == epoch;
}

bool breaker_refuses(const struct breaker *b, usec_t now)
{
    struct breaker_word w = breaker_unpack(breaker_load(b));
    usec_t until;
    if (w.state == BREAKER_CLOSED || (w.state == BREAKER_HALF_OPEN && w.probe == PROBE_NONE))
        return false;
    return w.state == BREAKER_FORCED || !breaker_is_over(b, &w, now, &until);
}

usec_t breaker_opens_in(const struct breaker *b, usec_t now)
{
    struct breaker_word w = breaker_unpack(breaker_load(b));
    usec_t until;
    if (w.state != BREAKER_OPEN || !breaker_until(b, w.epoch, &until) || now >= until)
        return 0;
    return until - now;
}

/* --- for people --- */

const char *breaker_state_word(enum breaker_state s)
{
    static const char *const words[BREAKER_STATES] = {
        [BREAKER_CLOSED] = "closed",
        [BREAKER_OPEN] = "open",
        [BREAKER_HALF_OPEN] = "half_open",
        [BREAKER_FORCED] = "forced_open",
    };
    return words[s];
}

const char *breaker_cause_word(enum breaker_cause c)
{
    static const char *const words[BREAKER_CAUSES] = {
#define X(id, word) word,
        BREAKER_CAUSE_TABLE(X)
#undef X
    };
    return words[c];
}

void breaker_look(const struct breaker *b, const struct breaker_rules *r, usec_t now,
                  struct breaker_view *ret)
{
    struct breaker_word w = breaker_unpack(breaker_load(b));
    usec_t until;
    *ret = (struct breaker_view){
        .state = w.state,
        .since = atomic_load_explicit(&b->changed, memory_order_relaxed),
        .reopened = w.streak,
        .last_cause =
            (enum breaker_cause)atomic_load_explicit(&b->last_cause, memory_order_relaxed),
        .probes = atomic_load_explicit(&b->probes, memory_order_relaxed),
    };
    for (int i = 0; i < BREAKER_CAUSES; i++) {
        ret->opened[i] = atomic_load_explicit(&b->opened[i], memory_order_relaxed);
        ret->has_cause = ret->has_cause || ret->opened[i] > 0;
    }
    if (w.state == BREAKER_CLOSED) {
        ret->consecutive = w.count;
        for (int k = 0; k < CALL_KINDS; k++)
            ret->calls[k] = call_window_sum(&b->window, (enum call_kind)k, w.epoch, r->window, now);
        return;
    }
    bool over = breaker_is_over(b, &w, now, &until);
    if (w.state == BREAKER_OPEN && !over && breaker_until(b, w.epoch, &until))
        ret->opens_in = until - now;
    if (w.state != BREAKER_HALF_OPEN)
        return;
    ret->successes = w.count;
    ret->probing = w.probe != PROBE_NONE;
    /* Whoever asks next finds it so. */
    if (w.probe == PROBE_OUT && over) {
        ret->state = BREAKER_OPEN;
        ret->probing = false;
    }
}
