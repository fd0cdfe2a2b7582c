/* view.c - a worker takes a snapshot in, and leaves an old one when its last stream has ended. */
#include "proxy/view.h"

#include "base/mem.h"
#include "proxy/listener.h"
#include "proxy/pool.h"
#include "proxy/route_state.h"
#include "proxy/stream.h"
#include "proxy/upstream_shared.h"
#include "proxy/view_reseat.h"
#include "proxy/worker.h"

enum { ENDPOINTS_A_PIECE = 32 }; /* of a turn (loop_spend()): listed, or let go */

/* --- holding --- */

/* At the end of the loop turn: no stack frame is in one of its pools any more. */
static void view_reaped(struct reap *r)
{
    struct view *v = CONTAINER_OF(r, struct view, reap);
    struct process *p = v->worker->process;
    v->leaving = false;
    if (count_read(&v->held) > 0 || p->stopping)
        return;
    list_remove(&v->link);
    mailbox_post(p->control, &v->out, p->on_view_left);
}

static void leave_if_unused(struct view *v)
{
    if (count_read(&v->held) > 0 || view_in_force(v) || v->leaving)
        return;
    v->leaving = true;
    loop_reap(&v->worker->loop, &v->reap, view_reaped);
}

void view_hold(struct view *v, struct stream *s)
{
    s->view = v;
    list_push_back(&v->streams, &s->link);
    count_add(&v->held, 1);
}

void view_release(struct view *v, struct stream *s)
{
    list_remove(&s->link);
    count_add(&v->held, -1);
    leave_if_unused(v);
}

void view_hold_listener(struct view *v)
{
    count_add(&v->held, 1);
}

void view_release_listener(struct view *v)
{
    count_add(&v->held, -1);
    leave_if_unused(v);
}

/* --- taking it in --- */

static void take_routes(struct view *v)
{
    for (uint32_t i = 0; i < v->change->n_routes; i++) {
        struct route_change *rc = &v->change->routes[i];
        struct route_slot *slot = &v->routes[rc->now->index];
        rc->fresh = route_state_adopt(slot->state, rc->was, rc->now, rc->fresh, slot->shape,
                                      &v->worker->loop.rng);
    }
}

/* A pool's settings and its endpoints go together, so that no request meets the ones without the
 * others. False: the turn has had enough, and some have yet to come. */
static bool take_pools(struct view *v)
{
    const struct conf *c = v->snapshot->conf;
    struct view_change *change = v->change;
    while (change->n_taken < c->n_upstreams) {
        uint32_t i = change->n_taken;
        struct pool *p = v->pools[i];
        struct endpoint_list *list = change->lists ? change->lists[i] : NULL;
        if (!loop_spend(&v->worker->loop, 1 + (list ? list->n / ENDPOINTS_A_PIECE : 0)))
            return false;
        change->n_taken++;
        pool_configure(p, &c->upstreams[i]);
        if (list) {
            change->lists[i] = NULL;
            (void)pool_set_endpoints(p, list);
        }
        pool_fill(p);
    }
    return true;
}

static void retire_pools(struct view *v)
{
    for (uint32_t i = 0; i < v->change->n_retired; i++)
        pool_retire(v->change->retired[i]);
}

static void take_listeners(struct view *v)
{
    const struct conf *c = v->snapshot->conf;
    for (uint32_t i = 0; i < v->change->n_leaving; i++)
        listener_leave(v->change->leaving[i].listener, &v->change->leaving[i], v->change);
    for (uint32_t i = 0; i < c->n_listeners; i++)
        listener_enter(v->listeners[i], v, &c->listeners[i]);
}

static void into_force(struct view *v, usec_t now)
{
    struct worker *w = v->worker;
    struct view *old = w->view;

    w->view = v;
    take_routes(v);
    retire_pools(v);
    take_listeners(v);
    if (old) {
        old->replaced = now;
        list_push_back(&w->old_views, &old->link);
        leave_if_unused(old);
        view_reseat(w);
    }
}

static void on_view(struct mail *m, void *owner)
{
    struct view *v = CONTAINER_OF(m, struct view, in);
    struct worker *w = owner;
    usec_t began = clock_mono();
    usec_t longest = v->change->n_taken > 0 ? count_read(&w->stats.swap_us) : 0;
    bool whole = take_pools(v);

    if (whole)
        into_force(v, began);
    atomic_store_explicit(&w->stats.swap_us, max_u64(longest, clock_mono() - began),
                          memory_order_relaxed);
    if (!whole)
        mailbox_again(&w->mailbox, m);
    else if (!w->process->stopping)
        mailbox_post(w->process->control, &v->in, w->process->on_view_entered);
}

void view_post(struct view *v)
{
    mailbox_post(&v->worker->mailbox, &v->in, on_view);
}

/* Hundreds of connections and endpoints are let go in several turns. */
static void bury(struct timer *t)
{
    struct view *v = CONTAINER_OF(t, struct view, bury);
    struct worker *w = v->worker;
    while (v->n_dead > 0) {
        struct pool *p = v->dead[v->n_dead - 1];
        if (pool_close_some(p) || !loop_spend(&w->loop, 1 + p->n_endpoints / ENDPOINTS_A_PIECE)) {
            timer_set(&w->loop, &v->bury, w->loop.now);
            return;
        }
        v->n_dead--;
        v->dead[v->n_dead] = pool_free(p);
    }
    if (!w->process->stopping)
        mailbox_post(w->process->control, &v->out, w->process->on_view_freed);
}

static void on_dead(struct mail *m, void *owner)
{
    (void)owner;
    bury(&CONTAINER_OF(m, struct view, out)->bury);
}

void view_init(struct view *v, struct worker *w)
{
    v->worker = w;
    list_init(&v->streams);
    timer_init(&v->bury, bury);
}

void view_post_dead(struct view *v)
{
    mailbox_post(&v->worker->mailbox, &v->out, on_dead);
}
