/* pool.c - who gets which connection, and who waits for one. */
#include "proxy/pool.h"

#include "io/socket.h"
#include "proxy/endpoint.h"
#include "proxy/stream.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

enum {
    PEEK_AFTER_MS = 10, /* a connection idle for longer is looked at before a request that */
                        /* could not be sent again goes out on it */
    REFILL_MS = 1000,
};

void pool_wake_at(struct pool *p, usec_t at)
{
    if (at != USEC_NEVER && (p->timer.at == 0 || at < p->timer.at))
        timer_set(&p->worker->loop, &p->timer, at);
}

/* Times and limits are the configuration's of the moment, also for what began before it. */
static usec_t connect_deadline(const struct pool *p, const struct upstream_conn *u)
{
    return u->opened + p->conf->connect_timeout;
}

static usec_t idle_end(const struct pool *p, const struct upstream_conn *u)
{
    usec_t told = u->told_idle_timeout;
    return u->idle_since + (told != USEC_NEVER ? told : p->conf->idle_timeout);
}

static uint32_t connections_now(const struct pool *p)
{
    return atomic_load_explicit(&p->shared->connections, memory_order_relaxed);
}

/* --- lists and counts --- */

static void idle_remove(struct pool *p, struct upstream_conn *u)
{
    list_remove(&u->link);
    list_remove(&u->endpoint_link);
    p->n_idle--;
    count_add(&p->stats->idle, -1);
}

static void lease(struct pool *p, struct upstream_conn *u, struct stream *s)
{
    struct endpoint *e = u->endpoint;
    list_push_back(&p->active, &u->link);
    e->active++;
    count_add(&e->stats->active, 1);
    count_add(&e->stats->requests, 1);
    count_add(&p->stats->active, 1);
    count_add(&p->stats->requests, 1);
    if (u->requests > 0)
        count_add(&p->stats->reused, 1);
    upstream_lease(u, s);
}

static void leave_active(struct pool *p, struct upstream_conn *u)
{
    struct endpoint *e = u->endpoint;
    list_remove(&u->link);
    e->active--;
    count_add(&e->stats->active, -1);
    count_add(&p->stats->active, -1);
}

/* Pending is who waits because the upstream is at its limit, not who waits for a connection that is
 * being made. False when `most` wait already. */
bool pool_count_pending(struct pool *p, struct stream *s, uint32_t most)
{
    if (s->wait.counted)
        return true;
    uint32_t before = atomic_fetch_add_explicit(&p->shared->pending, 1, memory_order_relaxed);
    if (before >= most) {
        (void)atomic_fetch_sub_explicit(&p->shared->pending, 1, memory_order_relaxed);
        return false;
    }
    s->wait.counted = true;
    count_add(&p->stats->pending, 1);
    return true;
}

void pool_uncount_pending(struct pool *p, struct stream *s)
{
    if (!s->wait.counted)
        return;
    s->wait.counted = false;
    count_add(&p->stats->pending, -1);
    (void)atomic_fetch_sub_explicit(&p->shared->pending, 1, memory_order_relaxed);
}

static void leave_queue(struct pool *p, struct stream *s)
{
    list_remove(&s->wait.link);
    pool_uncount_pending(p, s);
    if (s->wait.making) {
        s->wait.making->waiter = NULL;
        s->wait.making = NULL;
    }
}

static struct stream *stream_of(struct list *wait_link)
{
    return CONTAINER_OF(wait_link, struct stream, wait.link);
}

/* --- opening --- */

/* A slot of the process-wide limit; false when there is none. */
static bool take_slot(struct pool *p)
{
    uint32_t before = atomic_fetch_add_explicit(&p->shared->connections, 1, memory_order_relaxed);
    if (before < p->conf->max_connections)
        return true;
    (void)atomic_fetch_sub_explicit(&p->shared->connections, 1, memory_order_relaxed);
    return false;
}

