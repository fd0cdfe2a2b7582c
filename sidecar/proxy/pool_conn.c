/* pool_conn.c - a pool's connections: in which state each is, which is its list. */
#include "proxy/endpoint_limits.h"
#include "proxy/pool.h"
#include "proxy/pool_levels.h"
#include "proxy/stream.h"
#include "proxy/upstream.h"
#include "proxy/upstream_h2.h"
#include "proxy/worker.h"

enum { REFILL_MS = 1000 };

/* --- states --- */

static void enter(struct pool *p, struct upstream_conn *u, enum upstream_state state)
{
    u->state = (uint8_t)state;
    switch (state) {
    case UPSTREAM_CONNECTING:
        list_push_back(&p->connecting, &u->link);
        p->n_connecting++;
        count_add(&p->stats->connecting, 1);
        break;
    case UPSTREAM_IDLE:
        list_push_front(&p->idle, &u->link);
        list_push_front(&u->endpoint->idle, &u->endpoint_link);
        p->n_idle++;
        count_add(&p->stats->idle, 1);
        break;
    case UPSTREAM_ACTIVE:
        list_push_back(&p->active, &u->link);
        count_add(&p->stats->active, 1);
        break;
    case UPSTREAM_CLOSED:
        break;
    }
}

static void set_state(struct pool *p, struct upstream_conn *u, enum upstream_state state)
{
    list_remove(&u->link);
    list_remove(&u->endpoint_link);
    list_remove(&u->open_link);
    switch ((enum upstream_state)u->state) {
    case UPSTREAM_CONNECTING:
        p->n_connecting--;
        count_add(&p->stats->connecting, -1);
        break;
    case UPSTREAM_IDLE:
        p->n_idle--;
        count_add(&p->stats->idle, -1);
        break;
    case UPSTREAM_ACTIVE:
        count_add(&p->stats->active, -1);
        break;
    case UPSTREAM_CLOSED:
        break;
    }
    enter(p, u, state);
}

/* --- room --- */

bool pool_worn(const struct pool *p, const struct upstream_conn *u)
{
    const struct conf_upstream *c = p->conf;
    if (c->protocol != UPSTREAM_AUTO && (c->protocol == UPSTREAM_HTTP2) != (u->h2 != NULL))
        return true;
    if (u->tls_rules != p->tls_rules)
        return true;
    return !endpoint_listed(u->endpoint) || endpoint_drained(u->endpoint) ||
           (u->h2 && u->requests >= UPSTREAM_H2_REQUESTS) ||
           (c->max_requests_per_connection > 0 && u->requests >= c->max_requests_per_connection) ||
           (c->max_lifetime > 0 && p->worker->loop.now >= u->opened + c->max_lifetime);
}

bool pool_has_room(const struct pool *p, const struct upstream_conn *u)
{
    uint32_t most = u->h2 ? p->conf->http2.max_concurrent_streams : 1;
    return !u->leaving && u->streams < min_u64(u->most, most);
}

void pool_look_for_room(struct pool *p, struct upstream_conn *u)
{
    bool open = u->state == UPSTREAM_ACTIVE && u->h2 && u->streams > 0 && pool_has_room(p, u);
    if (open == list_linked(&u->open_link))
        return;
    if (open) {
        list_push_front(&p->open, &u->open_link);
        list_push_front(&u->endpoint->open, &u->endpoint_link);
    } else {
        list_remove(&u->open_link);
        list_remove(&u->endpoint_link);
    }
}

bool pool_lease_on(struct pool *p, struct upstream_conn *u, struct stream *s)
{
    struct endpoint *e = u->endpoint;
    bool reused = u->requests > 0;
    if (!upstream_lease(u, s))
        return false;
    if (u->state != UPSTREAM_ACTIVE)
        set_state(p, u, UPSTREAM_ACTIVE);
    e->active++;
    count_add(&e->stats->active, 1);
    count_add(&e->stats->requests, 1);
    count_add(&p->stats->requests, 1);
    if (p->levels)
        pool_levels_count(p, e);
    if (u->h2)
        count_add(&p->stats->http2_streams, 1);
    count_add(&p->stats->reused, reused);
    pool_look_for_room(p, u);
    return true;
}

