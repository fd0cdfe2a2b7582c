/* upstream.c - a connection to an endpoint: the request goes out, the response is read. */
#include "proxy/upstream.h"

#include "http/h1_write.h"
#include "io/socket.h"
#include "proxy/endpoint.h"
#include "proxy/h1_out.h"
#include "proxy/stream.h"
#include "proxy/stream_steps.h"

#include <errno.h>

static struct upstream_conn *of(struct side *s)
{
    return CONTAINER_OF(s, struct upstream_conn, side);
}

static struct buf_pool *bufs_of(struct upstream_conn *u)
{
    return &u->worker->loop.bufs;
}

static void upstream_reaped(struct reap *r)
{
    struct upstream_conn *u = CONTAINER_OF(r, struct upstream_conn, reap);
    struct worker *w = u->worker;
    CHECK(!u->conn.open && !list_linked(&u->link));
    u->magic = 0;
    slab_free(&w->upstreams, u);
}

void upstream_close(struct upstream_conn *u)
{
    if (u->state == UPSTREAM_CLOSED)
        return;
    CHECK(!u->side.stream && !u->waiter);
    conn_close(&u->conn);
    pool_on_closed(u->pool, u);
    u->state = UPSTREAM_CLOSED;
    loop_reap(&u->worker->loop, &u->reap, upstream_reaped);
}

/* --- what a stream asks of it --- */

static void side_head(struct side *side, const struct message *m, enum side_end end)
{
    struct upstream_conn *u = of(side);
    struct stream *s = side->stream;
    bool may_carry =
        m->method == METHOD_POST || m->method == METHOD_PUT || m->method == METHOD_PATCH;
    struct h1_framing f = {
        .body = end == SIDE_END ? BODY_NONE : (enum body_kind)m->body,
        .content_length = m->content_length,
        .declare_length = may_carry,
        .te_trailers = m->te_trailers,
        .upgrade = stream_wants_upgrade(s),
    };
    u->state = UPSTREAM_HEAD;
    u->tx = (uint8_t)f.body;
    u->keep = false;
    u->received = false;
    u->requests++;
    side->ended = end == SIDE_END;
    message_free(&s->res);
    message_init(&s->res, false);
    h1_head_init(&u->head, &s->listener->limits, (enum http_method)m->method);
    if (h1_write_request(bufs_of(u), &u->conn.out, m, &f) < 0)
        conn_break(&u->conn, ENOMEM);
}

static void side_interim(struct side *side, const struct message *m)
{
    (void)side;
    (void)m;
}

static void side_body(struct side *side, const char *p, size_t n)
{
    struct upstream_conn *u = of(side);
    if (u->write_failed)
        return;
    (void)h1_out_body(&u->conn, (enum body_kind)u->tx, p, n);
    side->blocked = u->conn.blocked;
}

static void side_finish(struct side *side, const struct message *trailers)
{
    struct upstream_conn *u = of(side);
    side->ended = true;
    if (u->state == UPSTREAM_RAW)
        conn_shutdown(&u->conn);
    else
        h1_out_end(&u->conn, (enum body_kind)u->tx, trailers);
    side->blocked = u->conn.blocked;
}

static void side_flush(struct side *side)
{
    struct upstream_conn *u = of(side);
    conn_flush(&u->conn);
    side->blocked = u->conn.blocked;
}

static bool side_recall(struct side *side)
{
    (void)side;
    return false; /* a request is not taken back */
}

static void side_credit(struct side *side, size_t n)
{
    struct upstream_conn *u = of(side);
    u->uncredited -= min_u64(n, u->uncredited);
    if (u->uncredited == 0 && u->stalled) {
        u->stalled = false;
        conn_read_start(&u->conn);
    }
}

static void side_tunnel(struct side *side)
{
    struct upstream_conn *u = of(side);
    u->state = UPSTREAM_RAW;
    u->tx = BODY_CLOSE;
    u->keep = false;
    socket_keep_alive(u->conn.transport.fd);
    side->ended = false;
}

