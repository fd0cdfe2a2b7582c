/* downstream_h1.c - HTTP/1 from a client, or bytes: reading, timing, draining. */
#include "proxy/downstream_h1.h"

#include "io/socket.h"
#include "proxy/downstream_h2.h"
#include "proxy/listener.h"
#include "proxy/stream.h"

#include <errno.h>

enum { PIPELINED_MAX = 16 * 1024 }; /* bytes kept behind the request in hand */

static const struct conf_listener *conf_of(const struct downstream *d)
{
    return d->listener->conf;
}

void downstream_h1_next(struct downstream *d)
{
    d->state = DOWNSTREAM_HEAD;
    d->since = d->worker->loop.now;
    d->must_close = false;
    d->stalled = false;
    if (d->request_eof && buf_len(&d->pipelined) == 0) {
        downstream_linger(d);
        return;
    }
    downstream_set_population(d, true);
    conn_read_start(&d->conn);
    if (buf_len(&d->pipelined) > 0)
        ev_feed_event(d->worker->loop.ev, &d->conn.io, EV_READ);
    downstream_arm(d);
}

/* --- time --- */

static usec_t head_deadline(const struct downstream *d)
{
    const struct conf_listener *l = conf_of(d);
    return d->since +
           (d->side.stream || d->requests == 0 ? l->header_timeout : l->keep_alive_timeout);
}

/* As long as `since` and a timeout say. Before that it has to take what we sent. */
static bool waits_for_client(const struct downstream *d)
{
    return d->state == DOWNSTREAM_HEAD && (d->side.stream || !d->conn.blocked);
}

static usec_t next_deadline(const struct downstream *d)
{
    usec_t at = USEC_NEVER;
    if (waits_for_client(d))
        at = head_deadline(d);
    else if (d->state == DOWNSTREAM_BODY && !d->stalled)
        at = d->since + conf_of(d)->body_idle_timeout;
    if (d->side.stream)
        at = min_u64(at, stream_next_deadline(d->side.stream));
    return at;
}

static void on_deadline_changed(struct stream *s)
{
    if (s->down)
        downstream_arm(CONTAINER_OF(s->down, struct downstream, side));
}

static void check(struct downstream *d, usec_t now)
{
    struct stream *s = d->side.stream;
    if (waits_for_client(d) && now >= head_deadline(d)) {
        if (s)
            stream_on_request_error(s, REASON_CLIENT_TIMEOUT, "request head not sent in time");
        else
            downstream_linger(d);
    } else if (d->state == DOWNSTREAM_BODY && !d->stalled &&
               now >= d->since + conf_of(d)->body_idle_timeout) {
        stream_on_request_error(s, REASON_CLIENT_TIMEOUT, "request body not sent in time");
    } else if (s) {
        stream_check(s, now);
    }
}

/* --- reading --- */

static void deliver(struct downstream *d, const char *p, size_t n)
{
    d->uncredited += n;
    count_add(&d->listener->stats.bytes_in, (int64_t)n);
    stream_on_request_body(d->side.stream, p, n);
}

/* Without memory for a stream there is none to answer with: a fixed line says it. */
static void refuse_without_memory(struct downstream *d)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                               "Proxy-Status: sluice; error=proxy_internal_error; "
                               "details=\"out_of_memory\"\r\nRetry-After: 1\r\n"
                               "Connection: close\r\n\r\n";
    count_add(&d->worker->stats.reasons[REASON_OUT_OF_MEMORY], 1);
    conn_send(&d->conn, text, sizeof(text) - 1);
    downstream_linger(d);
}

static size_t feed_head(struct downstream *d, const char *p, size_t n)
{
    size_t taken = n;
    struct stream *s = d->side.stream;
    if (!s) {
        s = stream_new(d->worker, d->listener, &d->side, &d->peer_ip,
                       (struct str){d->peer, d->peer_len});
        if (!s) {
            refuse_without_memory(d);
            return n;
        }
        s->client = &d->conn.transport;
        s->deadline_changed = on_deadline_changed;
        h1_head_init(&d->head, &s->listener->limits, METHOD_OTHER);
        d->since = d->worker->loop.now;
        d->requests++;
        downstream_set_population(d, false);
    }
    switch (h1_head_feed(&d->head, &s->req, p, n, &taken)) {
    case H1_MORE:
        downstream_arm(d);
        break;
    case H1_ERROR:
        s->req.connection_close = false; /* half a head decides nothing */
        stream_on_request_error(s, d->head.reason, d->head.detail);
        return n;
    case H1_DONE:
        d->state = DOWNSTREAM_WAIT;
        h1_body_init(&d->body, &s->req, &d->head);
        s->request_ended = s->request.from_ended = d->body.done; /* none, or Content-Length: 0 */
        if (!s->request_ended) {
            d->state = DOWNSTREAM_BODY;
            d->since = d->worker->loop.now;
            if (s->req.body == BODY_CHUNKED && !stream_trailers(s, true)) {
                stream_on_request_error(s, REASON_OUT_OF_MEMORY, NULL);
                return n;
            }
        }
        stream_on_request(s);
        break;
    }
    return taken;
}

