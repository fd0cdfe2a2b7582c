/* downstream.c - a client's connection from accept to close: reading, timing, draining. */
#include "proxy/downstream.h"

#include "io/socket.h"
#include "proxy/downstream_h1.h"
#include "proxy/listener.h"
#include "proxy/stream.h"

#include <errno.h>
#include <unistd.h>

enum {
    LINGER_MS = 2000,          /* for the client's end, after ours */
    PIPELINED_MAX = 16 * 1024, /* bytes kept behind the request in hand */
};

static const struct conf_listener *conf_of(const struct downstream *d)
{
    return d->listener->conf;
}

void downstream_set_population(struct downstream *d, bool idle)
{
    struct population *p = &d->worker->population[d->direction];
    list_remove(&d->link);
    list_push_back(idle ? &p->idle : &p->active, &d->link);
}

static void downstream_reaped(struct reap *r)
{
    struct downstream *d = CONTAINER_OF(r, struct downstream, reap);
    struct worker *w = d->worker;
    CHECK(!ev_is_active(&d->timer.ev) && !d->conn.open);
    d->magic = 0;
    slab_free(&w->downstreams, d);
}

void downstream_close(struct downstream *d)
{
    struct worker *w = d->worker;
    if (d->state == DOWNSTREAM_CLOSED)
        return;
    CHECK(!d->side.stream);
    d->state = DOWNSTREAM_CLOSED;
    timer_stop(&w->loop, &d->timer);
    conn_close(&d->conn);
    buf_clear(&w->loop.bufs, &d->pipelined);
    list_remove(&d->link);
    worker_count_connection(w, (enum direction)d->direction, -1);
    listener_count(d->listener, -1);
    loop_reap(&w->loop, &d->reap, downstream_reaped);
}

void downstream_linger(struct downstream *d)
{
    if (d->state == DOWNSTREAM_LINGER || d->state == DOWNSTREAM_CLOSED)
        return;
    d->state = DOWNSTREAM_LINGER;
    d->since = d->worker->loop.now;
    d->stalled = false;
    buf_clear(&d->worker->loop.bufs, &d->pipelined);
    downstream_set_population(d, false);
    conn_shutdown(&d->conn);
    downstream_note_blocked(d);
    if (d->request_eof && !d->conn.blocked) {
        downstream_close(d);
        return;
    }
    if (!d->request_eof)
        conn_read_start(&d->conn);
    downstream_arm(d);
}

void downstream_next_request(struct downstream *d)
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

static usec_t linger_deadline(const struct downstream *d)
{
    return d->since + LINGER_MS * USEC_PER_MSEC;
}

/* For a request or for its end, as long as `since` and a timeout say. Before that it has to take
 * what we sent. */
static bool waits_for_client(const struct downstream *d)
{
    if (d->side.stream)
        return d->state == DOWNSTREAM_HEAD;
    return !d->conn.blocked && (d->state == DOWNSTREAM_HEAD || d->state == DOWNSTREAM_LINGER);
}

static usec_t next_deadline(const struct downstream *d)
{
    const struct conf_listener *l = conf_of(d);
    usec_t at = USEC_NEVER;
    if (waits_for_client(d))
        at = d->state == DOWNSTREAM_LINGER ? linger_deadline(d) : head_deadline(d);
    else if (d->state == DOWNSTREAM_BODY && !d->stalled)
        at = d->since + l->body_idle_timeout;
    if (d->side.blocked && d->state != DOWNSTREAM_RAW)
        at = min_u64(at, d->sent_mark_at + l->write_timeout);
    if (d->side.stream)
        at = min_u64(at, stream_next_deadline(d->side.stream));
    return at;
}

void downstream_arm(struct downstream *d)
{
    usec_t at = next_deadline(d);
    timer_set(&d->worker->loop, &d->timer, at == USEC_NEVER ? 0 : at);
}

static void on_deadline_changed(struct stream *s)
{
    if (s->down)
        downstream_arm(CONTAINER_OF(s->down, struct downstream, side));
}

static void mark_sent(struct downstream *d, size_t left)
{
    d->sent_mark = left;
    d->sent_mark_at = d->worker->loop.now;
}

/* In the kernel's buffer a slow client can have more than it takes in writeTimeout. */
static size_t not_taken(const struct downstream *d)
{
    return buf_len(&d->conn.out) + socket_unsent(d->conn.transport.fd);
}

void downstream_note_blocked(struct downstream *d)
{
    bool was = d->side.blocked;
    d->side.blocked = d->conn.blocked;
    if (d->side.blocked && !was) {
        mark_sent(d, not_taken(d));
        downstream_arm(d);
    }
}

/* True when the connection was dealt with. A tunnel's peers may rest: it has an idle time. */
static bool check_blocked(struct downstream *d, usec_t now)
{
    if (!d->side.blocked || d->state == DOWNSTREAM_RAW ||
        now < d->sent_mark_at + conf_of(d)->write_timeout)
        return false;
    size_t left = not_taken(d);
    if (left != d->sent_mark) { /* it moved: slow, but alive */
        mark_sent(d, left);
        return false;
    }
    if (d->side.stream)
        stream_on_client_gone(d->side.stream, REASON_CLIENT_TIMEOUT);
    downstream_close(d);
    return true;
}

