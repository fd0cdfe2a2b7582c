/* endpoint_limits.c - maxConnectionsPerEndpoint and maxRequestsPerEndpoint. */
#include "proxy/endpoint_limits.h"

#include "proxy/upstream.h"
#include "proxy/worker.h"

/* As in pool_conn.c: ordered before the look at who starves. */
static bool take(_Atomic uint32_t *count, uint32_t most, uint32_t *ret_before)
{
    *ret_before = atomic_fetch_add(count, 1);
    if (most == 0 || *ret_before < most)
        return true;
    (void)atomic_fetch_sub(count, 1);
    return false;
}

static bool at_limit(const _Atomic uint32_t *count, uint32_t most)
{
    return most > 0 && atomic_load_explicit(count, memory_order_relaxed) >= most;
}

static bool is_joinable(const struct endpoint *e, const struct stream *s)
{
    const struct pool *p = e->pool;
    if (p->conf->protocol == UPSTREAM_HTTP1 || (s && s->tcp))
        return false;
    LIST_FOREACH (it, &p->connecting) {
        const struct upstream_conn *u = LIST_ENTRY(it, struct upstream_conn, link);
        if (u->endpoint == e && !u->raw &&
            u->n_waiters < min_u64(u->most, p->conf->http2.max_concurrent_streams))
            return true;
    }
    return false;
}

bool endpoint_has_no_place(const struct endpoint *e, const struct stream *s)
{
    return at_limit(&e->shared->requests, e->pool->conf->bounds.requests_per_endpoint) &&
           !(s && s->place == e);
}

bool endpoint_is_full(const struct endpoint *e, const struct stream *s)
{
    bool anew = s && (s->fresh || s->tcp); /* an idle one can make room for it */
    if (endpoint_has_no_place(e, s))
        return true;
    return at_limit(&e->shared->connections, e->pool->conf->bounds.connections_per_endpoint) &&
           list_empty(&e->idle) && (anew || list_empty(&e->open)) && !is_joinable(e, s);
}

bool endpoint_take_connection(struct endpoint *e)
{
    const struct conf_upstream *c = e->pool->conf;
    uint32_t before;
    if (!take(&e->shared->connections, c->bounds.connections_per_endpoint, &before))
        return false;
    if (c->limits.connections_per_endpoint > 0)
        pool_count_over(e->pool, LIMIT_CONNECTIONS_PER_ENDPOINT, before,
                        c->limits.connections_per_endpoint);
    return true;
}

void endpoint_give_connection(struct endpoint *e)
{
    (void)atomic_fetch_sub(&e->shared->connections, 1);
}

bool endpoint_take_place(struct endpoint *e, struct stream *s)
{
    const struct conf_upstream *c = e->pool->conf;
    bool counts = c->limits.requests_per_endpoint > 0;
    uint32_t before;
    if (s->place == e || (!counts && !s->place))
        return true;
    if (counts && !take(&e->shared->requests, c->bounds.requests_per_endpoint, &before))
        return false;
    if (counts)
        pool_count_over(e->pool, LIMIT_REQUESTS_PER_ENDPOINT, before,
                        c->limits.requests_per_endpoint);
    endpoint_leave_place(s);
    s->place = counts ? endpoint_ref(e) : NULL;
    return true;
}

void endpoint_leave_place(struct stream *s)
{
    struct endpoint *e = s->place;
    if (!e)
        return;
    struct pool *p = e->pool;
    s->place = NULL;
    (void)atomic_fetch_sub(&e->shared->requests, 1);
    endpoint_unref(e);
    endpoint_limits_tell(p);
    if (!list_empty(&p->waiting))
        pool_wake_at(p, p->worker->loop.now);
}

/* The bit is set before the last look, and read after a place was given back: one of the two sees
 * the other. */
void endpoint_limits_wait(struct pool *p, const struct stream *s)
{
    (void)atomic_fetch_or(&p->shared->crowded, pool_bit(p->worker->id));
    if (pool_connections_now(p) < p->conf->bounds.connections && endpoint_choose(p, s))
        pool_wake_at(p, p->worker->loop.now);
}

void endpoint_limits_tell(struct pool *p)
{
    uint64_t crowded = atomic_load(&p->shared->crowded) & ~pool_bit(p->worker->id);
    if (crowded == 0 || p->closing)
        return;
    (void)atomic_fetch_and(&p->shared->crowded, ~crowded);
    for (uint32_t i = 0; i < p->worker->process->n_workers; i++) {
        if (crowded >> i & 1)
            pool_post(p, i, pool_slot_free);
    }
}
