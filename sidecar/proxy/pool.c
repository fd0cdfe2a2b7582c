/* pool.c - who gets a stream of which connection, and who waits for one. */
#include "proxy/pool.h"

#include "proxy/endpoint_limits.h"
#include "proxy/stream.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

enum {
    LIMITED_TRIES = 8,  /* at endpoints whose last place another worker takes meanwhile */
    PEEK_AFTER_MS = 10, /* a connection idle for longer is looked at before a request that */
                        /* could not be sent again goes out on it */
};

/* --- the queue --- */

/* Pending is who waits because the upstream is at its limit, not who waits for a connection that is
 * being made. False when `most` wait already. */
bool pool_count_pending(struct pool *p, struct stream *s, uint32_t most)
{
    if (s->exchange->wait.counted)
        return true;
    uint32_t before = atomic_fetch_add_explicit(&p->shared->pending, 1, memory_order_relaxed);
    if (before >= most) {
        (void)atomic_fetch_sub_explicit(&p->shared->pending, 1, memory_order_relaxed);
        return false;
    }
    s->exchange->wait.counted = true;
    count_add(&p->stats->pending, 1);
    return true;
}

void pool_uncount_pending(struct pool *p, struct stream *s)
{
    if (!s->exchange->wait.counted)
        return;
    s->exchange->wait.counted = false;
    count_add(&p->stats->pending, -1);
    (void)atomic_fetch_sub_explicit(&p->shared->pending, 1, memory_order_relaxed);
}

void pool_leave_queue(struct pool *p, struct stream *s)
{
    list_remove(&s->exchange->wait.link);
    pool_uncount_pending(p, s);
    list_remove(&s->exchange->wait.making_link);
    if (s->exchange->wait.making) {
        s->exchange->wait.making->n_waiters--;
        s->exchange->wait.making = NULL;
    }
}

static struct stream *stream_of(struct list *wait_link)
{
    return LIST_ENTRY(wait_link, struct pool_wait, link)->stream;
}

void pool_cancel(struct pool *p, struct stream *s)
{
    pool_leave_queue(p, s);
}

bool pool_hand_over(struct pool *p, struct upstream_conn *u)
{
    LIST_FOREACH (it, &p->waiting) {
        struct stream *s = stream_of(it);
        if (s->tcp ? u->h2 || u->requests > 0 : s->fresh && u->requests > 0)
            continue;
        if (!endpoint_place(u->endpoint, s))
            continue;
        pool_leave_queue(p, s);
        if (pool_lease_on(p, u, s))
            stream_on_connected(s);
        else
            stream_on_refused(s, REASON_OUT_OF_MEMORY);
        return true;
    }
    return false;
}

/* --- opening --- */

/* One that is being made and will have room for s too. */
static struct upstream_conn *joinable(const struct pool *p, const struct stream *s,
                                      const struct endpoint *e)
{
    if (p->conf->protocol == UPSTREAM_HTTP1 || s->tcp)
        return NULL;
    LIST_FOREACH (it, &p->connecting) {
        struct upstream_conn *u = LIST_ENTRY(it, struct upstream_conn, link);
        if (u->endpoint == e && !u->raw &&
            u->n_waiters < min_u64(u->most, p->conf->http2.max_concurrent_streams))
            return u;
    }
    return NULL;
}

/* A connection for s to e, one that is being made or a new one, trying another endpoint when one
 * refuses at once, or is at a limit of its own. */
