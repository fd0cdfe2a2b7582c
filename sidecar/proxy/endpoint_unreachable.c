/* endpoint_unreachable.c - endpoints that packets do not get to: who says so, and who finds that it
 * is over.
 *
 * One bit for all workers, so that each does not have to lose requests to learn of it. The worker
 * that sets it tries connections that nobody waits for; the first that any worker makes clears it.
 */
#include "proxy/endpoint.h"

#include "proxy/pool.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

enum { TOLD_S = 10 };

bool endpoint_has_other(const struct endpoint *e)
{
    const struct pool *p = e->pool;
    for (uint32_t i = 0; i < p->n_endpoints; i++) {
        const struct endpoint *o = p->endpoints[i];
        if (o != e && o->avoid_until <= p->worker->loop.now && !endpoint_is_out(o) &&
            !endpoint_is_beyond(o))
            return true;
    }
    return false;
}

bool endpoint_other_heard(const struct endpoint *e, usec_t since)
{
    const struct pool *p = e->pool;
    for (uint32_t i = 0; i < p->n_endpoints; i++) {
        const struct endpoint *o = p->endpoints[i];
        if (o != e && o->heard_at > since && !endpoint_unreachable(o))
            return true;
    }
    return false;
}

static bool set_bit(struct endpoint *e)
{
    struct endpoint_shared *s = e->shared;
    return !endpoint_unreachable(e) && standing_set(s->group, &s->standing, STANDING_UNREACHABLE);
}

static void clear_bit(struct endpoint *e)
{
    struct endpoint_shared *s = e->shared;
    if (endpoint_unreachable(e) && standing_clear(s->group, &s->standing, STANDING_UNREACHABLE))
        log_info("upstream %.*s: endpoint %.*s can be reached", STR_FMT(e->pool->conf->name),
                 STR_FMT(s->text));
}

/* dryRun: one bit too, so that it is counted once for all workers. */
static bool say_lost(struct endpoint *e)
{
    struct endpoint_shared *s = e->shared;
    return standing_set(s->group, &s->standing, STANDING_UNREACHABLE_DRY_RUN);
}

/* One that flaps is not told each time. */
static void tell(struct endpoint *e, usec_t now)
{
    if (e->unreachable_told_at != 0 && now < e->unreachable_told_at + TOLD_S * USEC_PER_SEC)
        return;
    e->unreachable_told_at = now;
    log_warn("upstream %.*s: endpoint %.*s is unreachable%s: packets to it go unanswered",
             STR_FMT(e->pool->conf->name), STR_FMT(e->shared->text),
             e->pool->conf->unreachable_dry_run ? " (dryRun)" : "");
}

static void watch(struct endpoint *e)
{
    struct pool *p = e->pool;
    if (!list_linked(&e->unreachable_link))
        list_push_back(&p->unreachable, &e->unreachable_link);
    pool_wake_at(p, p->worker->loop.now);
}

void endpoint_lost(struct endpoint *e)
{
    bool dry_run = e->pool->conf->unreachable_dry_run;
    struct upstream_stats *stats = e->pool->stats;
    if (!endpoint_listed(e) || !endpoint_has_other(e) || !(dry_run ? say_lost(e) : set_bit(e)))
        return;
    count_add(dry_run ? &stats->unreachable_dry_run : &stats->unreachable, 1);
    tell(e, e->pool->worker->loop.now);
    if (!dry_run)
        watch(e);
}

void endpoint_suspect(struct endpoint *e)
{
    if (endpoint_listed(e) && !endpoint_unreachable(e) && endpoint_has_other(e) &&
        !e->pool->conf->unreachable_dry_run)
        watch(e);
}

void endpoint_heard(struct endpoint *e)
{
    struct endpoint_shared *s = e->shared;
    e->heard_at = e->pool->worker->loop.now;
    if (standing_word(&s->standing) & STANDING_UNREACHABLE_DRY_RUN)
        (void)standing_clear(s->group, &s->standing, STANDING_UNREACHABLE_DRY_RUN);
}

void endpoint_found(struct endpoint *e)
{
    endpoint_heard(e);
    clear_bit(e);
    list_remove(&e->unreachable_link);
}

void endpoint_unwatch(struct endpoint *e)
{
    if (!list_linked(&e->unreachable_link))
        return;
    list_remove(&e->unreachable_link);
    clear_bit(e); /* nobody would look after it */
}

static bool is_connecting(const struct pool *p, const struct endpoint *e)
{
    LIST_FOREACH (it, &p->connecting) {
        if (LIST_ENTRY(it, struct upstream_conn, link)->endpoint == e)
            return true;
    }
    return false;
}

/* False: there is no place for a connection, and requests have to find out. */
static bool test(struct pool *p, struct endpoint *e, usec_t now)
{
    enum reason why = REASON_NONE;
    e->tested_at = now;
    if (!pool_take_spare_slot(p, e))
        return false;
    (void)pool_open(p, e, false, &why); /* else the next time */
    return true;
}

usec_t endpoint_test_unreachable(struct pool *p, usec_t now)
{
    usec_t next = USEC_NEVER, every = p->conf->unreachable_after;
    LIST_FOREACH_SAFE (it, &p->unreachable) {
        struct endpoint *e = LIST_ENTRY(it, struct endpoint, unreachable_link);
        bool due = now >= e->tested_at + every && !is_connecting(p, e);
        if (every == 0 || p->conf->unreachable_dry_run || p->retired || (due && !test(p, e, now)))
            endpoint_unwatch(e);
        else
            next = min_u64(next, max_u64(e->tested_at + every, now + every / 4));
    }
    return next;
}
