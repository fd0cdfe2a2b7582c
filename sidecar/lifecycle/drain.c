/* drain.c - the end, by one deadline. */
#include "lifecycle/drain.h"

enum {
    SAFETY_MS = 500,    /* D lies this much before the grace's end */
    IDLE_LEAD_MS = 500, /* responses say close for this long before idle ones are closed */
    IDLE_WINDOW_MAX_MS = 5000,
};

const char *drain_phase_word(enum drain_phase p)
{
    static const char *const words[DRAIN_PHASES] = {
        "serving", "notice", "drain", "last_call", "force", "egress_only", "cleanup", "exit",
    };
    return words[p];
}

void drain_init(struct drain *d)
{
    *d = (struct drain){0};
}

static void enter(struct drain *d, enum drain_phase p, usec_t now)
{
    d->began[p] = now;
    atomic_store_explicit(&d->phase, (int)p, memory_order_relaxed);
}

/* The phases' ends from what is configured, none after D. */
static void derive(struct drain *d)
{
    usec_t notice = d->conf.notice_period;
    usec_t wanted = notice + d->conf.drain_timeout;
    usec_t budget = d->deadline > d->started ? d->deadline - d->started : 0;
    /* A budget so much shorter than configured that NOTICE would eat it is shared: requests need
     * time to end more than their senders need to be told. */
    if (budget + wanted / 20 < wanted && budget < notice + 2 * d->conf.last_call)
        notice = min_u64(notice, budget / 2);
    notice += d->started;
    usec_t force = notice + d->conf.drain_timeout;
    d->notice_end = min_u64(notice, d->deadline);
    d->force_at = min_u64(force, d->deadline);
    usec_t last_call = min_u64(d->conf.last_call, d->conf.drain_timeout);
    usec_t drain_from = min_u64(d->notice_end, d->force_at);
    usec_t at = d->force_at > last_call ? d->force_at - last_call : 0;
    atomic_store_explicit(&d->last_call_at, max_u64(at, drain_from), memory_order_relaxed);
}

bool drain_begin(struct drain *d, const struct conf_lifecycle *c, enum drain_trigger trigger,
                 usec_t budget, usec_t now)
{
    usec_t sum = c->notice_period + c->drain_timeout + c->app_cleanup;
    if (c->termination_grace > 0)
        sum = min_u64(sum, c->termination_grace);
    usec_t safety = min_u64(SAFETY_MS * USEC_PER_MSEC, sum / 20);
    bool upgrade = trigger == DRAIN_BY_UPGRADE;
    usec_t deadline = now + (upgrade ? c->drain_timeout : sum - safety);
    if (budget > 0)
        deadline = min_u64(deadline, now + budget);
    if (d->started != 0) {
        d->deadline = min_u64(d->deadline, deadline);
        derive(d);
        return false;
    }
    d->conf = *c;
    if (upgrade)
        d->conf.notice_period = 0;
    d->trigger = trigger;
    atomic_store_explicit(&d->upgrade, upgrade, memory_order_relaxed);
    d->started = now;
    d->started_wall = clock_wall();
    d->deadline = deadline;
    derive(d);
    enter(d, DRAIN_NOTICE, now);
    return true;
}

void drain_resume(struct drain *d, const struct conf_lifecycle *c, usec_t started, usec_t deadline,
                  usec_t now)
{
    d->conf = *c;
    d->trigger = DRAIN_BY_RESUME;
    d->started = min_u64(started, now);
    d->started_wall = clock_wall() - (now - d->started);
    d->deadline = deadline;
    derive(d);
    enter(d, DRAIN_NOTICE, now);
}

void drain_force(struct drain *d, usec_t now)
{
    d->deadline = min_u64(d->deadline, now);
    derive(d);
}

enum drain_phase drain_step(struct drain *d, uint64_t inbound_open, uint64_t outbound_open,
                            usec_t now, usec_t *ret_next)
{
    *ret_next = USEC_NEVER;
    for (;;) {
        enum drain_phase p = drain_now(d);
        switch (p) {
        case DRAIN_SERVING:
        case DRAIN_EXIT:
        case DRAIN_PHASES:
            return p;
        case DRAIN_NOTICE:
            if (now < d->notice_end) {
                *ret_next = d->notice_end;
                return p;
            }
            enter(d, DRAIN_DRAIN, now);
            return DRAIN_DRAIN;
        case DRAIN_DRAIN:
            if (inbound_open > 0 && now < d->last_call_at) {
                *ret_next = d->last_call_at;
                return p;
            }
            enter(d, inbound_open > 0 ? DRAIN_LAST_CALL : DRAIN_EGRESS_ONLY, now);
            return drain_now(d);
        case DRAIN_LAST_CALL:
            if (inbound_open > 0 && now < d->force_at) {
                *ret_next = d->force_at;
                return p;
            }
            enter(d, inbound_open > 0 ? DRAIN_FORCE : DRAIN_EGRESS_ONLY, now);
            return drain_now(d);
        case DRAIN_FORCE:
            enter(d, DRAIN_EGRESS_ONLY, now);
            return DRAIN_EGRESS_ONLY;
        case DRAIN_EGRESS_ONLY:
            if (outbound_open > 0 && now < d->deadline) {
                *ret_next = d->deadline;
                return p;
            }
            enter(d, DRAIN_CLEANUP, now);
            break;
        case DRAIN_CLEANUP:
            enter(d, DRAIN_EXIT, now);
            return DRAIN_EXIT;
        }
    }
}

void drain_idle_window(const struct drain *d, usec_t *ret_from, usec_t *ret_until)
{
    /* Responses carry Connection: close since the drain began, in NOTICE already. */
    usec_t from = d->started + IDLE_LEAD_MS * USEC_PER_MSEC;
    usec_t last_call = atomic_load_explicit(&d->last_call_at, memory_order_relaxed);
    from = max_u64(from, d->began[DRAIN_DRAIN]);
    from = min_u64(from, last_call);
    usec_t room = last_call - from;
    *ret_from = from;
    *ret_until = from + min_u64(room / 2, IDLE_WINDOW_MAX_MS * USEC_PER_MSEC);
}