static bool reusable(const struct upstream_conn *u)
{
    const struct conf_upstream *c = u->pool->conf;
    return u->keep && endpoint_listed(u->endpoint) && u->side.ended && !u->write_failed &&
           !u->eof && !u->conn.error && !u->conn.blocked && buf_len(&u->conn.out) == 0 &&
           (c->max_requests_per_connection == 0 || u->requests < c->max_requests_per_connection) &&
           (c->max_lifetime == 0 || u->worker->loop.now < u->opened + c->max_lifetime);
}

static void side_release(struct side *side, bool clean, enum reason reason)
{
    struct upstream_conn *u = of(side);
    (void)reason;
    side->stream = NULL;
    if (u->state == UPSTREAM_CLOSED)
        return;
    if (!clean || !reusable(u)) {
        upstream_close(u);
        return;
    }
    u->uncredited = 0;
    if (u->stalled) {
        u->stalled = false;
        conn_read_start(&u->conn);
    }
    u->state = UPSTREAM_IDLE;
    pool_on_idle(u->pool, u);
}

static const struct side_ops side_ops = {
    .head = side_head,
    .interim = side_interim,
    .body = side_body,
    .end = side_finish,
    .flush = side_flush,
    .recall = side_recall,
    .credit = side_credit,
    .tunnel = side_tunnel,
    .release = side_release,
};

/* --- reading --- */

/* Not a byte of an answer on a connection that its server may have closed while it was idle. */
static bool is_stale(const struct upstream_conn *u)
{
    return u->state == UPSTREAM_HEAD && !u->received && (u->pooled || u->requests > 1);
}

static void fail(struct upstream_conn *u, enum reason reason, const char *detail, bool nothing)
{
    if (u->side.stream)
        stream_on_upstream_failed(u->side.stream, reason, detail, nothing);
    if (u->state != UPSTREAM_CLOSED && !u->side.stream && u->state != UPSTREAM_IDLE)
        upstream_close(u);
}

/* `Keep-Alive: timeout=5`: we leave a second before the server does. 0: it is not kept at all.
 * USEC_NEVER: nothing is said. */
static usec_t told_idle_timeout(const struct message *m)
{
    const struct field *f = message_find(m, FIELD_KEEP_ALIVE);
    struct str rest, item;
    uint64_t secs;
    if (!f)
        return USEC_NEVER;
    rest = field_value(m, f);
    while (str_list_next(&rest, &item)) {
        if (item.n > 8 && str_ieq((struct str){item.p, 8}, STR("timeout=")) &&
            str_to_u64((struct str){item.p + 8, item.n - 8}, &secs) && secs < 86400) {
            usec_t told = secs * USEC_PER_SEC;
            return told > USEC_PER_SEC ? told - USEC_PER_SEC : told / 2;
        }
    }
    return USEC_NEVER;
}

/* The response is whole. Bytes behind it belong to nobody: the connection is not used again, and
 * while the client has seen nothing the response itself is not believed. */
static void response_end(struct upstream_conn *u, size_t left)
{
    struct stream *s = u->side.stream;
    if (left > 0) {
        u->keep = false;
        if (s->down->ops->recall(s->down)) {
            s->response_begun = false;
            fail(u, REASON_UPSTREAM_PROTOCOL, "bytes behind the response", false);
            return;
        }
    }
    stream_on_response_end(s);
}

