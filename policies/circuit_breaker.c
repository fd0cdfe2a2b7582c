/* circuit_breaker.c - admission, results, and the changes of state that come of them: each one a
 * compare-and-swap of the word (breaker_word.h), by all workers. */
#include "policies/breaker_word.h"

#include "base/check.h"

/* False: *v is what stands there instead. */
static bool swap(struct breaker *b, uint64_t *v, struct breaker_word to)
{
    return atomic_compare_exchange_strong_explicit(&b->word, v, breaker_pack(to),
                                                   memory_order_acq_rel, memory_order_acquire);
}

static void count(_Atomic uint64_t *counter)
{
    (void)atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* --- the epoch's time --- */

static void tell_until(struct breaker *b, uint32_t epoch, usec_t at)
{
    usec_t ms =
        min_u64(at / USEC_PER_MSEC + (at % USEC_PER_MSEC != 0), (UINT64_C(1) << TIME_BITS) - 1);
    uint64_t is = (uint64_t)epoch << TIME_BITS | ms;
    uint64_t was = atomic_load_explicit(&b->until, memory_order_relaxed);
    do {
        /* Held up so long that a later epoch has told its own. */
        uint32_t ahead = (uint32_t)((was >> TIME_BITS) - (is >> TIME_BITS)) << 8;
        if (ahead != 0 && ahead < UINT32_C(1) << 31)
            return;
    } while (!atomic_compare_exchange_weak_explicit(&b->until, &was, is, memory_order_release,
                                                    memory_order_relaxed));
}

/* Never shorter than asked for, and up to a fifth longer: many sidecars do not come back at once.
 */
static usec_t open_time(const struct breaker_rules *r, uint32_t streak, uint64_t random)
{
    usec_t d = r->open_duration;
    while (streak-- > 0 && d < r->max_open_duration)
        d *= 2;
    d = min_u64(d, max_u64(r->max_open_duration, r->open_duration));
    return d + (usec_t)(((__extension__(unsigned __int128) random) * (d / 5 + 1)) >> 64);
}

/* --- changes of state --- */

static void note(struct breaker *b, const struct breaker_change *c, usec_t now)
{
    atomic_store_explicit(&b->changed, now, memory_order_relaxed);
    if (c->to != BREAKER_OPEN && c->to != BREAKER_FORCED)
        return;
    count(&b->opened[c->cause]);
    atomic_store_explicit(&b->last_cause, (uint32_t)c->cause, memory_order_relaxed);
}

/* Opens from `since` on. False: another was faster, *v is what stands there instead. */
static bool trip(struct breaker *b, const struct breaker_rules *r, uint64_t *v, usec_t since,
                 usec_t now, uint64_t random, struct breaker_change c,
                 struct breaker_change *change)
{
    struct breaker_word w = breaker_unpack(*v);
    uint32_t streak = w.state == BREAKER_CLOSED ? 0 : w.streak + (w.streak < STREAK_MAX);
    struct breaker_word to = {.state = BREAKER_OPEN, .streak = streak, .epoch = w.epoch + 1};
    if (!swap(b, v, to))
        return false;
    usec_t until = since + open_time(r, streak, random);
    tell_until(b, to.epoch, until);
    c.happened = true;
    c.from = w.state;
    c.to = BREAKER_OPEN;
    c.open_for = until > now ? until - now : 0;
    note(b, &c, now);
    *change = c;
    *v = breaker_pack(to);
    return true;
}

/* A probe has gone well. False as above. */
static bool probe_succeeded(struct breaker *b, const struct breaker_rules *r, uint64_t *v,
                            usec_t now, struct breaker_change *change)
{
    struct breaker_word w = breaker_unpack(*v), to = w;
    to.probe = PROBE_NONE;
    to.count = w.count + (w.count < COUNT_MAX);
    if (to.count >= r->half_open_successes)
        to = (struct breaker_word){.state = BREAKER_CLOSED, .epoch = w.epoch + 1};
    if (!swap(b, v, to))
        return false;
    if (to.state == BREAKER_CLOSED) {
        *change = (struct breaker_change){.happened = true,
                                          .from = BREAKER_HALF_OPEN,
                                          .to = BREAKER_CLOSED,
                                          .successes = w.count + 1};
        note(b, change, now);
    }
    *v = breaker_pack(to);
    return true;
}

/* --- admission --- */

/* The probe that is out has had its time. Its opening counts from there: where nobody has asked
 * since, that may be over too. */
static void settle_expired(struct breaker *b, const struct breaker_rules *r, uint64_t *v,
                           usec_t expired, usec_t now, uint64_t random,
                           struct breaker_change *change)
{
    if (breaker_unpack(*v).probe == PROBE_ANSWERED)
        (void)probe_succeeded(b, r, v, now, change);
    else
        (void)trip(b, r, v, expired, now, random,
                   (struct breaker_change){.cause = BREAKER_PROBE_TIMEOUT}, change);
}

static bool send_probe(struct breaker *b, const struct breaker_rules *r, uint64_t *v, usec_t now,
                       usec_t deadline, struct breaker_change *change)
{
    struct breaker_word w = breaker_unpack(*v), to = w;
    to.state = BREAKER_HALF_OPEN;
    to.probe = PROBE_OUT;
    to.count = w.state == BREAKER_HALF_OPEN ? w.count : 0;
    to.epoch = w.epoch + 1;
    if (!swap(b, v, to))
        return false;
    tell_until(b, to.epoch, min_u64(now + r->half_open_timeout, deadline));
    count(&b->probes);
    if (w.state == BREAKER_OPEN) {
        *change = (struct breaker_change){
            .happened = true, .from = BREAKER_OPEN, .to = BREAKER_HALF_OPEN};
        note(b, change, now);
    }
    *v = breaker_pack(to);
    return true;
}

enum breaker_verdict breaker_admit(struct breaker *b, const struct breaker_rules *r, usec_t now,
                                   usec_t deadline, uint64_t random, uint32_t *ret_epoch,
                                   struct breaker_change *change)
{
    uint64_t v = breaker_load(b);
    for (;;) {
        struct breaker_word w = breaker_unpack(v);
        usec_t until;
        if (w.state == BREAKER_CLOSED) {
            *ret_epoch = w.epoch;
            return BREAKER_ADMIT;
        }
        if (w.state == BREAKER_FORCED)
            return BREAKER_REFUSE;
        bool waits = w.state == BREAKER_OPEN || w.probe != PROBE_NONE;
        if (waits && !breaker_is_over(b, &w, now, &until))
            return BREAKER_REFUSE;
        if (w.state == BREAKER_HALF_OPEN && waits) {
            settle_expired(b, r, &v, until, now, random, change);
        } else if (send_probe(b, r, &v, now, deadline, change)) {
            *ret_epoch = (uint32_t)v;
            return BREAKER_PROBE;
        }
    }
}

/* --- results --- */

static bool over_rate(uint64_t bad, uint64_t calls, uint32_t percent, uint32_t min_requests)
{
    return percent > 0 && bad > 0 && calls >= min_requests && bad * 100 >= calls * percent;
}

/* Is the window's share of them too large? */
static bool rate_trips(const struct breaker *b, const struct breaker_rules *r, uint32_t epoch,
                       enum call_kind kind, usec_t now, struct breaker_change *c)
{
    uint32_t percent = kind == CALL_FAILED ? r->error_rate : r->slow_call_rate;
    c->cause = kind == CALL_FAILED ? BREAKER_ERROR_RATE : BREAKER_SLOW_CALLS;
    c->bad = call_window_sum(&b->window, kind, epoch, r->window, now);
    c->calls = call_window_sum(&b->window, CALL_ANY, epoch, r->window, now);
    return over_rate(c->bad, c->calls, percent, r->min_requests);
}

static void count_call(struct breaker *b, const struct breaker_rules *r, uint32_t epoch,
                       bool failed, bool slow, usec_t now)
{
    if (r->error_rate == 0 && r->slow_call_duration == 0)
        return;
    call_window_add(&b->window, CALL_ANY, epoch, r->window, now);
    if (failed && r->error_rate > 0)
        call_window_add(&b->window, CALL_FAILED, epoch, r->window, now);
    if (slow)
        call_window_add(&b->window, CALL_SLOW, epoch, r->window, now);
}

/* The row of failures goes on or ends, in the word of this epoch. False: it is another epoch's now.
 * *v is what stands there. */
static bool count_row(struct breaker *b, uint64_t *v, uint32_t epoch, bool failed)
{
    for (;;) {
        struct breaker_word w = breaker_unpack(*v), to = w;
        if (w.state != BREAKER_CLOSED || w.epoch != epoch)
            return false;
        to.count = failed ? w.count + (w.count < COUNT_MAX) : 0;
        if (to.count == w.count)
            return true;
        if (swap(b, v, to)) {
            *v = breaker_pack(to);
            return true;
        }
    }
}

static void report_closed(struct breaker *b, const struct breaker_rules *r, uint64_t v,
                          enum result result, bool slow, usec_t now, uint64_t random,
                          struct breaker_change *change)
{
    uint32_t epoch = (uint32_t)v;
    bool failed = result_failed(result), limited = result == RESULT_LIMITED;
    count_call(b, r, epoch, failed || limited, slow, now);
    if (!limited && !count_row(b, &v, epoch, failed))
        return;
    for (;;) {
        struct breaker_word w = breaker_unpack(v);
        struct breaker_change c = {0};
        if (w.state != BREAKER_CLOSED || w.epoch != epoch)
            return;
        if (failed && r->consecutive_errors > 0 && w.count >= r->consecutive_errors)
            c = (struct breaker_change){.cause = BREAKER_CONSECUTIVE, .bad = w.count};
        else if (!((failed || limited) && rate_trips(b, r, epoch, CALL_FAILED, now, &c)) &&
                 !(slow && rate_trips(b, r, epoch, CALL_SLOW, now, &c)))
            return;
        if (trip(b, r, &v, now, now, random, c, change))
            return;
    }
}

void breaker_report(struct breaker *b, const struct breaker_rules *r, uint32_t epoch,
                    enum result result, usec_t took, usec_t now, uint64_t random,
                    struct breaker_change *change)
{
    bool slow = r->slow_call_duration > 0 && took >= r->slow_call_duration;
    uint64_t v = breaker_load(b);
    for (;;) {
        struct breaker_word w = breaker_unpack(v);
        if (w.epoch != epoch)
            return;
        if (w.state == BREAKER_CLOSED) {
            if (result != RESULT_NOTHING && r->enabled)
                report_closed(b, r, v, result, slow, now, random, change);
            return;
        }
        if (w.state != BREAKER_HALF_OPEN || w.probe == PROBE_NONE)
            return;
        bool done;
        if (result == RESULT_NOTHING) {
            w.probe = PROBE_NONE;
            done = swap(b, &v, w);
        } else if (result_failed(result) || slow) {
            done = trip(b, r, &v, now, now, random,
                        (struct breaker_change){.cause = BREAKER_PROBE_FAILED}, change);
        } else {
            done = probe_succeeded(b, r, &v, now, change);
        }
        if (done)
            return;
    }
}

void breaker_answered(struct breaker *b, uint32_t epoch)
{
    uint64_t v = breaker_load(b);
    for (;;) {
        struct breaker_word w = breaker_unpack(v);
        if (w.epoch != epoch || w.state != BREAKER_HALF_OPEN || w.probe != PROBE_OUT)
            return;
        w.probe = PROBE_ANSWERED;
        if (swap(b, &v, w))
            return;
    }
}

/* --- an operator's word --- */

static bool order(struct breaker *b, enum breaker_state to, usec_t now,
                  struct breaker_change *change)
{
    uint64_t v = breaker_load(b);
    struct breaker_word w;
    do {
        w = breaker_unpack(v);
        if (w.state == BREAKER_FORCED && to == BREAKER_FORCED)
            return false;
    } while (!swap(b, &v, (struct breaker_word){.state = to, .epoch = w.epoch + 1}));
    if (w.state == to) /* only what was counted is gone */
        return false;
    *change = (struct breaker_change){
        .happened = true, .from = w.state, .to = to, .cause = BREAKER_OPERATOR};
    note(b, change, now);
    return true;
}

bool breaker_reset(struct breaker *b, usec_t now, struct breaker_change *change)
{
    return order(b, BREAKER_CLOSED, now, change);
}

bool breaker_force(struct breaker *b, usec_t now, struct breaker_change *change)
{
    return order(b, BREAKER_FORCED, now, change);
}
