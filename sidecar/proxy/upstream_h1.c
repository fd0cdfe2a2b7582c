/* upstream_h1.c - an upstream connection that speaks HTTP/1: the request goes out, the response is
 * read. */
#include "proxy/upstream_h1.h"

#include "http/h1_write.h"
#include "io/socket.h"
#include "proxy/endpoint.h"
#include "proxy/h1_out.h"
#include "proxy/stream.h"
#include "proxy/stream_steps.h"
#include "proxy/upstream.h"

#include <errno.h>

static struct upstream_conn *of(struct side *s)
{
    return CONTAINER_OF(s, struct upstream_conn, h1.side);
}

static struct buf_pool *bufs_of(struct upstream_conn *u)
{
    return &u->worker->loop.bufs;
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
    u->h1.phase = UPSTREAM_H1_HEAD;
    u->h1.tx = (uint8_t)f.body;
    u->h1.keep = false;
    u->h1.received = false;
    side->ended = f.body == BODY_NONE; /* an upgrade's too: a tunnel begins anew */
    message_clear(&s->exchange->res);
    h1_head_init(&u->h1.head, &s->listener->limits, (enum http_method)m->method);
    if (h1_write_request(bufs_of(u), &u->conn.out, m, &f) < 0)
        conn_break(&u->conn, ENOMEM);
}

static bool side_gone_out(const struct side *side)
{
    const struct upstream_conn *u = CONTAINER_OF(side, struct upstream_conn, h1.side);
    return buf_len(&u->conn.out) == 0;
}

static void side_interim(struct side *side, const struct message *m)
{
    (void)side;
    (void)m;
}

static void side_body(struct side *side, const char *p, size_t n)
{
    struct upstream_conn *u = of(side);
    if (u->h1.write_failed)
        return;
    (void)h1_out_body(&u->conn, (enum body_kind)u->h1.tx, p, n);
    side->blocked = u->conn.blocked;
}

static void side_finish(struct side *side, const struct message *trailers)
{
    struct upstream_conn *u = of(side);
    side->ended = true;
    if (u->h1.phase == UPSTREAM_H1_RAW)
        conn_shutdown(&u->conn);
    else
        h1_out_end(&u->conn, (enum body_kind)u->h1.tx, trailers);
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
    u->h1.uncredited -= min_u64(n, u->h1.uncredited);
    if (u->h1.uncredited == 0 && u->h1.stalled) {
        u->h1.stalled = false;
        conn_read_start(&u->conn);
    }
}

static void side_tunnel(struct side *side)
{
    struct upstream_conn *u = of(side);
    u->h1.phase = UPSTREAM_H1_RAW;
    u->h1.tx = BODY_CLOSE;
    u->h1.keep = false;
    socket_keep_alive(u->conn.transport.fd);
    side->ended = false;
}

static bool reusable(const struct upstream_conn *u)
{
    return u->h1.keep && u->h1.side.ended && !u->h1.write_failed && !u->h1.eof && !u->conn.error &&
           !u->conn.blocked && buf_len(&u->conn.out) == 0;
}

static void side_release(struct side *side, bool clean, enum reason reason)
{
    struct upstream_conn *u = of(side);
    (void)reason;
    side->stream = NULL;
    bool keep = clean && reusable(u);
    u->h1.uncredited = 0;
    if (keep && u->h1.stalled) {
        u->h1.stalled = false;
        conn_read_start(&u->conn);
    }
    pool_on_released(u->pool, u, keep);
}

static const struct side_ops side_ops = {
    .head = side_head,
    .gone_out = side_gone_out,
    .interim = side_interim,
    .body = side_body,
    .end = side_finish,
    .flush = side_flush,
    .recall = side_recall,
    .credit = side_credit,
    .tunnel = side_tunnel,
    .carrier = of,
    .release = side_release,
};

/* --- reading --- */

/* The server may have closed the connection while it was idle. */
static enum upstream_silence silence_of(const struct upstream_conn *u)
{
    if (u->h1.phase != UPSTREAM_H1_HEAD || u->h1.received)
        return UPSTREAM_SPOKE;
    return u->pooled || u->requests > 1 ? UPSTREAM_STALE : UPSTREAM_SILENT;
}

