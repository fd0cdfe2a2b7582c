/* downstream_h1_side.c - the side towards a client: a response becomes HTTP/1 bytes, or raw ones.
 */
#include "proxy/downstream_h1.h"

#include "http/h1_write.h"
#include "proxy/downstream_sniff.h"
#include "proxy/h1_out.h"
#include "proxy/listener.h"
#include "proxy/stream.h"
#include "proxy/worker_overload.h"

#include <errno.h>
#include <sys/socket.h>

static struct downstream *of(struct side *s)
{
    return CONTAINER_OF(s, struct downstream, side);
}

static bool has_field(const struct message *m, enum field_id id)
{
    for (uint32_t i = 0; i < m->n_fields; i++) {
        if (m->fields[i].id == id)
            return true;
    }
    return false;
}

/* The connection ends behind this response. */
static bool closes_after(const struct downstream *d, const struct stream *s)
{
    uint64_t max = d->listener->conf->max_requests;
    return !s->request_ended || s->req.connection_close ||
           (d->request_eof && buf_len(&d->pipelined) == 0) || (max > 0 && d->requests >= max) ||
           worker_offers_close(d->worker, (enum direction)d->direction) || d->listener->leaving ||
           worker_sheds_keep_alive(d->worker);
}

static struct h1_framing framing_of(struct downstream *d, const struct stream *s,
                                    const struct message *m, enum side_end end)
{
    struct h1_framing f = {.body = BODY_NONE, .content_length = m->content_length};
    bool http10 = s->step > STREAM_RECEIVE && s->req.version_minor == 0;
    if (m->status == 101) {
        f.upgrade = true;
        return f;
    }
    if (end == SIDE_END) {
        /* HEAD and 304 repeat a declared length; where a body could be, its absence is said. */
        bool bodiless = s->req.method == METHOD_HEAD || m->status == 304;
        f.declare_length = bodiless ? has_field(m, FIELD_CONTENT_LENGTH) || m->body == BODY_LENGTH
                                    : m->status != 204;
    } else if (m->body == BODY_LENGTH) {
        f.body = BODY_LENGTH;
    } else {
        f.body = http10 ? BODY_CLOSE : BODY_CHUNKED;
    }
    d->must_close = f.body == BODY_CLOSE || closes_after(d, s);
    f.connection_close = d->must_close;
    f.connection_keep_alive = http10 && !d->must_close;
    return f;
}

static void side_head(struct side *side, const struct message *m, enum side_end end)
{
    struct downstream *d = of(side);
    struct h1_framing f = framing_of(d, side->stream, m, end);
    d->tx = (uint8_t)f.body;
    side->ended = end == SIDE_END;
    d->flushed = buf_len(&d->conn.out) > 0 || d->conn.blocked;
    if (h1_write_response(&d->worker->loop.bufs, &d->conn.out, m, &f) < 0)
        conn_break(&d->conn, ENOMEM);
}

static void side_interim(struct side *side, const struct message *m)
{
    struct downstream *d = of(side);
    struct h1_framing f = {.body = BODY_NONE};
    if (h1_write_response(&d->worker->loop.bufs, &d->conn.out, m, &f) < 0)
        conn_break(&d->conn, ENOMEM);
    conn_flush(&d->conn);
    downstream_h1_note_blocked(d);
}

static void side_body(struct side *side, const char *p, size_t n)
{
    struct downstream *d = of(side);
    if (d->tx == BODY_NONE && d->state != DOWNSTREAM_RAW)
        return;
    count_add(&d->listener->stats.bytes_out, (int64_t)n);
    if (h1_out_body(&d->conn, (enum body_kind)d->tx, p, n))
        d->flushed = true;
    downstream_h1_note_blocked(d);
}

static void side_finish(struct side *side, const struct message *trailers)
{
    struct downstream *d = of(side);
    side->ended = true;
    if (d->state == DOWNSTREAM_RAW) {
        conn_shutdown(&d->conn);
        downstream_h1_note_blocked(d);
        return;
    }
    h1_out_end(&d->conn, (enum body_kind)d->tx, trailers);
}

static void side_flush(struct side *side)
{
    struct downstream *d = of(side);
    if (buf_len(&d->conn.out) == 0)
        return;
    conn_flush(&d->conn);
    d->flushed = true;
    downstream_h1_note_blocked(d);
}

static bool side_recall(struct side *side)
{
    struct downstream *d = of(side);
    if (d->flushed)
        return false;
    buf_clear(&d->worker->loop.bufs, &d->conn.out);
    side->ended = false;
    return true;
}

static void side_credit(struct side *side, size_t n)
{
    struct downstream *d = of(side);
    d->uncredited -= min_u64(n, d->uncredited);
    if (d->uncredited == 0 && d->stalled) {
        d->stalled = false;
        d->since = d->worker->loop.now;
        conn_read_start(&d->conn);
        downstream_arm(d);
    }
}

static void side_tunnel(struct side *side)
{
    struct downstream *d = of(side);
    conn_flush(&d->conn);
    d->state = DOWNSTREAM_RAW;
    d->tx = BODY_CLOSE;
    d->flushed = true;
    downstream_h1_note_blocked(d);
    conn_read_start(&d->conn);
    /* What the client sent behind its upgrade request is the tunnel's first bytes. */
    if (buf_len(&d->pipelined) > 0)
        ev_feed_event(d->worker->loop.ev, &d->conn.io, EV_READ);
}

/* The peer must be able to tell a cut from an end: where only the connection's end marks the end
 * of the body, a FIN would be a lie. */
static void cut(struct downstream *d, enum reason reason)
{
    bool reset =
        d->tx == BODY_CLOSE && (d->state != DOWNSTREAM_RAW || reason == REASON_UPSTREAM_RESET);
    if (reset) {
        struct linger hard = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(d->conn.transport.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    } else {
        conn_flush(&d->conn);
    }
    downstream_close(d);
}

static void side_release(struct side *side, bool clean, enum reason reason)
{
    struct downstream *d = of(side);
    const struct stream *s = side->stream;
    bool client_closes = s->req.connection_close && s->request_ended;
    bool complete = side->ended;
    side_flush(side);
    side->stream = NULL;
    d->uncredited = 0;
    if (d->state == DOWNSTREAM_CLOSED)
        return;
    if (!complete && reason == REASON_NO_ROUTE && d->state == DOWNSTREAM_RAW) {
        downstream_send_alert(d, ALERT_UNRECOGNIZED_NAME); /* a stream of bytes is routed by it */
        downstream_linger(d);
        return;
    }
    if (!complete) {
        cut(d, reason);
        return;
    }
    if (clean && !d->must_close && d->state != DOWNSTREAM_RAW) {
        downstream_h1_next(d);
        return;
    }
    /* The client said that nothing more comes: no need to wait for its end. (Of TLS there is.) */
    if (clean && client_closes && !d->conn.blocked && buf_len(&d->pipelined) == 0 &&
        d->state != DOWNSTREAM_RAW && !transport_is_tls(&d->conn.transport))
        downstream_close(d);
    else
        downstream_linger(d);
}

const struct side_ops downstream_h1_side = {
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