/* --- coming --- */

uint32_t pool_connections_now(const struct pool *p)
{
    return atomic_load_explicit(&p->shared->connections, memory_order_relaxed);
}

bool pool_take_slot(struct pool *p)
{
    /* Where most fail: else pool_beyond() would see more than there are, for a moment. */
    if (pool_connections_now(p) >= p->conf->bounds.connections)
        return false;
    uint32_t before = atomic_fetch_add_explicit(&p->shared->connections, 1, memory_order_relaxed);
    if (before >= p->conf->bounds.connections) {
        (void)atomic_fetch_sub_explicit(&p->shared->connections, 1, memory_order_relaxed);
        return false;
    }
    pool_count_over(p, LIMIT_CONNECTIONS, before, p->conf->limits.connections);
    return true;
}

bool pool_take_spare_slot(struct pool *p, const struct endpoint *e)
{
    const struct conf_limits *l = &p->conf->limits;
    if (p->conf->limits_dry_run &&
        (pool_connections_now(p) >= l->connections ||
         (l->connections_per_endpoint > 0 &&
          atomic_load(&e->shared->connections) >= l->connections_per_endpoint)))
        return false;
    return pool_take_slot(p);
}

/* Ordered before the look at who starves: either we see the bit of a worker that has just failed to
 * take a slot, or the worker that it asks next sees this one free. */
void pool_give_slot(struct pool *p)
{
    (void)atomic_fetch_sub(&p->shared->connections, 1);
}

struct upstream_conn *pool_open(struct pool *p, struct endpoint *e, bool raw,
                                enum reason *ret_reason)
{
    if (!endpoint_take_connection(e)) {
        pool_give_slot(p);
        *ret_reason = REASON_CONNECTION_LIMIT;
        return NULL;
    }
    struct upstream_conn *u = upstream_connect(p, e, raw, ret_reason);
    if (!u) {
        endpoint_give_connection(e);
        pool_give_slot(p);
        count_add(&p->stats->connect_failed, 1);
        return NULL;
    }
    enter(p, u, UPSTREAM_CONNECTING);
    count_add(&p->stats->connections, 1);
    count_add(&p->stats->opened, 1);
    count_add(&e->stats->connections, 1);
    pool_wake_at(p, pool_connect_look(p, u, p->worker->loop.now));
    return u;
}

static struct stream *first_waiter(const struct upstream_conn *u)
{
    struct list *first = list_first(&u->waiters);
    return first ? LIST_ENTRY(first, struct pool_wait, making_link)->stream : NULL;
}

/* It stays in the queue. */
static void stop_waiting_for(struct upstream_conn *u, struct stream *s)
{
    list_remove(&s->exchange->wait.making_link);
    s->exchange->wait.making = NULL;
    u->n_waiters--;
}

bool pool_beyond(const struct pool *p, const struct endpoint *e)
{
    const struct conf_limits *l = &p->conf->bounds;
    return pool_connections_now(p) > l->connections ||
           (l->connections_per_endpoint > 0 &&
            atomic_load_explicit(&e->shared->connections, memory_order_relaxed) >
                l->connections_per_endpoint);
}

/* Nobody here waits for it: it is kept, or makes room for who waits elsewhere. A limit that was
 * lowered is reached this way too. */
static void become_idle(struct pool *p, struct upstream_conn *u)
{
    u->pooled = true;
    u->idle_since = p->worker->loop.now;
    set_state(p, u, UPSTREAM_IDLE);
    if (p->retired || u->leaving || !endpoint_listed(u->endpoint) || pool_beyond(p, u->endpoint) ||
        pool_others_starve(p))
        upstream_close(u);
    else
        pool_look_at_idle(p, u);
}

/* Who waits had better go elsewhere. At the limit also back to a level that has become good again:
 * what was opened while it was not would be handed on as long as anybody waits. */
static bool is_better_closed(struct pool *p, const struct upstream_conn *u)
{
    if (list_empty(&p->waiting))
        return false;
    return pool_connections_now(p) >= p->conf->bounds.connections ? endpoint_is_spare(u->endpoint)
                                                                  : endpoint_is_out(u->endpoint);
}