static bool open_for(struct pool *p, struct stream *s, struct endpoint *e, enum reason *ret_reason)
{
    int limited = 0;
    *ret_reason = REASON_NO_ENDPOINT;
    while (e && limited < LIMITED_TRIES) {
        struct upstream_conn *u = joinable(p, s, e);
        if (!u && !pool_take_slot(p)) {
            endpoint_leave_place(s);
            *ret_reason = REASON_CONNECTION_LIMIT;
            return false;
        }
        if (!endpoint_place(e, s)) {
            if (!u)
                pool_give_slot(p);
            *ret_reason = REASON_CONNECTION_LIMIT;
            limited++;
            e = endpoint_choose(p, s);
            continue;
        }
        if (!u)
            u = pool_open(p, e, s->tcp, ret_reason);
        if (u) {
            list_push_back(&u->waiters, &s->exchange->wait.making_link);
            u->n_waiters++;
            s->exchange->wait.making = u;
            pool_uncount_pending(p, s);
            return true;
        }
        if (*ret_reason == REASON_CONNECTION_LIMIT) {
            struct list *idle = list_last(&e->idle); /* of no use to it, but for its place */
            if (idle)
                upstream_close(LIST_ENTRY(idle, struct upstream_conn, endpoint_link));
            limited++;
            e = endpoint_choose(p, s);
            continue;
        }
        if (!reason_is_shortage(*ret_reason))
            endpoint_failed(e);
        endpoint_refused(e, s);
        if (!stream_may_connect(s))
            break;
        e = endpoint_choose(p, s);
    }
    endpoint_leave_place(s);
    if (!e && endpoint_limited(p, s))
        *ret_reason = REASON_CONNECTION_LIMIT;
    return false;
}

/* Whoever may have what we wait for. */
static void ask_for_room(struct pool *p, const struct stream *s)
{
    const struct conf_upstream *c = p->conf;
    if (!endpoint_limits_set(c) || c->bounds.connections_per_endpoint > 0 ||
        pool_connections_now(p) >= c->bounds.connections)
        pool_ask_others(p);
    if (endpoint_limits_set(c))
        endpoint_limits_wait(p, s);
}

void pool_seek_again(struct pool *p, struct stream *s, enum reason reason)
{
    enum reason why = reason;
    if (stream_may_connect(s) && list_linked(&s->exchange->wait.link) &&
        open_for(p, s, endpoint_choose(p, s), &why))
        return;
    if (why == REASON_CONNECTION_LIMIT) {
        (void)pool_count_pending(p, s, UINT32_MAX); /* it was let in already */
        pool_wake_at(p, s->exchange->wait.since + p->conf->queue_timeout);
        ask_for_room(p, s);
        return;
    }
    if (!list_linked(&s->exchange->wait.link))
        return; /* closing the failed one gave it another's place */
    pool_leave_queue(p, s);
    stream_on_refused(s, reason);
}

/* --- leasing --- */

/* A request that cannot be repeated does not go out on a connection that its server has closed
 * meanwhile; between busy requests no look is needed. */
static bool looks_dead(const struct upstream_conn *u, const struct stream *s)
{
    if (u->worker->loop.now < u->idle_since + PEEK_AFTER_MS * USEC_PER_MSEC ||
        method_is_idempotent((enum http_method)s->req.method))
        return false;
    return conn_has_unread(&u->conn);
}

static struct upstream_conn *take_idle(struct pool *p, struct stream *s, struct list *from,
                                       bool by_endpoint)
{
    LIST_FOREACH_SAFE (it, from) {
        struct upstream_conn *u = by_endpoint ? LIST_ENTRY(it, struct upstream_conn, endpoint_link)
                                              : LIST_ENTRY(it, struct upstream_conn, link);
        if (!by_endpoint &&
            (endpoint_is_spare(u->endpoint) || endpoint_has_no_place(u->endpoint, s)))
            continue; /* its place is of more use */
        bool dead = looks_dead(u, s);
        if (!dead && !pool_worn(p, u)) {
            if (pool_has_room(p, u))
                return u;
            continue; /* its server takes nothing at the moment */
        }
        if (!pool_may_close(p))
            continue;
        count_add(&p->stats->closed_idle, dead);
        upstream_close(u);
    }
    return NULL;
}

