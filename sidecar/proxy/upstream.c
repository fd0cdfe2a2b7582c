/* upstream.c - a connection to an endpoint: how it comes, which state it is in, how it goes. */
#include "proxy/upstream.h"

#include "io/socket.h"
#include "io/tls.h"
#include "proxy/endpoint.h"
#include "proxy/stream.h"
#include "proxy/upstream_h2.h"
#include "proxy/upstream_tls.h"

#include <errno.h>
#include <unistd.h>

static void upstream_reaped(struct reap *r)
{
    struct upstream_conn *u = CONTAINER_OF(r, struct upstream_conn, reap);
    struct worker *w = u->worker;
    CHECK(!u->conn.open && !list_linked(&u->link));
    if (u->ops)
        u->ops->free(u);
    u->magic = 0;
    slab_free(&w->upstreams, u);
}

void upstream_end(struct upstream_conn *u)
{
    CHECK(u->state == UPSTREAM_CLOSED);
    if (u->orderly && transport_is_tls(&u->conn.transport))
        conn_shutdown(&u->conn);
    conn_close(&u->conn);
    loop_reap(&u->worker->loop, &u->reap, upstream_reaped);
}

void upstream_close(struct upstream_conn *u)
{
    if (u->state == UPSTREAM_CLOSED)
        return;
    CHECK(u->streams == 0 && u->n_waiters == 0);
    u->orderly = u->state == UPSTREAM_IDLE || u->h2;
    bool now = !u->ops || u->ops->goodbye(u);
    pool_on_closed(u->pool, u);
    if (now)
        upstream_end(u);
}

void upstream_close_idle(struct upstream_conn *u)
{
    count_add(&u->pool->stats->closed_idle, 1);
    upstream_close(u);
}

bool upstream_lease(struct upstream_conn *u, struct stream *s)
{
    if (!u->ops->lease(u, s))
        return false;
    u->streams++;
    u->requests++;
    if (s->endpoint != u->endpoint) {
        endpoint_unref(s->endpoint);
        s->endpoint = endpoint_ref(u->endpoint);
    }
    return true;
}

/* --- connecting --- */

static bool speaks_h2(const struct upstream_conn *u)
{
    enum upstream_protocol protocol = u->pool->conf->protocol;
    struct tls_identity identity;
    if (u->raw || protocol == UPSTREAM_HTTP1)
        return false;
    if (protocol == UPSTREAM_HTTP2)
        return true;
    if (!transport_is_tls(&u->conn.transport))
        return false;
    transport_tls_identity(&u->conn.transport, &identity);
    return str_eq(identity.alpn, STR("h2"));
}

static enum reason reason_of(int err)
{
    if (socket_error_is_ours(err))
        return err == ENOMEM ? REASON_OUT_OF_MEMORY : REASON_NO_SOCKET;
    return err == ECONNREFUSED || err == ENOENT ? REASON_CONNECT_REFUSED
           : err == ETIMEDOUT                   ? REASON_CONNECT_TIMEOUT
                                                : REASON_CONNECT_FAILED;
}

/* Ports to that address are used up, or none of ours leads there: others may do. Of whatever else
 * we are short, another endpoint needs it too. */
static void note_failure(struct endpoint *e, int err)
{
    if (err == EADDRNOTAVAIL)
        endpoint_avoid(e);
}

static void on_connect_failed(struct conn *c, int err)
{
    struct upstream_conn *u = CONTAINER_OF(c, struct upstream_conn, conn);
    CHECK_OBJ(u, UPSTREAM_MAGIC);
    enum reason reason = upstream_tls_failed(u);
    if (reason == REASON_NONE)
        reason = reason_of(err);
    note_failure(u->endpoint, err);
    pool_on_connect_failed(u->pool, u, reason);
}

static void on_connected(struct conn *c)
{
    struct upstream_conn *u = CONTAINER_OF(c, struct upstream_conn, conn);
    CHECK_OBJ(u, UPSTREAM_MAGIC);
    int err = socket_connect_result(u->conn.transport.fd);
    if (err != 0) {
        on_connect_failed(c, err);
        return;
    }
    upstream_tls_done(u);
    bool h2 = speaks_h2(u);
    u->endpoint->chose_http1 = !h2;
    if (!h2) {
        upstream_h1_start(u);
    } else if (upstream_h2_start(u) < 0) {
        pool_on_connect_failed(u->pool, u, REASON_OUT_OF_MEMORY);
        return;
    }
    conn_read_start(&u->conn);
    pool_on_connected(u->pool, u);
}

/* Until it stands; nothing is read before. */
static const struct conn_ops connecting_ops = {
    .drained = on_connected,
    .failed = on_connect_failed,
};

/* Requests may wait for it together. Where ALPN decides, as it did the last time. */
static bool is_expected_h2(const struct upstream_conn *u, const struct transport *t)
{
    enum upstream_protocol protocol = u->pool->conf->protocol;
    return !u->raw &&
           (protocol == UPSTREAM_HTTP2 ||
            (protocol == UPSTREAM_AUTO && transport_is_tls(t) && !u->endpoint->chose_http1));
}

struct upstream_conn *upstream_connect(struct pool *p, struct endpoint *e, bool raw,
                                       enum reason *ret_reason)
{
    struct worker *w = p->worker;
    struct upstream_conn *u = slab_alloc(&w->upstreams);
    if (!u) {
        *ret_reason = REASON_OUT_OF_MEMORY;
        return NULL;
    }
    int fd = socket_connect(&e->shared->address);
    if (fd < 0) {
        slab_free(&w->upstreams, u);
        *ret_reason = reason_of(-fd);
        note_failure(e, -fd);
        return NULL;
    }
    struct transport t;
    if (upstream_transport(p, e, fd, &t, ret_reason) < 0) {
        (void)close(fd);
        slab_free(&w->upstreams, u);
        return NULL;
    }
    memset(u, 0, sizeof(*u));
    u->magic = UPSTREAM_MAGIC;
    u->raw = raw;
    u->endpoint = endpoint_ref(e);
    u->worker = w;
    u->pool = p;
    list_init(&u->waiters);
    u->opened = w->loop.now;
    u->tls_rules = p->tls_rules;
    u->told_idle_timeout = USEC_NEVER;
    u->most = is_expected_h2(u, &t) ? upstream_h2_expected(e) : 1;
    conn_open_transport(&u->conn, &w->loop, t, &connecting_ops, true);
    return u;
}