/* Ordered before the look at who starves: either we see the bit of a worker that has just failed to
 * take a slot, or the worker that it asks next sees this one free. */
static void give_slot(struct pool *p)
{
    (void)atomic_fetch_sub(&p->shared->connections, 1);
}

/* A connection under way, the slot already taken (and given back on failure). */
static struct upstream_conn *open_one(struct pool *p, struct endpoint *e, enum reason *ret_reason)
{
    struct upstream_conn *u = upstream_connect(p, e, ret_reason);
    if (!u) {
        give_slot(p);
        count_add(&p->stats->connect_failed, 1);
        return NULL;
    }
    list_push_back(&p->connecting, &u->link);
    p->n_connecting++;
    count_add(&p->stats->connecting, 1);
    count_add(&p->stats->connections, 1);
    count_add(&p->stats->opened, 1);
    count_add(&e->stats->connections, 1);
    pool_wake_at(p, connect_deadline(p, u));
    return u;
}

/* Opens a connection for s to e, trying another endpoint when one refuses at once. */
static bool open_for(struct pool *p, struct stream *s, struct endpoint *e, enum reason *ret_reason)
{
    *ret_reason = REASON_NO_ENDPOINT;
    while (e) {
        if (!take_slot(p)) {
            *ret_reason = REASON_CONNECTION_LIMIT;
            return false;
        }
        struct upstream_conn *u = open_one(p, e, ret_reason);
        if (u) {
            u->waiter = s;
            s->wait.making = u;
            pool_uncount_pending(p, s);
            return true;
        }
        endpoint_refused(e, s);
        if (s->tries >= CONNECT_TRIES)
            return false;
        e = endpoint_choose(p, s);
    }
    return false;
}

/* --- leasing --- */

/* A request that cannot be repeated does not go out on a connection that its server has closed
 * meanwhile; between busy requests no look is needed. */
static bool looks_dead(const struct upstream_conn *u, const struct stream *s)
{
    if (u->worker->loop.now < u->idle_since + PEEK_AFTER_MS * USEC_PER_MSEC ||
        method_is_idempotent((enum http_method)s->req.method))
        return false;
    return socket_has_unread(u->conn.transport.fd);
}

static struct upstream_conn *take_idle(struct pool *p, struct stream *s, struct list *from,
                                       bool by_endpoint)
{
    struct list *first;
    while ((first = list_first(from)) != NULL) {
        struct upstream_conn *u = by_endpoint
                                      ? LIST_ENTRY(first, struct upstream_conn, endpoint_link)
                                      : LIST_ENTRY(first, struct upstream_conn, link);
        if (!looks_dead(u, s)) {
            idle_remove(p, u);
            return u;
        }
        count_add(&p->stats->closed_idle, 1);
        upstream_close(u);
    }
    return NULL;
}

static enum pool_lease enqueue(struct pool *p, struct stream *s, struct endpoint *e,
                               enum reason *ret_reason)
{
    s->wait.since = p->worker->loop.now;
    list_push_back(&p->waiting, &s->wait.link);
    if (open_for(p, s, e, ret_reason))
        return POOL_WAITS;
    if (*ret_reason == REASON_CONNECTION_LIMIT) {
        if (pool_count_pending(p, s, p->conf->max_pending)) {
            pool_wake_at(p, s->wait.since + p->conf->queue_timeout);
            pool_ask_others(p);
            return POOL_WAITS;
        }
        *ret_reason = REASON_PENDING_OVERFLOW;
    }
    leave_queue(p, s);
    return POOL_REFUSED;
}

