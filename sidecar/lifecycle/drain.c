/* drain.c - the end, by one deadline. */
#include "lifecycle/drain.h"

const char *drain_phase_word(enum drain_phase p)
{
    static const char *const words[DRAIN_PHASES] = {
        "serving", "notice", "drain", "last_call", "force", "egress_only", "cleanup", "exit",
    };
    return words[p];
}

const char *drain_trigger_word(enum drain_trigger t)
{
    static const char *const words[DRAIN_TRIGGERS] = {"signal",  "admin",   "resumed",
                                                      "upgrade", "prestop", "application"};
    return words[t];
}

void drain_init(struct drain *d)
{
    *d = (struct drain){0};
}

static void enter(struct drain *d, enum drain_phase p, usec_t now)
{
    d->began[p] = now;
    atomic_store_explicit(&d->phase, (int)p, memory_order_release);
}

static void publish(struct drain *d)
{
    atomic_store_explicit(&d->last_call_at, d->budget.last_call_at, memory_order_relaxed);
}

static enum budget_kind kind_of(enum drain_trigger t)
{
    return t == DRAIN_BY_UPGRADE   ? BUDGET_UPGRADE
           : t == DRAIN_BY_PRESTOP ? BUDGET_POD
                                   : BUDGET_HOST;
}

/* A second trigger. */
static void shorten_by(struct drain *d, const struct conf_lifecycle *c, enum drain_trigger trigger,
                       usec_t budget, usec_t now)
{
    struct budget other;
    if (trigger == DRAIN_BY_PRESTOP && d->budget.kind == BUDGET_HOST)
        budget_becomes_pod(&d->budget, &d->conf);
    budget_begin(&other, c, kind_of(trigger), now);
    usec_t deadline = budget > 0 ? min_u64(other.deadline, now + budget) : other.deadline;
    (void)budget_shorten(&d->budget, &d->conf, deadline, now);
    publish(d);
}

bool drain_begin(struct drain *d, const struct conf_lifecycle *c, enum drain_trigger trigger,
                 usec_t budget, usec_t since, usec_t now)
{
    if (d->started != 0) {
        shorten_by(d, c, trigger, budget, now);
        return false;
    }
    since = min_u64(since, now);
    d->conf = *c;
    d->trigger = trigger;
    d->ready_in_notice = trigger == DRAIN_BY_PRESTOP;
    atomic_store_explicit(&d->upgrade, trigger == DRAIN_BY_UPGRADE, memory_order_relaxed);
    d->started = since;
    d->started_wall = clock_wall() - (now - since);
    budget_begin(&d->budget, c, kind_of(trigger), since);
    if (budget > 0)
        (void)budget_shorten(&d->budget, c, now + budget, now);
    publish(d);
    enter(d, DRAIN_NOTICE, since);
    return true;
}

void drain_resume(struct drain *d, const struct conf_lifecycle *c, const struct drain_resumed *r,
                  usec_t now)
{
    d->conf = *c;
    d->trigger = DRAIN_BY_RESUME;
    d->started = min_u64(r->started, now);
    d->started_wall = clock_wall() - (now - d->started);
    d->ready_in_notice = r->pod && r->ready_in_notice;
    budget_resume(&d->budget, c, r->pod ? BUDGET_POD : BUDGET_HOST, d->started, r->deadline, now);
    if (r->notice_over)
        d->budget.notice_end = min_u64(d->budget.notice_end, now);
    publish(d);
    enter(d, DRAIN_NOTICE, now);
}

void drain_shorten(struct drain *d, usec_t at, usec_t now)
{
    (void)budget_shorten(&d->budget, &d->conf, at, now);
    publish(d);
}

void drain_force(struct drain *d, usec_t now)
{
    drain_shorten(d, now, now);
}

void drain_app_has_gone(struct drain *d)
{
    d->app_gone = true;
}

static bool egress_is_needed(const struct drain *d, const struct drain_facts *f)
{
    if (f->app != DRAIN_APP_UNKNOWN)
        return f->app == DRAIN_APP_ALIVE;
    /* What is unknown may still connect: in a pod our SIGTERM tells that it has gone. */
    return d->budget.kind == BUDGET_POD || f->outbound > 0;
}

