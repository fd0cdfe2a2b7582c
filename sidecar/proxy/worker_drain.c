/* worker_drain.c - a worker's part in the drain: its listeners, its idle and its busy connections.
 */
#include "proxy/worker.h"

#include "proxy/downstream.h"
#include "proxy/listener.h"
#include "proxy/stream.h"
#include "proxy/view.h"
#include "proxy/websocket_tunnel.h"

void worker_drain_tick(struct timer *t);

enum { TICK_MS = 10 };

static uint32_t count(const struct list *l)
{
    uint32_t n = 0;
    LIST_FOREACH (it, l)
        n++;
    return n;
}

static void close_idle(struct list *it)
{
    downstream_idle_close(LIST_ENTRY(it, struct downstream, link));
}

static void close_websocket(struct list *it)
{
    websocket_tunnel_close(LIST_ENTRY(it, struct websocket_tunnel, link), WEBSOCKET_GOING_AWAY,
                           REASON_DRAINING);
}

usec_t worker_close_some(struct list *list, void (*close)(struct list *it), usec_t *next,
                         usec_t now, usec_t until)
{
    usec_t tick = TICK_MS * USEC_PER_MSEC;
    if (now < *next && now < until)
        return *next - now;
    uint32_t n = count(list), due = drain_due(n, now, until, tick), rest = n - due;
    /* One that is young or has unread bytes stays: look at each once, and at no more than there
     * are. */
    struct list left, *it;
    list_init(&left);
    list_move(list, &left);
    for (; due > 0 && (it = list_step(&left, list)); due--)
        close(it);
    list_move(&left, list);
    usec_t wait = rest > 0 && now < until ? max_u64(tick, (until - now) / rest) : tick;
    *next = now + wait;
    return wait;
}

/* Longest idle first, and WebSockets, longest open first. */
static usec_t close_of(struct worker *w, enum direction dir)
{
    struct population *p = &w->population[dir];
    usec_t from, until, now = w->loop.now;
    drain_idle_window(&w->process->drain, &from, &until);
    if (now < from)
        return from - now;
    usec_t wait = worker_close_some(&p->idle, close_idle, &p->idle_next, now, until);
    return min_u64(
        wait, worker_close_some(&p->websockets, close_websocket, &p->websockets_next, now, until));
}

void worker_drain_tick(struct timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, drain_tick);
    enum drain_phase phase = worker_phase(w);
    bool leave = phase == DRAIN_SERVING &&
                 drain_leave_for(&w->process->drain, DIRECTION_INBOUND) == DRAIN_LEAVE_ASKED;
    if (phase != DRAIN_DRAIN && phase != DRAIN_LAST_CALL && !leave)
        return;
    usec_t wait = close_of(w, DIRECTION_INBOUND);
    if (drain_by_upgrade(&w->process->drain))
        wait = min_u64(wait, close_of(w, DIRECTION_OUTBOUND));
    timer_set(&w->loop, t, w->loop.now + wait);
}

/* Calls op on each. An op may close its connection, and where memory is short, or a call's deadline
 * has passed, change the place of others. */
static void each(struct list *l, void (*op)(struct downstream *))
{
    struct list left, *it;
    list_init(&left);
    list_move(l, &left);
    while ((it = list_step(&left, l)))
        op(LIST_ENTRY(it, struct downstream, link));
}

static void last_call_one(struct downstream *d)
{
    d->ops->last_call(d);
}

static void notice_one(struct downstream *d)
{
    d->ops->notice(d);
}

static void notice(struct worker *w, enum direction dir)
{
    each(&w->population[dir].idle, notice_one);
    each(&w->population[dir].active, notice_one);
}

static void force_tunnels(struct downstream *d)
{
    d->ops->force(d, FORCE_TUNNELS);
}

static void force_streaming(struct downstream *d)
{
    d->ops->force(d, FORCE_STREAMING);
}

static void force_all(struct downstream *d)
{
    d->ops->force(d, FORCE_ALL);
}

static void force(struct worker *w, enum direction dir)
{
    struct population *p = &w->population[dir];
    each(&p->idle, force_all);
    each(&p->active, force_tunnels);
    each(&p->active, force_streaming);
    each(&p->active, force_all);
}

static void stop_listeners(struct worker *w, enum direction dir)
{
    const struct view *v = w->view;
    for (uint32_t i = 0; v && i < v->snapshot->conf->n_listeners; i++) {
        if (v->listeners[i]->conf->direction == dir)
            listener_empty(v->listeners[i]);
    }
}

static void on_phase(struct mail *m, void *owner)
{
    struct worker *w = owner;
    switch (CONTAINER_OF(m, struct phase_mail, mail)->phase) {
    case DRAIN_DRAIN:
        notice(w, DIRECTION_INBOUND);
        if (drain_by_upgrade(&w->process->drain))
            notice(w, DIRECTION_OUTBOUND);
        timer_set(&w->loop, &w->drain_tick, w->loop.now);
        break;
    case DRAIN_LAST_CALL:
        each(&w->population[DIRECTION_INBOUND].active, last_call_one);
        if (drain_by_upgrade(&w->process->drain))
            each(&w->population[DIRECTION_OUTBOUND].active, last_call_one);
        break;
    case DRAIN_FORCE:
        force(w, DIRECTION_INBOUND);
        break;
    case DRAIN_CLEANUP:
        stop_listeners(w, DIRECTION_OUTBOUND);
        force(w, DIRECTION_OUTBOUND);
        break;
    default:
        break;
    }
}

void worker_drain(struct worker *w, enum drain_phase phase)
{
    struct phase_mail *pm = &w->phase_mails[phase];
    pm->phase = phase;
    mailbox_post(&w->mailbox, &pm->mail, on_phase);
}

/* Meanwhile the drain may have begun, or it is over again. */
static void on_leave(struct mail *m, void *owner)
{
    struct worker *w = owner;
    atomic_store(&CONTAINER_OF(m, struct worker, leave_mail)->leave_posted, false);
    if (worker_phase(w) != DRAIN_SERVING ||
        drain_leave_for(&w->process->drain, DIRECTION_INBOUND) != DRAIN_LEAVE_ASKED)
        return;
    notice(w, DIRECTION_INBOUND);
    timer_set(&w->loop, &w->drain_tick, w->loop.now);
}

void worker_leave(struct worker *w)
{
    if (!atomic_exchange(&w->leave_posted, true))
        mailbox_post(&w->mailbox, &w->leave_mail, on_leave);
}

void worker_close_listeners(struct worker *w, enum direction d)
{
    stop_listeners(w, d);
}

void worker_close_left(struct worker *w)
{
    LIST_FOREACH_SAFE (it, &w->leaving)
        listener_empty(LIST_ENTRY(it, struct listener, link));
}