static size_t feed_head(struct upstream_conn *u, const char *p, size_t n)
{
    struct stream *s = u->side.stream;
    size_t taken = n;
    u->received = true;
    switch (h1_head_feed(&u->head, &s->res, p, n, &taken)) {
    case H1_MORE:
        return taken;
    case H1_ERROR:
        fail(u, u->head.reason, u->head.detail, false);
        return n;
    case H1_DONE:
        break;
    }
    if (s->res.status < 200 && s->res.status != 101) {
        stream_on_interim(s);
        if (u->side.stream == s) {
            message_free(&s->res);
            message_init(&s->res, false);
            h1_head_init(&u->head, &s->listener->limits, (enum http_method)s->req.method);
        }
        return taken;
    }
    /* A head alone, which still declares its length. */
    if (s->res.body == BODY_LENGTH && s->res.content_length == 0)
        s->res.body = BODY_NONE;
    u->state = UPSTREAM_BODY;
    u->keep = !s->res.connection_close && s->res.body != BODY_CLOSE;
    u->told_idle_timeout = told_idle_timeout(&s->res);
    if (u->told_idle_timeout == 0)
        u->keep = false;
    h1_body_init(&u->body, &s->res, &s->listener->limits);
    if (s->res.body == BODY_CHUNKED && !stream_trailers(s, false)) {
        fail(u, REASON_OUT_OF_MEMORY, NULL, false);
        return n;
    }
    bool bodiless = s->res.body == BODY_NONE && s->res.status != 101;
    stream_on_response(s);
    if (u->side.stream == s && bodiless)
        response_end(u, n - taken);
    return taken;
}

static size_t feed_body(struct upstream_conn *u, const char *p, size_t n)
{
    struct stream *s = u->side.stream;
    struct str data = STR_NONE;
    size_t taken = 0;
    enum h1_result r = h1_body_feed(&u->body, s->trailers[1], p, n, &taken, &data);
    if (data.n > 0) {
        u->uncredited += data.n;
        stream_on_response_body(s, data.p, data.n);
        if (u->side.stream != s)
            return taken;
    }
    if (r == H1_ERROR)
        fail(u, u->body.reason, u->body.detail, false);
    else if (r == H1_DONE)
        response_end(u, n - taken);
    return taken;
}

static void feed(struct upstream_conn *u, const char *p, size_t n)
{
    struct stream *s = u->side.stream;
    while (n > 0 && u->side.stream == s) {
        size_t taken = n;
        if (u->state == UPSTREAM_HEAD) {
            taken = feed_head(u, p, n);
        } else if (u->state == UPSTREAM_BODY) {
            taken = feed_body(u, p, n);
        } else if (u->state == UPSTREAM_RAW) {
            u->uncredited += n;
            stream_on_response_body(s, p, n);
        } else {
            return;
        }
        p += taken;
        n -= taken;
    }
}

static void on_eof(struct upstream_conn *u)
{
    struct stream *s = u->side.stream;
    u->eof = true;
    conn_read_stop(&u->conn);
    switch ((enum upstream_state)u->state) {
    case UPSTREAM_IDLE:
        count_add(&u->pool->stats->closed_idle, 1);
        upstream_close(u);
        break;
    case UPSTREAM_HEAD:
        if (u->received)
            fail(u, REASON_UPSTREAM_TRUNCATED, "response head cut", false);
        else
            fail(u, REASON_UPSTREAM_CLOSED, NULL, is_stale(u));
        break;
    case UPSTREAM_BODY:
        if (u->body.kind == BODY_CLOSE && !u->reset)
            stream_on_response_end(s);
        else
            fail(u, REASON_UPSTREAM_TRUNCATED, "response body cut", false);
        break;
    case UPSTREAM_RAW:
        stream_on_response_end(s);
        break;
    case UPSTREAM_CONNECTING:
    case UPSTREAM_CLOSED:
        break;
    }
}

static void on_broken(struct upstream_conn *u, int err)
{
    if (u->state == UPSTREAM_IDLE) {
        count_add(&u->pool->stats->closed_idle, 1);
        upstream_close(u);
        return;
    }
    enum reason reason = err == ENOMEM ? REASON_OUT_OF_MEMORY : REASON_UPSTREAM_RESET;
    fail(u, reason, NULL, is_stale(u));
}