static struct upstream_conn *take_open(struct pool *p, struct stream *s, struct list *from,
                                       bool by_endpoint)
{
    LIST_FOREACH_SAFE (it, from) {
        struct upstream_conn *u = by_endpoint ? LIST_ENTRY(it, struct upstream_conn, endpoint_link)
                                              : LIST_ENTRY(it, struct upstream_conn, open_link);
        if (!by_endpoint &&
            (endpoint_is_spare(u->endpoint) || endpoint_has_no_place(u->endpoint, s)))
            continue;
        if (pool_worn(p, u))
            pool_leave(p, u);
        else if (pool_has_room(p, u))
            return u;
        else
            pool_look_for_room(p, u); /* a reload has lowered its limit */
    }
    return NULL;
}

/* What stands and has room: at e, or at the limit anywhere. */
static struct upstream_conn *take(struct pool *p, struct stream *s, struct endpoint *e)
{
    struct upstream_conn *u = NULL;
    if (e)
        u = take_open(p, s, &e->open, true);
    if (!u && e && p->n_idle > 0)
        u = take_idle(p, s, &e->idle, true);
    if (u || pool_connections_now(p) < p->conf->bounds.connections)
        return u;
    u = take_open(p, s, &p->open, false);
    return u || p->n_idle == 0 ? u : take_idle(p, s, &p->idle, false);
}

/* With limits of endpoints somebody may wait for a place while connections are idle. */
static bool give_idle(struct pool *p, struct stream *s, struct endpoint *e)
{
    struct upstream_conn *u = e && !s->fresh && !s->tcp ? take(p, s, e) : NULL;
    if (!u || !endpoint_place(u->endpoint, s))
        return false;
    pool_leave_queue(p, s);
    if (pool_lease_on(p, u, s))
        stream_on_connected(s);
    else
        stream_on_refused(s, REASON_OUT_OF_MEMORY);
    return true;
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
            if (s->exchange->wait.making)
                continue;
            struct endpoint *e = endpoint_choose(p, s);
            if (endpoint_limits_set(p->conf) && give_idle(p, s, e)) {
                again = true;
                break;
            }
            if (open_for(p, s, e, &why))
                continue;
            if (why == REASON_CONNECTION_LIMIT) {
                ask_for_room(p, s);
                return;
            }
            pool_leave_queue(p, s);
            stream_on_refused(s, why);
            again = true;
            break;
        }
    }
}

static enum pool_lease enqueue(struct pool *p, struct stream *s, struct endpoint *e,
                               enum reason *ret_reason)
{
    s->exchange->wait.since = p->worker->loop.now;
    list_push_back(&p->waiting, &s->exchange->wait.link);
    if (open_for(p, s, e, ret_reason))
        return POOL_WAITS;
    if (*ret_reason == REASON_CONNECTION_LIMIT) {
        count_add(&p->stats->endpoints_full, endpoint_limited(p, s));
        if (pool_count_pending(p, s, p->conf->bounds.pending)) {
            pool_wake_at(p, s->exchange->wait.since + p->conf->queue_timeout);
            ask_for_room(p, s);
            return POOL_WAITS;
        }
        *ret_reason = REASON_PENDING_OVERFLOW;
    }
    pool_leave_queue(p, s);
    return POOL_REFUSED;
}

enum pool_lease pool_lease(struct pool *p, struct stream *s, bool fresh, enum reason *ret_reason)
{
    struct endpoint *e = endpoint_choose(p, s);
    struct upstream_conn *u = fresh ? NULL : take(p, s, e);
    for (int k = 0; u && !endpoint_place(u->endpoint, s); k++) {
        /* Another worker has been faster. */
        e = k < LIMITED_TRIES ? endpoint_choose(p, s) : NULL;
        u = e ? take(p, s, e) : NULL;
    }
    if (!u) {
        /* An idle connection that may not be used (a fresh one is asked for, or its endpoint is
         * out) holds a slot that a new one could have. */
        if (p->n_idle > 0 && pool_connections_now(p) >= p->conf->bounds.connections)
            pool_yield_idle(p);
        return enqueue(p, s, e, ret_reason);
    }
    if (pool_lease_on(p, u, s))
        return POOL_LEASED;
    *ret_reason = REASON_OUT_OF_MEMORY;
    return POOL_REFUSED;
}
