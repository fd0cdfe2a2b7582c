/* pool_time.c - what ends by time in a pool: idle connections, those being made, those that wait.
 */
#include "proxy/pool.h"

#include "proxy/endpoint.h"
#include "proxy/stream.h"
#include "proxy/upstream.h"
#include "proxy/upstream_tls.h"
#include "proxy/worker.h"

enum { REFILL_MS = 1000 };

void pool_wake_at(struct pool *p, usec_t at)
{
    if (at != USEC_NEVER && (p->timer.at == 0 || at < p->timer.at))
        timer_set(&p->worker->loop, &p->timer, at);
}

/* Times and limits are the configuration's of the moment, also for what began before it. */
usec_t pool_connect_deadline(const struct pool *p, const struct upstream_conn *u)
{
    return u->opened + p->conf->connect_timeout;
}

usec_t pool_idle_end(const struct pool *p, const struct upstream_conn *u)
{
    usec_t told = u->told_idle_timeout;
    return u->idle_since + (told != USEC_NEVER ? told : p->conf->idle_timeout);
}

/* Who has a connection being made is not meant: that has a time of its own. The others are in the
 * order of their times, and the end of one is never the end of another. Returns when the next is
 * due; USEC_NEVER: none. */
static usec_t expire_queue(struct pool *p, usec_t now)
{
    LIST_FOREACH_SAFE (it, &p->waiting) {
        struct stream *s = LIST_ENTRY(it, struct pool_wait, link)->stream;
        if (s->exchange->wait.making)
            continue;
        usec_t until = s->exchange->wait.since + p->conf->queue_timeout;
        if (now < until)
            return until;
        pool_leave_queue(p, s);
        stream_on_refused(s, REASON_QUEUE_TIMEOUT);
    }
    return USEC_NEVER;
}

static void expire_connecting(struct pool *p, usec_t now)
{
    struct list *first;
    while ((first = list_first(&p->connecting)) != NULL) {
        struct upstream_conn *u = LIST_ENTRY(first, struct upstream_conn, link);
        if (now < pool_connect_deadline(p, u))
            break;
        upstream_tls_timed_out(u);
        pool_on_connect_failed(p, u, REASON_CONNECT_TIMEOUT);
    }
}

static void expire_idle(struct pool *p, usec_t now)
{
    LIST_FOREACH_SAFE (it, &p->idle) {
        struct upstream_conn *u = LIST_ENTRY(it, struct upstream_conn, link);
        if (now >= pool_idle_end(p, u) && p->n_idle > p->conf->min_idle)
            upstream_close(u);
        else if (now >= pool_idle_end(p, u))
            u->idle_since = now;
    }
}

/* A reload may have raised a limit. */
static void offer_room(struct pool *p)
{
    bool again = !list_empty(&p->waiting);
    while (again) {
        again = false;
        LIST_FOREACH (it, &p->active) {
            struct upstream_conn *u = LIST_ENTRY(it, struct upstream_conn, link);
            again = u->h2 && pool_has_room(p, u) && pool_hand_over(p, u);
            if (again)
                break;
        }
    }
}

void pool_on_timer(struct timer *t)
{
    struct pool *p = CONTAINER_OF(t, struct pool, timer);
    usec_t now = p->worker->loop.now;
    expire_connecting(p, now);
    expire_idle(p, now);
    offer_room(p);
    pool_slot_free(p);
    pool_wake_at(p, expire_queue(p, now));
    pool_fill(p);
    LIST_FOREACH (it, &p->idle)
        pool_wake_at(p, pool_idle_end(p, LIST_ENTRY(it, struct upstream_conn, link)));
    struct list *first = list_first(&p->connecting);
    if (first)
        pool_wake_at(p, pool_connect_deadline(p, LIST_ENTRY(first, struct upstream_conn, link)));
}

void pool_fill(struct pool *p)
{
    while (!p->retired && p->n_idle + p->n_connecting < p->conf->min_idle) {
        enum reason why = REASON_NONE;
        struct endpoint *e = endpoint_choose_next(p);
        if (!e || !pool_take_slot(p))
            return;
        if (!pool_open(p, e, false, &why)) {
            pool_wake_at(p, p->worker->loop.now + REFILL_MS * USEC_PER_MSEC);
            return;
        }
    }
}