static void fail(struct upstream_conn *u, enum reason reason, const char *detail,
                 enum upstream_silence silence)
{
    if (u->h1.side.stream)
        stream_on_upstream_failed(u->h1.side.stream, reason, detail, silence);
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
    struct stream *s = u->h1.side.stream;
    if (left > 0) {
        u->h1.keep = false;
        if (!s->response_begun || s->down->ops->recall(s->down)) {
            s->response_begun = false;
            fail(u, REASON_UPSTREAM_PROTOCOL, "bytes behind the response", UPSTREAM_SPOKE);
            return;
        }
    }
    stream_on_response_end(s);
}

static size_t feed_head(struct upstream_conn *u, const char *p, size_t n)
{
    struct stream *s = u->h1.side.stream;
    size_t taken = n;
    u->h1.received = true;
    switch (h1_head_feed(&u->h1.head, &s->exchange->res, p, n, &taken)) {
    case H1_MORE:
        return taken;
    case H1_ERROR:
        fail(u, u->h1.head.reason, u->h1.head.detail, UPSTREAM_SPOKE);
        return n;
    case H1_DONE:
        break;
    }
    if (s->exchange->res.status < 200 && s->exchange->res.status != 101) {
        stream_on_interim(s);
        if (u->h1.side.stream == s) {
            message_clear(&s->exchange->res);
            h1_head_init(&u->h1.head, &s->listener->limits, (enum http_method)s->req.method);
        }
        return taken;
    }
    /* A head alone, which still declares its length. */
    if (s->exchange->res.body == BODY_LENGTH && s->exchange->res.content_length == 0)
        s->exchange->res.body = BODY_NONE;
    u->h1.phase = UPSTREAM_H1_BODY;
    u->h1.keep = !s->exchange->res.connection_close && s->exchange->res.body != BODY_CLOSE;
    u->told_idle_timeout = told_idle_timeout(&s->exchange->res);
    if (u->told_idle_timeout == 0)
        u->h1.keep = false;
    h1_body_init(&u->h1.body, &s->exchange->res, &u->h1.head);
    if (s->exchange->res.body == BODY_CHUNKED && !stream_trailers(s, false)) {
        fail(u, REASON_OUT_OF_MEMORY, NULL, UPSTREAM_SPOKE);
        return n;
    }
    bool bodiless = s->exchange->res.body == BODY_NONE && s->exchange->res.status != 101;
    stream_on_response(s);
    if (u->h1.side.stream == s && bodiless)
        response_end(u, n - taken);
    return taken;
}

static size_t feed_body(struct upstream_conn *u, const char *p, size_t n)
{
    struct stream *s = u->h1.side.stream;
    struct str data = STR_NONE;
    size_t taken = 0;
    enum h1_result r = h1_body_feed(&u->h1.body, s->trailers[1], p, n, &taken, &data);
    if (data.n > 0) {
        u->h1.uncredited += data.n;
        stream_on_response_body(s, data.p, data.n);
        if (u->h1.side.stream != s)
            return taken;
    }
    if (r == H1_ERROR)
        fail(u, u->h1.body.reason, u->h1.body.detail, UPSTREAM_SPOKE);
    else if (r == H1_DONE)
        response_end(u, n - taken);
    return taken;
}