enum pool_lease pool_lease(struct pool *p, struct stream *s, bool fresh, enum reason *ret_reason)
{
    struct upstream_conn *u = NULL;
    struct endpoint *e = endpoint_choose(p, s);
    if (!fresh && p->n_idle > 0) {
        if (e)
            u = take_idle(p, s, &e->idle, true);
        if (!u && p->n_idle > 0 && connections_now(p) >= p->conf->max_connections)
            u = take_idle(p, s, &p->idle, false);
    }
    if (!u) {
        /* An idle connection that may not be used holds a slot that a new one could have. */
        if (fresh && p->n_idle > 0 && connections_now(p) >= p->conf->max_connections)
            pool_yield_idle(p);
        return enqueue(p, s, e, ret_reason);
    }
    lease(p, u, s);
    return POOL_LEASED;
}

void pool_cancel(struct pool *p, struct stream *s)
{
    leave_queue(p, s);
}

/* Gives a connection to the first that may have it; false when nobody waits. */
static bool hand_over(struct pool *p, struct upstream_conn *u)
{
    LIST_FOREACH (it, &p->waiting) {
        struct stream *s = stream_of(it);
        if ((s->fresh || s->tcp) && u->requests > 0)
            continue;
        leave_queue(p, s);
        lease(p, u, s);
        stream_on_connected(s);
        return true;
    }
    return false;
}

/* Nobody here waits for it: it is kept, or makes room for who waits elsewhere. A limit that was
 * lowered is reached this way too. */
static void become_idle(struct pool *p, struct upstream_conn *u)
{
    u->pooled = true;
    u->idle_since = p->worker->loop.now;
    list_push_front(&p->idle, &u->link);
    list_push_front(&u->endpoint->idle, &u->endpoint_link);
    p->n_idle++;
    count_add(&p->stats->idle, 1);
    if (p->retired || !endpoint_listed(u->endpoint) ||
        connections_now(p) > p->conf->max_connections ||
        (atomic_load(&p->shared->starving) & ~pool_bit(p->worker->id)) != 0)
        upstream_close(u);
    else
        pool_wake_at(p, idle_end(p, u));
}

void pool_on_idle(struct pool *p, struct upstream_conn *u)
{
    leave_active(p, u);
    if (!list_empty(&p->waiting) && hand_over(p, u))
        return;
    become_idle(p, u);
}

static void leave_connecting(struct pool *p, struct upstream_conn *u)
{
    list_remove(&u->link);
    p->n_connecting--;
    count_add(&p->stats->connecting, -1);
}

void pool_on_connected(struct pool *p, struct upstream_conn *u)
{
    leave_connecting(p, u);
    u->endpoint->avoid_until = 0;
    struct stream *s = u->waiter;
    if (s) {
        leave_queue(p, s);
        lease(p, u, s);
        stream_on_connected(s);
        return;
    }
    if (!endpoint_listed(u->endpoint) || !hand_over(p, u))
        become_idle(p, u);
}

void pool_on_connect_failed(struct pool *p, struct upstream_conn *u, enum reason reason)
{
    struct stream *s = u->waiter;
    endpoint_refused(u->endpoint, s);
    count_add(&p->stats->connect_failed, 1);
    u->waiter = NULL;
    if (s)
        s->wait.making = NULL;
    upstream_close(u);
    if (!s)
        return;
    enum reason why = reason;
    if (s->tries < CONNECT_TRIES && list_linked(&s->wait.link) &&
        open_for(p, s, endpoint_choose(p, s), &why))
        return;
    if (why == REASON_CONNECTION_LIMIT) {
        (void)pool_count_pending(p, s, UINT32_MAX); /* it was let in already */
        pool_wake_at(p, s->wait.since + p->conf->queue_timeout);
        pool_ask_others(p);
        return;
    }
    if (!list_linked(&s->wait.link))
        return; /* closing the failed one gave it another's place */
    leave_queue(p, s);
    stream_on_refused(s, reason);
}