static void on_timer(struct timer *t)
{
    struct downstream *d = CONTAINER_OF(t, struct downstream, timer);
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    usec_t now = d->worker->loop.now;
    struct stream *s = d->side.stream;
    if (check_blocked(d, now))
        return;
    if (d->state == DOWNSTREAM_LINGER) {
        if (waits_for_client(d) && now >= linger_deadline(d)) {
            downstream_close(d);
            return;
        }
    } else if (waits_for_client(d) && now >= head_deadline(d)) {
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
    if (d->state != DOWNSTREAM_CLOSED)
        downstream_arm(d);
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
        s = stream_new(d->worker, d->listener, &d->side, &d->address,
                       (struct str){d->peer, d->peer_len});
        if (!s) {
            refuse_without_memory(d);
            return n;
        }
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
        h1_body_init(&d->body, &s->req, &s->listener->limits);
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
            if (d->idle_closed) {
                d->idle_closed = false;
                count_add(&d->worker->stats.crossed, 1);
                d->worker->tally.crossed++;
            }
            break;
        case DOWNSTREAM_CLOSED:
            break;
        }
        p += taken;
        n -= taken;
    }
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
        else if (d->conn.blocked)
            downstream_linger(d);
        else
            downstream_close(d);
        break;
    case DOWNSTREAM_BODY:
        stream_on_client_gone(s, REASON_CLIENT_ABORT);
        break;
    case DOWNSTREAM_RAW:
        stream_on_request_end(s);
        break;
    case DOWNSTREAM_LINGER:
        if (!d->conn.blocked)
            downstream_close(d);
        break;
    case DOWNSTREAM_WAIT: /* half closed: it still reads its answer */
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

static void on_gone(struct downstream *d)
{
    if (d->side.stream)
        stream_on_client_gone(d->side.stream, REASON_CLIENT_ABORT);
    downstream_close(d);
}

static void on_readable(struct conn *c)
{
    struct downstream *d = CONTAINER_OF(c, struct downstream, conn);
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    struct loop *l = &d->worker->loop;
    if (buf_len(&d->pipelined) > 0 && d->state != DOWNSTREAM_WAIT) {
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
    if (n > 0)
        feed_and_flush(d, l->scratch, (size_t)n);
    else if (n == 0)
        on_eof(d);
    else if (n != -EAGAIN)
        on_gone(d);
}

static void on_drained(struct conn *c)
{
    struct downstream *d = CONTAINER_OF(c, struct downstream, conn);
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    d->side.blocked = false;
    if (d->side.stream) {
        struct stream *s = d->side.stream;
        stream_on_writable(s, &d->side);
        flush_stream(s);
    } else if (d->request_eof && d->state == DOWNSTREAM_LINGER) {
        downstream_close(d);
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
    on_gone(d);
}

static const struct conn_ops conn_ops = {
    .readable = on_readable,
    .drained = on_drained,
    .failed = on_failed,
};

/* --- the drain --- */

/* For the drain's report: a listener that a reload removed is no drain. */
static void tally_idle(struct downstream *d, enum drain_how how, enum reason reason)
{
    if (worker_phase(d->worker) != DRAIN_SERVING)
        drain_tally_add(&d->worker->tally, DRAIN_H1_IDLE, how, reason,
                        d->worker->loop.now - d->opened, (struct str){d->peer, d->peer_len},
                        STR_NONE);
}

static void h1_idle_close(struct downstream *d)
{
    /* Bytes that wait are a request: it is served, and told to close. */
    if (buf_len(&d->pipelined) > 0 || socket_has_unread(d->conn.transport.fd))
        return;
    d->idle_closed = true;
    tally_idle(d, DRAIN_CLOSED, REASON_NONE);
    downstream_linger(d);
}

static void h1_last_call(struct downstream *d)
{
    if (d->side.stream)
        stream_last_call(d->side.stream);
}

static void any_force(struct downstream *d)
{
    bool draining = worker_phase(d->worker) != DRAIN_SERVING;
    if (d->side.stream)
        stream_force(d->side.stream, draining ? REASON_FORCED : REASON_ROUTE_REMOVED);
    else if (d->state == DOWNSTREAM_HEAD)
        tally_idle(d, DRAIN_FORCED, REASON_FORCED);
    downstream_close(d);
}

static void nothing(struct downstream *d)
{
    (void)d;
}

static const struct drain_ops h1_drain = {h1_idle_close, h1_last_call, any_force};
static const struct drain_ops tcp_drain = {nothing, nothing, any_force};

/* --- the beginning --- */

struct downstream *downstream_open(struct worker *w, struct listener *l, int fd,
                                   const struct address *peer)
{
    struct downstream *d = slab_alloc(&w->downstreams);
    if (!d) {
        (void)close(fd);
        return NULL;
    }
    memset(d, 0, sizeof(*d));
    d->magic = DOWNSTREAM_MAGIC;
    d->worker = w;
    d->listener = l;
    d->direction = (uint8_t)l->conf->direction;
    d->address = *peer;
    d->peer_len = (uint8_t)address_format_ip(peer, d->peer);
    d->side.ops = &downstream_h1_side;
    d->opened = d->since = w->loop.now;
    timer_init(&d->timer, on_timer);
    conn_open(&d->conn, &w->loop, fd, &conn_ops, false);
    listener_count(l, 1);
    worker_count_connection(w, l->conf->direction, 1);
    bool tcp = l->conf->protocol == PROTOCOL_TCP;
    d->drain = tcp ? &tcp_drain : &h1_drain;
    downstream_set_population(d, !tcp);
    if (!tcp) {
        downstream_arm(d);
        return d;
    }
    d->state = DOWNSTREAM_RAW;
    d->tx = BODY_CLOSE;
    struct stream *s = stream_new(w, l, &d->side, &d->address, (struct str){d->peer, d->peer_len});
    if (!s) {
        count_add(&w->stats.reasons[REASON_OUT_OF_MEMORY], 1);
        downstream_close(d);
        return NULL;
    }
    s->deadline_changed = on_deadline_changed;
    stream_on_request(s);
    return d;
}
