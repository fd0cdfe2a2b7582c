/* rate_limit.c - a token bucket and two windows, in one word each. */
#include "policies/rate_limit.h"

/* --- token bucket: the time at which it is full again, in 1/65536 us --- */

enum { TIME_SHIFT = 16 };

/* What one token takes to come; rounded up, so that the rate is never passed. */
static uint64_t token_time(const struct rate_rule *r)
{
    return ((r->per << TIME_SHIFT) + r->requests - 1) / r->requests;
}

/* From empty to full. Years are as good as for ever, and leave room to add. */
static uint64_t bucket_time(const struct rate_rule *r, uint64_t token)
{
    const uint64_t most = UINT64_C(1) << 62;
    return token > most / r->burst ? most : token * r->burst;
}

/* A bucket that a slower rule has emptied is not emptier than empty. A caller whose `now` is ahead
 * of ours may have left somewhat more. */
static uint64_t of_this_rule(rate_word *w, uint64_t latest)
{
    const uint64_t ahead = (10 * USEC_PER_SEC) << TIME_SHIFT;
    uint64_t full_at = atomic_load_explicit(w, memory_order_relaxed);
    while (full_at > latest + ahead) {
        if (atomic_compare_exchange_weak_explicit(w, &full_at, latest, memory_order_relaxed,
                                                  memory_order_relaxed))
            return latest;
    }
    return full_at;
}

static struct rate_verdict take_token(rate_word *w, const struct rate_rule *r, usec_t now)
{
    uint64_t token = token_time(r), whole = bucket_time(r, token), t = now << TIME_SHIFT;
    uint64_t full_at = of_this_rule(w, t + whole), debt;
    do {
        debt = (full_at > t ? full_at - t : 0) + token;
        if (debt > whole)
            return (struct rate_verdict){.wait = ((debt - whole) >> TIME_SHIFT) + 1};
    } while (!atomic_compare_exchange_weak_explicit(w, &full_at, t + debt, memory_order_relaxed,
                                                    memory_order_relaxed));
    return (struct rate_verdict){true, 0, full_at, t + debt};
}

/* --- windows: the number of the present one, and counts --- */

struct windows {
    uint64_t id;
    uint32_t last, now; /* counts; a fixed window has no last */
};

/* The number is cut to what fits: a limit that nobody asked for just 2^24 windows (19 days of the
 * shortest) may take its last counts for those of now. */
static unsigned id_bits(const struct rate_rule *r)
{
    return r->algorithm == RATE_FIXED_WINDOW ? 32 : 24;
}

static struct windows unpack(const struct rate_rule *r, uint64_t word)
{
    if (r->algorithm == RATE_FIXED_WINDOW)
        return (struct windows){word >> 32, 0, (uint32_t)word};
    return (struct windows){word >> 40, (uint32_t)(word >> 20) & 0xfffff, (uint32_t)word & 0xfffff};
}

static uint64_t pack(const struct rate_rule *r, struct windows s)
{
    if (r->algorithm == RATE_FIXED_WINDOW)
        return s.id << 32 | s.now;
    return s.id << 40 | (uint64_t)s.last << 20 | s.now;
}

/* How far into its window `now` is. Somebody may have come with a later `now`: then that one's
 * window begins. */
static usec_t move_on(struct windows *s, const struct rate_rule *r, usec_t now)
{
    enum { BEHIND = 64 };
    uint64_t mask = (UINT64_C(1) << id_bits(r)) - 1;
    uint64_t id = (now / r->per) & mask, ahead = (id - s->id) & mask;
    if (ahead > mask - BEHIND)
        return 0;
    if (ahead > 0)
        *s = (struct windows){id, ahead == 1 ? s->now : 0, 0};
    return now % r->per;
}

/* Of the last window, how many the sliding one still covers. Rounded up. */
static uint32_t covered(const struct rate_rule *r, const struct windows *s, usec_t into)
{
    if (r->algorithm == RATE_FIXED_WINDOW)
        return 0;
    return (uint32_t)((s->last * (r->per - into) + r->per - 1) / r->per);
}

/* Into a window behind `last` requests: from when on at most `most` of them are covered. */
static usec_t covers_at_most(const struct rate_rule *r, uint32_t last, uint32_t most)
{
    return last <= most ? 0 : r->per - most * r->per / last;
}

static usec_t until_allowed(const struct rate_rule *r, const struct windows *s, usec_t into)
{
    if (r->algorithm == RATE_SLIDING_WINDOW && s->now < r->requests)
        return covers_at_most(r, s->last, r->requests - 1 - s->now) - into;
    usec_t next = r->per - into;
    return r->algorithm == RATE_FIXED_WINDOW ? next
                                             : next + covers_at_most(r, s->now, r->requests - 1);
}

static struct rate_verdict take_of_window(rate_word *w, const struct rate_rule *r, usec_t now)
{
    uint64_t word = atomic_load_explicit(w, memory_order_relaxed);
    struct windows s;
    uint32_t used;
    do {
        s = unpack(r, word);
        usec_t into = move_on(&s, r, now);
        used = s.now + covered(r, &s, into);
        if (used >= r->requests)
            return (struct rate_verdict){.wait = until_allowed(r, &s, into)};
        s.now++;
    } while (!atomic_compare_exchange_weak_explicit(w, &word, pack(r, s), memory_order_relaxed,
                                                    memory_order_relaxed));
    return (struct rate_verdict){true, 0, word, pack(r, s)};
}

/* --- any --- */

struct rate_verdict rate_take(rate_word *w, const struct rate_rule *r, usec_t now)
{
    return r->algorithm == RATE_TOKEN_BUCKET ? take_token(w, r, now) : take_of_window(w, r, now);
}

void rate_give_back(rate_word *w, const struct rate_verdict *v)
{
    uint64_t is = v->after;
    (void)atomic_compare_exchange_strong_explicit(w, &is, v->before, memory_order_relaxed,
                                                  memory_order_relaxed);
}

bool rate_is_unused(const rate_word *w, const struct rate_rule *r, usec_t now)
{
    uint64_t word = atomic_load_explicit(w, memory_order_relaxed);
    if (r->algorithm == RATE_TOKEN_BUCKET)
        return word <= now << TIME_SHIFT;
    struct windows s = unpack(r, word);
    usec_t into = move_on(&s, r, now);
    return s.now == 0 && covered(r, &s, into) == 0;
}
