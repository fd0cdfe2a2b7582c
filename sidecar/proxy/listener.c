/* listener.c - accepting, within the limits; coming and going with snapshots. */
#include "proxy/listener.h"

#include "base/mem.h"
#include "io/socket.h"
#include "proxy/downstream.h"
#include "proxy/view.h"
#include "proxy/worker.h"

#include <errno.h>
#include <unistd.h>

enum {
    /* One event takes at most this many, so that a burst of connections does not starve requests.
     */
    ACCEPT_BATCH = 32,
};

/* --- accepting --- */

/* A connection more would be over the process's limit. Workers that look at the same moment may go
 * over it by one each; so with a listener's. */
static bool process_full(const struct process *p)
{
    return atomic_load_explicit(&p->connections, memory_order_relaxed) >=
           atomic_load_explicit(&p->max_connections, memory_order_relaxed);
}

static bool listener_full(const struct listener *l)
{
    return atomic_load_explicit(&l->shared->open, memory_order_relaxed) >= l->conf->max_connections;
}

/* False when there is nothing more to accept now. */
static bool accept_one(struct listener *l)
{
    struct address peer;
    if (process_full(l->worker->process)) {
        worker_pause_accept(l->worker);
        return false;
    }
    if (listener_full(l)) {
        worker_pause_listener(l->worker, l);
        return false;
    }
    int fd = socket_accept(l->fd, &peer);
    if (fd < 0) {
        /* No fds, no memory: the connections wait in the backlog, and the loop does not spin. */
        if (fd != -EAGAIN)
            worker_pause_accept(l->worker);
        return false;
    }
    count_add(&l->stats.accepted, 1);
    if (!downstream_open(l->worker, l, fd, &peer))
        count_add(&l->stats.refused, 1);
    return true;
}

static void on_acceptable(struct ev_loop *ev, struct ev_io *w, int events)
{
    struct listener *l = CONTAINER_OF(w, struct listener, io);
    (void)ev;
    (void)events;
    for (int i = 0; i < ACCEPT_BATCH && l->accepting; i++) {
        if (!accept_one(l))
            return;
    }
}

void listener_start(struct listener *l)
{
    bool overloaded = overload_word_acts(worker_overload(l->worker)) >= OVERLOAD_NO_CONNECTIONS;
    if (l->accepting || l->fd < 0 || overloaded) /* then it comes again (worker_overload.c) */
        return;
    l->accepting = true;
    ev_io_start(l->worker->loop.ev, &l->io);
}

void listener_stop(struct listener *l)
{
    l->accepting = false;
    ev_io_stop(l->worker->loop.ev, &l->io);
}

/* --- the end of one that leaves --- */

static void listener_reaped(struct reap *r)
{
    struct listener *l = CONTAINER_OF(r, struct listener, reap);
    (void)listener_free(l);
}

static void gone_if_done(struct listener *l)
{
    if (!l->leaving || l->fd >= 0 || count_read(&l->stats.open) > 0 || !list_linked(&l->link))
        return;
    list_remove(&l->link);
    view_release_listener(l->view);
    loop_reap(&l->worker->loop, &l->reap, listener_reaped);
}

void listener_empty(struct listener *l)
{
    while (l->fd >= 0 && accept_one(l))
        ;
    listener_stop(l);
    l->fd = -1;
    gone_if_done(l);
}

void listener_count(struct listener *l, int change)
{
    count_add(&l->stats.open, change);
    if (change > 0) {
        (void)atomic_fetch_add_explicit(&l->shared->open, 1, memory_order_relaxed);
        return;
    }
    (void)atomic_fetch_sub_explicit(&l->shared->open, 1, memory_order_relaxed);
    gone_if_done(l);
}

/* --- with snapshots --- */

void listener_enter(struct listener *l, struct view *v, const struct conf_listener *conf)
{
    bool first = l->view == NULL;
    l->view = v;
    l->conf = conf;
    if (first)
        listener_start(l);
}

void listener_leave(struct listener *l, const struct listener_change *how,
                    const struct view_change *change)
{
    struct worker *w = l->worker;
    usec_t now = w->loop.now;
    l->leaving = true;
    l->force_at = now + change->drain_timeout;
    l->last_call_at = l->force_at - min_u64(change->last_call, change->drain_timeout);
    l->idle_from = min_u64(now + DRAIN_IDLE_LEAD, l->last_call_at);
    l->idle_until =
        l->idle_from + min_u64((l->last_call_at - l->idle_from) / 2, DRAIN_IDLE_WINDOW_MAX);
    view_hold_listener(l->view);
    list_push_back(&w->leaving, &l->link);
    if (how->keeps_fd) {
        /* What waits in the backlog is the other's. */
        listener_stop(l);
        l->fd = -1;
    }
    timer_set(&w->loop, &w->leave_timer, now);
    gone_if_done(l);
}

struct listener_shared *listener_shared_new(void)
{
    struct listener_shared *s = mem_zalloc(sizeof(*s));
    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    s->tls = tls_slot_new(NULL);
    if (s->tls)
        return s;
    free(s);
    return NULL;
}

void listener_shared_unref(struct listener_shared *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    (void)tls_slot_unref(s->tls);
    free(s);
}

struct listener *listener_new(struct worker *w, struct listener_shared *shared, int fd)
{
    struct listener *l = mem_zalloc(sizeof(*l));
    if (!l)
        return NULL;
    l->worker = w;
    l->shared = shared;
    l->fd = fd;
    (void)atomic_fetch_add(&shared->refs, 1);
    ev_io_init(&l->io, on_acceptable, fd, EV_READ);
    return l;
}

struct listener *listener_free(struct listener *l)
{
    if (!l)
        return NULL;
    CHECK(!ev_is_active(&l->io) && count_read(&l->stats.open) == 0);
    listener_shared_unref(l->shared);
    free(l);
    return NULL;
}