void pool_on_closed(struct pool *p, struct upstream_conn *u)
{
    switch ((enum upstream_state)u->state) {
    case UPSTREAM_CONNECTING:
        leave_connecting(p, u);
        break;
    case UPSTREAM_IDLE:
        idle_remove(p, u);
        break;
    default:
        leave_active(p, u);
        break;
    }
    count_add(&p->stats->connections, -1);
    count_add(&u->endpoint->stats->connections, -1);
    endpoint_unref(u->endpoint);
    u->endpoint = NULL;
    give_slot(p);
    pool_tell_starving(p);
    if (!list_empty(&p->waiting))
        pool_wake_at(p, p->worker->loop.now);
    else if (p->conf->min_idle > p->n_idle + p->n_connecting && !p->retired)
        pool_wake_at(p, p->worker->loop.now + REFILL_MS * USEC_PER_MSEC);
}

void pool_slot_free(struct pool *p)
{
    /* Whoever waits without a connection under way gets one made; a failure leaves the queue, so
     * the walk begins again. */
    bool again = true;
    while (again) {
        again = false;
        LIST_FOREACH (it, &p->waiting) {
            struct stream *s = stream_of(it);
            enum reason why = REASON_NONE;
            if (s->wait.making)
                continue;
            if (open_for(p, s, endpoint_choose(p, s), &why))
                continue;
            if (why == REASON_CONNECTION_LIMIT) {
                pool_ask_others(p);
                return;
            }
            leave_queue(p, s);
            stream_on_refused(s, why);
            again = true;
            break;
        }
    }
}

/* --- time --- */

/* Who has a connection being made is not meant: that has a time of its own. The others are in the
 * order of their times, and the end of one is never the end of another. Returns when the next is
 * due; USEC_NEVER: none. */
static usec_t expire_queue(struct pool *p, usec_t now)
{
    LIST_FOREACH_SAFE (it, &p->waiting) {
        struct stream *s = stream_of(it);
        if (s->wait.making)
            continue;
        usec_t until = s->wait.since + p->conf->queue_timeout;
        if (now < until)
            return until;
        leave_queue(p, s);
        stream_on_refused(s, REASON_QUEUE_TIMEOUT);
    }
    return USEC_NEVER;
}

static void expire_connecting(struct pool *p, usec_t now)
{
    struct list *first;
    while ((first = list_first(&p->connecting)) != NULL) {
        struct upstream_conn *u = LIST_ENTRY(first, struct upstream_conn, link);
        if (now < connect_deadline(p, u))
            break;
        pool_on_connect_failed(p, u, REASON_CONNECT_TIMEOUT);
    }
}

static void expire_idle(struct pool *p, usec_t now)
{
    LIST_FOREACH_SAFE (it, &p->idle) {
        struct upstream_conn *u = LIST_ENTRY(it, struct upstream_conn, link);
        if (now >= idle_end(p, u) && p->n_idle > p->conf->min_idle)
            upstream_close(u);
        else if (now >= idle_end(p, u))
            u->idle_since = now;
    }
}

void pool_on_timer(struct timer *t)
{
    struct pool *p = CONTAINER_OF(t, struct pool, timer);
    usec_t now = p->worker->loop.now;
    expire_connecting(p, now);
    expire_idle(p, now);
    pool_slot_free(p);
    pool_wake_at(p, expire_queue(p, now));
    pool_fill(p);
    LIST_FOREACH (it, &p->idle)
        pool_wake_at(p, idle_end(p, LIST_ENTRY(it, struct upstream_conn, link)));
    struct list *first = list_first(&p->connecting);
    if (first)
        pool_wake_at(p, connect_deadline(p, LIST_ENTRY(first, struct upstream_conn, link)));
}

void pool_fill(struct pool *p)
{
    while (!p->retired && p->n_endpoints > 0 && p->n_idle + p->n_connecting < p->conf->min_idle &&
           take_slot(p)) {
        enum reason why = REASON_NONE;
        if (!open_one(p, endpoint_choose_next(p), &why)) {
            pool_wake_at(p, p->worker->loop.now + REFILL_MS * USEC_PER_MSEC);
            return;
        }
    }
}
