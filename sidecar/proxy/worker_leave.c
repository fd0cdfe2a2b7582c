/* worker_leave.c - the connections of listeners that a reload has removed: told to close, closed
 * when idle, and at the deadline closed whatever they do. The same timetable as a drain's, for one
 * listener. */
#include "proxy/worker.h"

#include "proxy/downstream.h"
#include "proxy/listener.h"
#include "proxy/websocket_tunnel.h"

#define TICK (20 * USEC_PER_MSEC)

static uint32_t count_of(const struct list *population, const struct listener *l)
{
    uint32_t n = 0;
    LIST_FOREACH (it, population)
        n += LIST_ENTRY(it, struct downstream, link)->listener == l;
    return n;
}

/* Calls op on at most n of the listener's connections. An op may close its connection, and change
 * the place of others. */
static void each_of(struct list *population, const struct listener *l, uint32_t n,
                    void (*op)(struct downstream *))
{
    struct list left, *it;
    list_init(&left);
    list_move(population, &left);
    while (n > 0 && (it = list_step(&left, population))) {
        struct downstream *d = LIST_ENTRY(it, struct downstream, link);
        if (d->listener != l)
            continue;
        op(d);
        n--;
    }
    list_move(&left, population);
}

static void notice_one(struct downstream *d)
{
    d->ops->notice(d);
}

static void last_call_one(struct downstream *d)
{
    d->ops->last_call(d);
}

static void force_one(struct downstream *d)
{
    d->ops->force(d, FORCE_ALL);
}

/* Longest idle first. */
static void close_idle(struct worker *w, struct listener *l, usec_t now)
{
    struct list *idle = &w->population[l->conf->direction].idle;
    if (now < l->idle_next)
        return;
    uint32_t all = count_of(idle, l);
    uint32_t n = drain_due(all, now, l->idle_until, TICK);
    each_of(idle, l, n, downstream_idle_close);
    if (all > n)
        l->idle_next = now + (l->idle_until - now) / (all - n);
}

/* Its WebSockets, longest open first, by the same timetable. */
static void close_websockets(struct worker *w, struct listener *l, usec_t now)
{
    struct list *open = &w->population[l->conf->direction].websockets;
    uint32_t all = 0;
    if (now < l->websockets_next)
        return;
    LIST_FOREACH (it, open)
        all += LIST_ENTRY(it, struct websocket_tunnel, link)->stream->accepted_on == l;
    uint32_t n = drain_due(all, now, l->idle_until, TICK);
    if (all > n)
        l->websockets_next = now + (l->idle_until - now) / (all - n);
    struct list left, *it;
    list_init(&left);
    list_move(open, &left);
    while (n > 0 && (it = list_step(&left, open))) {
        struct websocket_tunnel *t = LIST_ENTRY(it, struct websocket_tunnel, link);
        if (t->stream->accepted_on != l)
            continue;
        websocket_tunnel_close(t, WEBSOCKET_GOING_AWAY, REASON_ROUTE_REMOVED);
        n--;
    }
    list_move(&left, open);
}

static void advance(struct worker *w, struct listener *l, usec_t now)
{
    struct population *p = &w->population[l->conf->direction];
    if (now >= l->force_at && l->fd < 0) {
        each_of(&p->idle, l, UINT32_MAX, force_one);
        each_of(&p->active, l, UINT32_MAX, force_one);
        return;
    }
    if (!l->noticed) {
        l->noticed = true;
        each_of(&p->idle, l, UINT32_MAX, notice_one);
        each_of(&p->active, l, UINT32_MAX, notice_one);
    }
    if (now >= l->last_call_at && !l->last_called) {
        l->last_called = true;
        each_of(&p->active, l, UINT32_MAX, last_call_one);
    }
    if (now >= l->idle_from) {
        close_idle(w, l, now);
        close_websockets(w, l, now);
    }
}

void worker_leave_tick(struct timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, leave_timer);
    usec_t now = w->loop.now;
    /* One that has gone is freed at the end of the turn. */
    LIST_FOREACH_SAFE (it, &w->leaving)
        advance(w, LIST_ENTRY(it, struct listener, link), now);
    if (!list_empty(&w->leaving))
        timer_set(&w->loop, t, now + TICK);
}
