/* worker.c - one thread that serves, from set-up to the last connection. */
#include "proxy/worker.h"

#include "base/mem.h"
#include "proxy/access_log.h"
#include "proxy/downstream.h"
#include "proxy/downstream_h2.h"
#include "proxy/listener.h"
#include "proxy/pool.h"
#include "proxy/stream.h"
#include "proxy/upstream.h"
#include "proxy/upstream_h2.h"
#include "proxy/view.h"
#include "proxy/websocket_tunnel.h"
#include "proxy/worker_overload.h"
#include "proxy/view_reseat.h"
#include "proxy/upstream_shared.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

enum { ACCEPT_RETRY_MS = 50 };

void worker_each_listener(struct worker *w, void (*fn)(struct listener *))
{
    for (uint32_t i = 0; w->view && i < w->view->snapshot->conf->n_listeners; i++)
        fn(w->view->listeners[i]);
    LIST_FOREACH_SAFE (it, &w->leaving)
        fn(LIST_ENTRY(it, struct listener, link));
}

static void on_accept_retry(struct timer *t)
{
    worker_each_listener(CONTAINER_OF(t, struct worker, accept_retry), listener_start);
}

static void retry_accept_soon(struct worker *w)
{
    count_add(&w->stats.accept_paused, 1);
    timer_set(&w->loop, &w->accept_retry, w->loop.now + ACCEPT_RETRY_MS * USEC_PER_MSEC);
}

void worker_pause_listener(struct worker *w, struct listener *l)
{
    listener_stop(l);
    retry_accept_soon(w);
}

void worker_pause_accept(struct worker *w)
{
    worker_each_listener(w, listener_stop);
    retry_accept_soon(w);
}

void worker_count_connection(struct worker *w, enum direction d, int change)
{
    struct process *p = w->process;
    count_add(&w->stats.connections, change);
    if (change > 0) {
        count_add(&w->stats.arrived[d], 1);
        (void)atomic_fetch_add_explicit(&p->connections, 1, memory_order_relaxed);
        (void)atomic_fetch_add_explicit(&p->open[d], 1, memory_order_relaxed);
        return;
    }
    (void)atomic_fetch_sub_explicit(&p->connections, 1, memory_order_relaxed);
    /* Whoever sees that it has gone sees that it was here, and what it asked for (drain). */
    (void)atomic_fetch_sub_explicit(&p->open[d], 1, memory_order_release);
    /* A place is free: no need to wait for the timer. */
    if (w->accept_retry.at != 0)
        timer_set(&w->loop, &w->accept_retry, w->loop.now);
    if (drain_now(&p->drain) != DRAIN_SERVING && p->changed)
        p->changed(p);
}

void worker_drain_tick(struct timer *t); /* worker_drain.c */

int worker_init(struct worker *w, uint32_t id, struct process *p)
{
    *w = (struct worker){.magic = WORKER_MAGIC, .id = id, .process = p};
    for (int d = 0; d < 2; d++) {
        list_init(&w->population[d].idle);
        list_init(&w->population[d].active);
        list_init(&w->population[d].websockets);
    }
    slab_init(&w->downstreams, sizeof(struct downstream));
    slab_init(&w->h2_requests, sizeof(struct h2_request));
    slab_init(&w->streams, sizeof(struct stream));
    slab_init(&w->exchanges, sizeof(struct exchange));
    slab_init(&w->websockets, sizeof(struct websocket_tunnel));
    slab_init(&w->upstreams, sizeof(struct upstream_conn));
    slab_init(&w->upstream_streams, sizeof(struct upstream_h2_stream));
    timer_init(&w->drain_tick, worker_drain_tick);
    timer_init(&w->accept_retry, on_accept_retry);
    timer_init(&w->leave_timer, worker_leave_tick);
    timer_init(&w->reseat_timer, view_reseat_tick);
    worker_overload_init(w);
    learn_worker_init(&w->learn);
    list_init(&w->old_views);
    list_init(&w->leaving);
    int rc = loop_init(&w->loop);
    if (rc < 0)
        return rc;
    mailbox_init(&w->mailbox, &w->loop, w);
    w->route_scratch = route_scratch_new();
    return w->route_scratch ? 0 : -ENOMEM;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    sigset_t all;
    char name[16];
    /* Signals are the control thread's. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    (void)snprintf(name, sizeof(name), "worker-%u", (unsigned)w->id);
    (void)pthread_setname_np(pthread_self(), name);
    loop_run(&w->loop);
    return NULL;
}

int worker_start(struct worker *w)
{
    int rc = pthread_create(&w->thread, NULL, worker_main, w);
    w->running = rc == 0;
    return -rc;
}

static void close_population(struct list *l)
{
    while (!list_empty(l)) {
        struct downstream *d = LIST_ENTRY(l->next, struct downstream, link);
        d->ops->force(d, FORCE_ALL);
    }
}

/* Without a socket the listener is gone with its last connection. */
static void leave_socket(struct listener *l)
{
    listener_stop(l);
    l->fd = -1;
}

void worker_leave_listeners(struct worker *w)
{
    worker_each_listener(w, leave_socket);
}

static void retire_pools(struct view *v)
{
    for (uint32_t i = 0; i < v->snapshot->conf->n_upstreams; i++)
        pool_retire(v->pools[i]);
}

/* The last mail: what is left ends here, on the thread that owns it. */
static void on_stop(struct mail *m, void *owner)
{
    struct worker *w = owner;
    (void)m;
    worker_each_listener(w, leave_socket);
    timer_stop(&w->loop, &w->accept_retry);
    timer_stop(&w->loop, &w->drain_tick);
    timer_stop(&w->loop, &w->leave_timer);
    timer_stop(&w->loop, &w->reseat_timer);
    worker_overload_stop(w);
    for (int d = 0; d < 2; d++) {
        close_population(&w->population[d].active);
        close_population(&w->population[d].idle);
    }
    learn_end_orphans(w);
    if (w->view)
        retire_pools(w->view);
    LIST_FOREACH (it, &w->old_views)
        retire_pools(LIST_ENTRY(it, struct view, link));
    loop_stop(&w->loop);
}

void worker_trim(struct worker *w)
{
    slab_trim(&w->downstreams);
    slab_trim(&w->h2_requests);
    slab_trim(&w->streams);
    slab_trim(&w->exchanges);
    slab_trim(&w->websockets);
    slab_trim(&w->upstreams);
    slab_trim(&w->upstream_streams);
    heap_cache_trim(&w->loop.bufs.small);
}

void worker_stop(struct worker *w)
{
    if (!w->running)
        return;
    mailbox_post(&w->mailbox, &w->stop_mail, on_stop);
    (void)pthread_join(w->thread, NULL);
    w->running = false;
}

void worker_end(struct worker *w)
{
    while (!list_empty(&w->leaving)) { /* without connections */
        struct listener *l = LIST_ENTRY(list_first(&w->leaving), struct listener, link);
        list_remove(&l->link);
        (void)listener_free(l);
    }
    if (w->loop.ev)
        mailbox_free(&w->mailbox);
}

void worker_free(struct worker *w)
{
    if (w->loop.ev)
        loop_free(&w->loop);
    /* The proof that nothing is left alive. */
    slab_free_all(&w->downstreams);
    slab_free_all(&w->h2_requests);
    slab_free_all(&w->streams);
    slab_free_all(&w->exchanges);
    slab_free_all(&w->websockets);
    slab_free_all(&w->upstreams);
    slab_free_all(&w->upstream_streams);
    learn_worker_free(&w->learn);
    w->route_scratch = route_scratch_free(w->route_scratch);
}