static size_t feed_body(struct downstream *d, const char *p, size_t n)
{
    struct stream *s = d->side.stream;
    struct str data = STR_NONE;
    size_t taken = 0;
    d->since = d->worker->loop.now;
    enum h1_result r = h1_body_feed(&d->body, s->trailers[0], p, n, &taken, &data);
    if (data.n > 0)
        deliver(d, data.p, data.n);
    if (d->side.stream != s)
        return taken; /* the bytes were the last straw: it has ended */
    if (r == H1_ERROR) {
        stream_on_request_error(s, d->body.reason, d->body.detail);
        return n;
    }
    if (r == H1_DONE) {
        d->state = DOWNSTREAM_WAIT;
        stream_on_request_end(s);
    }
    return taken;
}

static void keep_pipelined(struct downstream *d, const char *p, size_t n)
{
    if (buf_append(&d->worker->loop.bufs, &d->pipelined, p, n) < 0) {
        conn_break(&d->conn, ENOMEM);
        return;
    }
    if (buf_len(&d->pipelined) >= PIPELINED_MAX)
        conn_read_stop(&d->conn);
}

static void feed(struct downstream *d, const char *p, size_t n)
{
    while (n > 0) {
        size_t taken = n;
        switch ((enum downstream_state)d->state) {
        case DOWNSTREAM_HEAD:
            taken = feed_head(d, p, n);
            break;
        case DOWNSTREAM_BODY:
            taken = feed_body(d, p, n);
            break;
        case DOWNSTREAM_WAIT:
            keep_pipelined(d, p, n);
            break;
        case DOWNSTREAM_RAW:
            deliver(d, p, n);
            break;
        case DOWNSTREAM_LINGER:
            downstream_note_crossed(d);
            break;
        case DOWNSTREAM_CLOSED:
            break;
        }
        p += taken;
        n -= taken;
    }
}

static void on_gone(struct downstream *d, enum reason reason)
{
    if (d->side.stream)
        stream_on_client_gone(d->side.stream, reason);
    downstream_close(d);
}

static void on_eof(struct downstream *d)
{
    struct stream *s = d->side.stream;
    d->request_eof = true;
    conn_read_stop(&d->conn);
    switch ((enum downstream_state)d->state) {
    case DOWNSTREAM_HEAD:
        if (s)
            stream_on_client_gone(s, REASON_CLIENT_ABORT);
        else if (d->conn.blocked || transport_is_tls(&d->conn.transport))
            downstream_linger(d); /* close_notify is answered */
        else
            downstream_close(d);
        break;
    case DOWNSTREAM_BODY:
        stream_on_client_gone(s, REASON_CLIENT_ABORT);
        break;
    case DOWNSTREAM_RAW:
        stream_on_request_end(s);
        break;
    case DOWNSTREAM_WAIT: /* half closed: it still reads its answer */
        if (s && s->route && s->route->abort_on_close)
            on_gone(d, REASON_CLIENT_ABORT);
        break;
    case DOWNSTREAM_LINGER:
    case DOWNSTREAM_CLOSED:
        break;
    }
}

static void flush_stream(struct stream *s)
{
    if (s->step == STREAM_FINISHED)
        return;
    if (s->up)
        s->up->ops->flush(s->up);
    if (s->down)
        s->down->ops->flush(s->down);
}

static void feed_and_flush(struct downstream *d, const char *p, size_t n)
{
    feed(d, p, n);
    if (d->side.stream)
        flush_stream(d->side.stream);
}

/* The first bytes of a connection: HTTP/2's preface makes it another's (RFC 9113 §3.3). While they
 * may still become one they are kept. True: there is nothing left to read as HTTP/1. */
static bool begins_http2(struct downstream *d, const char *p, size_t n)
{
    struct buf_pool *bufs = &d->worker->loop.bufs;
    size_t held = buf_len(&d->pipelined), look = min_u64(held + n, H2_PREFACE_LEN);
    d->sniffs = conf_of(d)->http2 && memcmp(p, &H2_PREFACE[held], look - held) == 0;
    if (d->sniffs && look < H2_PREFACE_LEN) {
        keep_pipelined(d, p, n);
        return true;
    }
    bool http2 = d->sniffs;
    d->sniffs = false;
    if (!http2 && held == 0)
        return false;
    struct buf first = d->pipelined;
    d->pipelined = (struct buf){0};
    if (buf_append(bufs, &first, p, n) < 0)
        conn_break(&d->conn, ENOMEM);
    else if (http2)
        downstream_h2_begin(d, buf_data(&first), buf_len(&first));
    else
        feed_and_flush(d, buf_data(&first), buf_len(&first));
    buf_clear(bufs, &first);
    return true;
}