/* What it has room for goes to who waits; when it carries nothing then, it is idle, or closes. */
static void settle(struct pool *p, struct upstream_conn *u)
{
    if (u->state == UPSTREAM_CLOSED)
        return; /* who got it has given it up at once */
    /* Who waits goes elsewhere, and has this one's place for it. */
    if (pool_worn(p, u) || is_better_closed(p, u) ||
        (u->streams == 0 && pool_beyond(p, u->endpoint)))
        u->leaving = true;
    while (u->state != UPSTREAM_CLOSED && pool_has_room(p, u) && pool_hand_over(p, u))
        ;
    /* A callback may have been here before us. */
    if (u->state == UPSTREAM_CLOSED || u->state == UPSTREAM_IDLE || u->n_waiters > 0)
        return;
    if (u->streams == 0 && u->leaving) {
        upstream_close(u);
    } else if (u->streams == 0) {
        become_idle(p, u);
    } else {
        if (u->h2 && (p->retired || pool_connections_now(p) > p->conf->bounds.connections))
            u->leaving = true;
        pool_look_for_room(p, u);
        if (pool_others_starve(p))
            pool_yield_busy(p);
    }
}

void pool_on_connected(struct pool *p, struct upstream_conn *u)
{
    struct stream *s;
    u->endpoint->avoid_until = 0;
    endpoint_found(u->endpoint);
    set_state(p, u, UPSTREAM_ACTIVE);
    while (u->state != UPSTREAM_CLOSED && (s = first_waiter(u)) != NULL) {
        if (u->streams > 0 && !pool_has_room(p, u)) {
            /* It takes fewer than it was thought to. */
            stop_waiting_for(u, s);
            pool_seek_again(p, s, REASON_NO_ENDPOINT);
            continue;
        }
        pool_leave_queue(p, s);
        if (pool_lease_on(p, u, s))
            stream_on_connected(s);
        else
            stream_on_refused(s, REASON_OUT_OF_MEMORY);
    }
    settle(p, u);
}

void pool_on_room(struct pool *p, struct upstream_conn *u)
{
    if (u->state != UPSTREAM_CLOSED)
        settle(p, u);
}

/* --- going --- */

void pool_on_released(struct pool *p, struct upstream_conn *u, bool keep)
{
    struct endpoint *e = u->endpoint;
    u->streams--;
    e->active--;
    count_add(&e->stats->active, -1);
    if (u->h2)
        count_add(&p->stats->http2_streams, -1);
    if (!keep)
        u->leaving = true;
    settle(p, u);
}

void pool_leave(struct pool *p, struct upstream_conn *u)
{
    u->leaving = true;
    pool_look_for_room(p, u);
    if (u->state == UPSTREAM_IDLE)
        upstream_close(u);
}

void pool_on_connect_failed(struct pool *p, struct upstream_conn *u, enum reason reason)
{
    struct list orphans;
    struct list *first;
    list_init(&orphans);
    count_add(&p->stats->connect_failed, 1);
    if (!reason_is_shortage(reason))
        endpoint_failed(u->endpoint);
    for (struct stream *s; (s = first_waiter(u)) != NULL;) {
        endpoint_refused(u->endpoint, s);
        stop_waiting_for(u, s);
        list_push_back(&orphans, &s->exchange->wait.making_link);
    }
    upstream_close(u);
    while ((first = list_first(&orphans)) != NULL) {
        list_remove(first);
        pool_seek_again(p, LIST_ENTRY(first, struct pool_wait, making_link)->stream, reason);
    }
}

void pool_on_closed(struct pool *p, struct upstream_conn *u)
{
    set_state(p, u, UPSTREAM_CLOSED);
    count_add(&p->stats->connections, -1);
    count_add(&u->endpoint->stats->connections, -1);
    endpoint_give_connection(u->endpoint);
    endpoint_limits_tell(p);
    endpoint_unref(u->endpoint);
    u->endpoint = NULL;
    pool_give_slot(p);
    pool_tell_starving(p);
    if (!list_empty(&p->waiting))
        pool_wake_at(p, p->worker->loop.now);
    else if (p->conf->min_idle > p->n_idle + p->n_connecting && !p->retired)
        pool_wake_at(p, p->worker->loop.now + REFILL_MS * USEC_PER_MSEC);
}