static void on_readable(struct conn *c)
{
    struct upstream_conn *u = CONTAINER_OF(c, struct upstream_conn, conn);
    CHECK_OBJ(u, UPSTREAM_MAGIC);
    struct loop *l = &u->worker->loop;
    struct stream *s = u->side.stream;
    if (u->uncredited > 0) {
        u->stalled = true;
        conn_read_stop(c);
        return;
    }
    ssize_t n = conn_read(c, l->scratch, LOOP_SCRATCH_BYTES);
    if (n == -EAGAIN)
        return;
    if (n == 0) {
        on_eof(u);
    } else if (n < 0) {
        on_broken(u, (int)-n);
    } else if (!s) {
        /* Nobody asked: a response nobody waits for must not meet the next request. */
        count_add(&u->pool->stats->unsolicited, 1);
        upstream_close(u);
    } else {
        feed(u, l->scratch, (size_t)n);
        if (s->step != STREAM_FINISHED && s->down)
            s->down->ops->flush(s->down);
    }
}

static void on_connected(struct upstream_conn *u)
{
    int err = socket_connect_result(u->conn.transport.fd);
    if (err != 0) {
        pool_on_connect_failed(u->pool, u,
                               err == ECONNREFUSED ? REASON_CONNECT_REFUSED
                               : err == ETIMEDOUT  ? REASON_CONNECT_TIMEOUT
                                                   : REASON_CONNECT_FAILED);
        return;
    }
    u->state = UPSTREAM_IDLE;
    conn_read_start(&u->conn);
    pool_on_connected(u->pool, u);
}

static void on_drained(struct conn *c)
{
    struct upstream_conn *u = CONTAINER_OF(c, struct upstream_conn, conn);
    CHECK_OBJ(u, UPSTREAM_MAGIC);
    if (u->state == UPSTREAM_CONNECTING) {
        on_connected(u);
        return;
    }
    u->side.blocked = false;
    struct stream *s = u->side.stream;
    if (!s)
        return;
    stream_on_writable(s, &u->side);
    if (s->step != STREAM_FINISHED && s->up)
        s->up->ops->flush(s->up);
}

/* The server may have answered early and closed: what it said is read before the failure counts. */
static void on_failed(struct conn *c, int err)
{
    struct upstream_conn *u = CONTAINER_OF(c, struct upstream_conn, conn);
    CHECK_OBJ(u, UPSTREAM_MAGIC);
    struct stream *s = u->side.stream;
    u->write_failed = true;
    u->reset = err != EPIPE; /* which says that an orderly end had come before */
    u->keep = false;
    if (err == ENOMEM || !s || u->state == UPSTREAM_RAW) {
        on_broken(u, err);
        return;
    }
    relay_discard(&s->request, bufs_of(u));
    u->side.blocked = false;
    conn_read_start(c);
    on_readable(c);
}

static const struct conn_ops conn_ops = {
    .readable = on_readable,
    .drained = on_drained,
    .failed = on_failed,
};

struct upstream_conn *upstream_connect(struct pool *p, struct endpoint *e, enum reason *ret_reason)
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
        *ret_reason = fd == -ECONNREFUSED || fd == -ENOENT ? REASON_CONNECT_REFUSED
                      : fd == -ENOMEM                      ? REASON_OUT_OF_MEMORY
                                                           : REASON_CONNECT_FAILED;
        return NULL;
    }
    memset(u, 0, sizeof(*u));
    u->magic = UPSTREAM_MAGIC;
    u->state = UPSTREAM_CONNECTING;
    u->endpoint = endpoint_ref(e);
    u->worker = w;
    u->pool = p;
    u->side.ops = &side_ops;
    u->opened = w->loop.now;
    u->told_idle_timeout = USEC_NEVER;
    conn_open(&u->conn, &w->loop, fd, &conn_ops, true);
    return u;
}

void upstream_lease(struct upstream_conn *u, struct stream *s)
{
    CHECK(!u->side.stream && u->state == UPSTREAM_IDLE);
    u->state = UPSTREAM_HEAD;
    u->received = false;
    u->side.stream = s;
    u->side.blocked = u->side.ended = false;
    s->up = &u->side;
    if (s->endpoint != u->endpoint) {
        endpoint_unref(s->endpoint);
        s->endpoint = endpoint_ref(u->endpoint);
    }
}