static void on_readable(struct conn *c)
{
    struct downstream *d = CONTAINER_OF(c, struct downstream, conn);
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    struct loop *l = &d->worker->loop;
    if (buf_len(&d->pipelined) > 0 && d->state != DOWNSTREAM_WAIT && !d->sniffs) {
        struct buf held = d->pipelined;
        d->pipelined = (struct buf){0};
        feed_and_flush(d, buf_data(&held), buf_len(&held));
        buf_clear(&l->bufs, &held);
        return;
    }
    if (d->uncredited > 0) {
        d->stalled = true;
        conn_read_stop(c);
        return;
    }
    ssize_t n = conn_read(c, l->scratch, LOOP_SCRATCH_BYTES);
    if (n > 0 && d->sniffs && begins_http2(d, l->scratch, (size_t)n))
        return;
    if (n > 0)
        feed_and_flush(d, l->scratch, (size_t)n);
    else if (n == 0)
        on_eof(d);
    else if (n != -EAGAIN)
        on_gone(d, downstream_read_failed(d));
}

static void on_drained(struct conn *c)
{
    struct downstream *d = CONTAINER_OF(c, struct downstream, conn);
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    d->side.blocked = d->behind = false;
    if (d->side.stream) {
        struct stream *s = d->side.stream;
        stream_on_writable(s, &d->side);
        flush_stream(s);
    } else if (d->state != DOWNSTREAM_CLOSED) {
        d->since = d->worker->loop.now; /* from here on it may have kept us waiting */
        downstream_arm(d);
    }
}

static void on_failed(struct conn *c, int err)
{
    struct downstream *d = CONTAINER_OF(c, struct downstream, conn);
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    (void)err;
    on_gone(d, REASON_CLIENT_ABORT);
}

/* --- the drain --- */

/* Responses say it themselves, by Connection: close. */
static void notice(struct downstream *d)
{
    (void)d;
}

static void idle_close(struct downstream *d)
{
    /* Bytes that wait are a request: it is served, and told to close. */
    if (buf_len(&d->pipelined) > 0 || conn_has_unread(&d->conn))
        return;
    d->idle_closed = true;
    downstream_tally_idle(d, DRAIN_H1_IDLE, DRAIN_CLOSED);
    downstream_linger(d);
}

static void last_call(struct downstream *d)
{
    if (d->side.stream)
        stream_last_call(d->side.stream);
}

static void force(struct downstream *d, enum force_rank rank)
{
    struct stream *s = d->side.stream;
    if (s && stream_force_rank(s) > rank)
        return;
    if (s)
        stream_force(s);
    else if (d->state == DOWNSTREAM_HEAD)
        downstream_tally_idle(d, DRAIN_H1_IDLE, DRAIN_FORCED);
    downstream_close(d);
}

const struct downstream_ops downstream_h1_ops = {
    .conn = {.readable = on_readable, .drained = on_drained, .failed = on_failed},
    .next_deadline = next_deadline,
    .check = check,
    .gone = on_gone,
    .notice = notice,
    .idle_close = idle_close,
    .last_call = last_call,
    .force = force,
};

static void begin_raw(struct downstream *d, struct str name)
{
    d->state = DOWNSTREAM_RAW;
    d->tx = BODY_CLOSE;
    struct stream *s = stream_new(d->worker, d->listener, &d->side, &d->peer_ip,
                                  (struct str){d->peer, d->peer_len});
    if (!s) {
        count_add(&d->worker->stats.reasons[REASON_OUT_OF_MEMORY], 1);
        downstream_close(d);
        return;
    }
    s->client = &d->conn.transport;
    s->deadline_changed = on_deadline_changed;
    if (stream_begin_raw(s, name) == 0)
        stream_on_request(s);
}

void downstream_h1_begin(struct downstream *d, const struct h1_beginning *b)
{
    d->side.ops = &downstream_h1_side;
    d->sniffs = !b->raw && b->n == 0 && conf_of(d)->http2;
    if (b->raw)
        begin_raw(d, b->name);
    else
        downstream_arm(d);
    if (b->n > 0)
        feed_and_flush(d, b->p, b->n);
    if (d->request_eof && d->state == DOWNSTREAM_RAW && d->side.stream)
        stream_on_request_end(d->side.stream);
}
