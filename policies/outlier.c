/* outlier.c - failures in a row, and how long an ejection lasts. */
#include "policies/outlier.h"

/* Far beyond any bound of the time: so that it decays within reason. */
enum { EJECTIONS_MAX = 64 };

const char *outlier_cause_word(enum outlier_cause c)
{
    static const char *const words[] = {
#define X(id, word) [OUTLIER_##id] = word,
        OUTLIER_CAUSE_TABLE(X)
#undef X
    };
    return (unsigned)c < OUTLIER_CAUSES ? words[c] : "";
}

/* Whatever its status, an answer says that it can be reached. */
static bool counts(enum outlier_cause streak, enum result r)
{
    switch (streak) {
    case OUTLIER_LOCAL:
        return result_local(r);
    case OUTLIER_GATEWAY:
        return result_local(r) || r == RESULT_GATEWAY;
    default:
        return result_failed(r);
    }
}

enum outlier_cause outlier_report(struct outlier *o, const struct outlier_rules *r,
                                  enum result result)
{
    enum outlier_cause cause = OUTLIER_NO_CAUSE;
    for (int i = OUTLIER_STREAKS - 1; i >= 0; i--) {
        _Atomic uint32_t *streak = &o->streak[i];
        if (counts((enum outlier_cause)i, result)) {
            uint32_t n = atomic_fetch_add_explicit(streak, 1, memory_order_relaxed) + 1;
            if (r->consecutive[i] > 0 && n >= r->consecutive[i])
                cause = (enum outlier_cause)i;
        } else if (atomic_load_explicit(streak, memory_order_relaxed) != 0) {
            atomic_store_explicit(streak, 0, memory_order_relaxed);
        }
    }
    return cause;
}

usec_t outlier_ejection(const struct outlier *o, const struct outlier_rules *r)
{
    usec_t times = atomic_load_explicit(&o->ejections, memory_order_relaxed) + (usec_t)1;
    if (r->base_ejection > r->max_ejection / times)
        return r->max_ejection;
    return r->base_ejection * times;
}

usec_t outlier_left(const struct outlier *o, usec_t now)
{
    usec_t until = atomic_load_explicit(&o->until, memory_order_acquire);
    if (until == 0)
        return USEC_NEVER;
    return until > now ? until - now : 0;
}

static void forget_streaks(struct outlier *o)
{
    for (int i = 0; i < OUTLIER_STREAKS; i++)
        atomic_store_explicit(&o->streak[i], 0, memory_order_relaxed);
}

bool outlier_eject(struct outlier *o, struct standing *s, struct standing_group *g,
                   const struct outlier_rules *r, enum outlier_cause cause, usec_t now,
                   usec_t *ret_length)
{
    if (!standing_eject(g, s, r->max_percent, r->dry_run))
        return false;
    /* One thread is here, until `until` says how long. */
    *ret_length = outlier_ejection(o, r);
    if (atomic_load_explicit(&o->ejections, memory_order_relaxed) < EJECTIONS_MAX)
        (void)atomic_fetch_add_explicit(&o->ejections, 1, memory_order_relaxed);
    atomic_store_explicit(&o->cause, cause, memory_order_relaxed);
    atomic_store_explicit(&o->until, now + *ret_length, memory_order_release);
    return true;
}

bool outlier_return(struct outlier *o, struct standing *s, struct standing_group *g, usec_t now)
{
    usec_t until = atomic_load_explicit(&o->until, memory_order_acquire);
    if (until == 0 || now < until || !(standing_word(s) & STANDING_EJECTIONS) ||
        !atomic_compare_exchange_strong(&o->until, &until, 0))
        return false;
    forget_streaks(o);
    return standing_return(g, s);
}

bool outlier_pardon(struct outlier *o, struct standing *s, struct standing_group *g)
{
    if (!(standing_word(s) & STANDING_EJECTIONS))
        return false;
    /* Who is just ejecting it has not said for how long: that one is left for the next time. */
    return outlier_return(o, s, g, USEC_NEVER);
}

void outlier_begin_anew(struct outlier *o)
{
    forget_streaks(o);
    atomic_store_explicit(&o->until, 0, memory_order_relaxed);
}

void outlier_decay(struct outlier *o, uint64_t requests, uint64_t failed)
{
    if (requests > 0 && failed < requests - failed &&
        atomic_load_explicit(&o->ejections, memory_order_relaxed) > 0)
        (void)atomic_fetch_sub_explicit(&o->ejections, 1, memory_order_relaxed);
}