enum drain_phase drain_step(struct drain *d, const struct drain_facts *f, usec_t now,
                            usec_t *ret_next)
{
    const struct budget *b = &d->budget;
    enum drain_phase p = drain_now(d);
    bool gone = d->app_gone || f->app == DRAIN_APP_GONE;

    *ret_next = USEC_NEVER;
    /* Who has been let in may still have something to read. */
    bool waits = f->inbound > 0 && !d->app_gone;
    /* Who comes behind DRAIN is refused, and nobody needs to: the application is there. */
    bool comes = f->busy && !gone;
    switch (p) {
    case DRAIN_SERVING:
    case DRAIN_EXIT:
    case DRAIN_PHASES:
        return p;
    case DRAIN_NOTICE:
        if (now < b->notice_end && !f->quiet && !d->app_gone) {
            *ret_next = b->notice_end;
            return p;
        }
        enter(d, DRAIN_DRAIN, now);
        break;
    case DRAIN_DRAIN:
        if ((waits || comes) && now < b->last_call_at) {
            *ret_next = b->last_call_at;
            return p;
        }
        enter(d, f->inbound > 0 ? DRAIN_LAST_CALL : DRAIN_EGRESS_ONLY, now);
        break;
    case DRAIN_LAST_CALL:
        if (waits && now < b->force_at) {
            *ret_next = b->force_at;
            return p;
        }
        enter(d, f->inbound > 0 ? DRAIN_FORCE : DRAIN_EGRESS_ONLY, now);
        break;
    case DRAIN_FORCE:
        enter(d, DRAIN_EGRESS_ONLY, now);
        break;
    case DRAIN_EGRESS_ONLY:
        if (!gone && now < b->cleanup_at && egress_is_needed(d, f)) {
            *ret_next = b->cleanup_at;
            return p;
        }
        enter(d, DRAIN_CLEANUP, now);
        break;
    case DRAIN_CLEANUP:
        if (!f->cleaned && now < b->deadline) {
            *ret_next = b->deadline;
            return p;
        }
        enter(d, DRAIN_EXIT, now);
        break;
    }
    return drain_now(d);
}

usec_t drain_phase_end(const struct drain *d)
{
    const struct budget *b = &d->budget;
    switch (drain_now(d)) {
    case DRAIN_NOTICE:
        return b->notice_end;
    case DRAIN_DRAIN:
        return b->last_call_at;
    case DRAIN_LAST_CALL:
    case DRAIN_FORCE:
        return b->force_at;
    case DRAIN_EGRESS_ONLY:
        return b->cleanup_at;
    case DRAIN_CLEANUP:
        return b->deadline;
    default:
        return 0;
    }
}

void drain_set_leave(struct drain *d, enum drain_leave leave, usec_t from, usec_t until)
{
    atomic_store_explicit(&d->leave_from, from, memory_order_relaxed);
    atomic_store_explicit(&d->leave_until, until, memory_order_relaxed);
    atomic_store_explicit(&d->leave, (int)leave, memory_order_release);
}

void drain_idle_window(const struct drain *d, usec_t *ret_from, usec_t *ret_until)
{
    usec_t lead = DRAIN_IDLE_LEAD;
    if (drain_now(d) == DRAIN_SERVING) {
        *ret_from = atomic_load_explicit(&d->leave_from, memory_order_relaxed) + lead;
        *ret_until =
            max_u64(*ret_from, atomic_load_explicit(&d->leave_until, memory_order_relaxed));
        return;
    }
    /* Responses carry Connection: close since the drain began, in NOTICE already. */
    usec_t from = d->started + lead;
    usec_t last_call = atomic_load_explicit(&d->last_call_at, memory_order_relaxed);
    from = max_u64(from, d->began[DRAIN_DRAIN]);
    from = min_u64(from, last_call);
    usec_t room = last_call - from;
    *ret_from = from;
    *ret_until = from + min_u64(room / 2, DRAIN_IDLE_WINDOW_MAX);
}

uint32_t drain_due(uint32_t n, usec_t now, usec_t until, usec_t tick)
{
    if (now >= until)
        return n;
    usec_t ticks = (until - now) / tick + 1;
    return (uint32_t)((n + ticks - 1) / ticks);
}