static void feed(struct upstream_conn *u, const char *p, size_t n)
{
    struct stream *s = u->h1.side.stream;
    while (n > 0 && u->h1.side.stream == s) {
        size_t taken = n;
        if (u->h1.phase == UPSTREAM_H1_HEAD) {
            taken = feed_head(u, p, n);
        } else if (u->h1.phase == UPSTREAM_H1_BODY) {
            taken = feed_body(u, p, n);
        } else if (u->h1.phase == UPSTREAM_H1_RAW) {
            u->h1.uncredited += n;
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
    struct stream *s = u->h1.side.stream;
    u->h1.eof = true;
    conn_read_stop(&u->conn);
    if (u->state == UPSTREAM_IDLE) {
        upstream_close_idle(u);
        return;
    }
    switch ((enum upstream_h1_phase)u->h1.phase) {
    case UPSTREAM_H1_HEAD:
        if (u->h1.received)
            fail(u, REASON_UPSTREAM_TRUNCATED, "response head cut", UPSTREAM_SPOKE);
        else
            fail(u, REASON_UPSTREAM_CLOSED, NULL, silence_of(u));
        break;
    case UPSTREAM_H1_BODY:
        if (u->h1.body.kind == BODY_CLOSE && !u->h1.reset)
            stream_on_response_end(s);
        else
            fail(u, REASON_UPSTREAM_TRUNCATED, "response body cut", UPSTREAM_SPOKE);
        break;
    case UPSTREAM_H1_RAW:
        stream_on_response_end(s);
        break;
    }
}

static void on_broken(struct upstream_conn *u, int err)
{
    if (u->state == UPSTREAM_IDLE) {
        upstream_close_idle(u);
        return;
    }
    enum reason reason = err == ENOMEM ? REASON_OUT_OF_MEMORY : REASON_UPSTREAM_RESET;
    fail(u, reason, NULL, silence_of(u));
}

static void on_readable(struct conn *c)
{
    struct upstream_conn *u = CONTAINER_OF(c, struct upstream_conn, conn);
    CHECK_OBJ(u, UPSTREAM_MAGIC);
    struct loop *l = &u->worker->loop;
    struct stream *s = u->h1.side.stream;
    if (u->h1.uncredited > 0) {
        u->h1.stalled = true;
        conn_read_stop(c);
        return;
    }
    ssize_t n = conn_read(c, l->scratch, LOOP_SCRATCH_BYTES);
    if (n == -EAGAIN)
        return;
    if (n == -ECONNABORTED && !(u->state == UPSTREAM_ACTIVE && u->h1.phase == UPSTREAM_H1_RAW)) {
        u->h1.reset = true; /* an end that is none where nothing else delimits the body */
        on_eof(u);
    } else if (n == 0) {
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

static void on_drained(struct conn *c)
{
    struct upstream_conn *u = CONTAINER_OF(c, struct upstream_conn, conn);
    CHECK_OBJ(u, UPSTREAM_MAGIC);
    u->h1.side.blocked = false;
    struct stream *s = u->h1.side.stream;
    if (!s)
        return;
    stream_on_writable(s, &u->h1.side);
    if (s->step != STREAM_FINISHED && s->up)
        s->up->ops->flush(s->up);
}

/* The server may have answered early and closed: what it said is read before the failure counts. */
static void on_failed(struct conn *c, int err)
{
    struct upstream_conn *u = CONTAINER_OF(c, struct upstream_conn, conn);
    CHECK_OBJ(u, UPSTREAM_MAGIC);
    struct stream *s = u->h1.side.stream;
    u->h1.write_failed = true;
    u->h1.reset = err != EPIPE; /* which says that an orderly end had come before */
    u->h1.keep = false;
    if (err == ENOMEM || !s || u->h1.phase == UPSTREAM_H1_RAW) {
        on_broken(u, err);
        return;
    }
    relay_discard(&s->request, bufs_of(u));
    u->h1.side.blocked = false;
    conn_read_start(c);
    on_readable(c);
}

static const struct conn_ops conn_ops = {
    .readable = on_readable,
    .drained = on_drained,
    .failed = on_failed,
};

static bool lease(struct upstream_conn *u, struct stream *s)
{
    CHECK(!u->h1.side.stream);
    u->h1.phase = UPSTREAM_H1_HEAD;
    u->h1.received = false;
    u->h1.side.stream = s;
    u->h1.side.blocked = u->h1.side.ended = false;
    s->up = &u->h1.side;
    return true;
}

static bool goodbye(struct upstream_conn *u)
{
    (void)u;
    return true;
}

static void nothing_to_free(struct upstream_conn *u)
{
    (void)u;
}

static usec_t oldest(const struct upstream_conn *u)
{
    return u->h1.side.stream ? u->h1.side.stream->began : USEC_NEVER;
}

static const struct upstream_ops h1_ops = {
    .lease = lease, .goodbye = goodbye, .free = nothing_to_free, .oldest = oldest};

void upstream_h1_start(struct upstream_conn *u)
{
    u->ops = &h1_ops;
    u->most = 1;
    u->h1.side.ops = &side_ops;
    u->conn.ops = &conn_ops;
}
