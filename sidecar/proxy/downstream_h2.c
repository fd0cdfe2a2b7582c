/* downstream_h2.c - HTTP/2 from a client: reading, timing, draining. */
#include "proxy/downstream_h2.h"

#include "base/mem.h"
#include "io/socket.h"
#include "proxy/listener.h"
#include "proxy/stream.h"

#include <errno.h>

enum {
    PULLS_IN_A_TURN = 8,
    GOODBYE_MS = 1000, /* for the ACK of the PING behind the first GOAWAY */
};

static struct downstream_h2 *of(struct h2 *h)
{
    return CONTAINER_OF(h, struct downstream_h2, h2);
}

static struct h2_request *request_of(struct h2_stream *st)
{
    struct h2_request *r = CONTAINER_OF(st, struct h2_request, st);
    CHECK_OBJ(r, H2_REQUEST_MAGIC);
    return r;
}

static const struct conf_listener *conf_of(const struct downstream_h2 *c)
{
    return c->d->listener->conf;
}

static usec_t now_of(const struct downstream_h2 *c)
{
    return c->d->worker->loop.now;
}

/* The next that this walk has not seen. What is done to one may end others, and so each look begins
 * at the front; NULL: all were seen. */
static struct h2_request *next_on_walk(struct downstream_h2 *c)
{
    LIST_FOREACH (it, &c->h2.streams) {
        struct h2_request *r = request_of(LIST_ENTRY(it, struct h2_stream, link));
        if (r->walk != c->walk) {
            r->walk = c->walk;
            return r;
        }
    }
    return NULL;
}

/* --- requests --- */

static void request_reaped(struct reap *reap)
{
    struct h2_request *r = CONTAINER_OF(reap, struct h2_request, reap);
    struct worker *w = r->worker;
    CHECK(!r->st.h2 && !r->side.stream);
    r->magic = 0;
    slab_free(&w->h2_requests, r);
}

void downstream_h2_free_request(struct h2_request *r)
{
    struct downstream_h2 *c = r->conn;
    list_remove(&r->touched);
    r->conn = NULL;
    loop_reap(&r->worker->loop, &r->reap, request_reaped);
    if (c->h2.n_streams == 0 && c->d->h2 == c && !c->d->idle) {
        c->d->since = now_of(c);
        downstream_set_population(c->d, true);
        downstream_h2_wake_at(c, c->d->since + conf_of(c)->keep_alive_timeout);
    }
}

static void touch(struct h2_request *r)
{
    if (!list_linked(&r->touched))
        list_push_back(&r->conn->touched, &r->touched);
}

void downstream_h2_wake_at(struct downstream_h2 *c, usec_t at)
{
    struct timer *t = &c->d->timer;
    if (at != USEC_NEVER && (t->at == 0 || at < t->at))
        timer_set(&c->d->worker->loop, t, at);
}

static void on_deadline_changed(struct stream *s)
{
    if (!s->down)
        return;
    struct downstream_h2 *c = CONTAINER_OF(s->down, struct h2_request, side)->conn;
    downstream_h2_wake_at(c, stream_next_deadline(s));
    if (c->look_at != 0) /* its head may have gone on */
        downstream_h2_pump_soon(c);
}

static struct h2_stream *on_begin(struct h2 *h)
{
    struct downstream_h2 *c = of(h);
    struct downstream *d = c->d;
    struct worker *w = d->worker;
    struct h2_request *r = slab_alloc(&w->h2_requests);
    if (!r)
        return NULL;
    memset(r, 0, sizeof(*r));
    r->magic = H2_REQUEST_MAGIC;
    r->worker = w;
    r->conn = c;
    r->side.ops = &downstream_h2_side;
    r->since = w->loop.now;
    struct stream *s =
        stream_new(w, d->listener, &r->side, &d->peer_ip, (struct str){d->peer, d->peer_len});
    if (!s) {
        count_add(&w->stats.reasons[REASON_OUT_OF_MEMORY], 1);
        slab_free(&w->h2_requests, r);
        return NULL;
    }
    s->client = &d->conn.transport;
    s->deadline_changed = on_deadline_changed;
    r->st.head = &s->req;
    d->requests++;
    if (d->idle)
        downstream_set_population(d, false);
    downstream_h2_wake_at(c, r->since + conf_of(c)->header_timeout);
    return &r->st;
}

static void on_head(struct h2_stream *st)
{
    struct h2_request *r = request_of(st);
    struct stream *s = r->side.stream;
    r->since = now_of(r->conn);
    /* A WebSocket's request is its head; what comes behind it is the tunnel's. */
    s->request_ended = s->request.from_ended = st->recv_ended || s->req.websocket;
    s->ended_early = st->recv_ended && s->req.websocket;
    if (!s->request_ended) {
        st->trailers = stream_trailers(s, true);
        if (!st->trailers) {
            stream_on_request_error(s, REASON_OUT_OF_MEMORY, NULL);
            return;
        }
        downstream_h2_wake_at(r->conn, r->since + conf_of(r->conn)->body_idle_timeout);
    }
    r->arrived = true;
    touch(r);
}

/* Its stream is told of it behind the feed: to read heads, and to send requests on, is each about
 * as much code as the processor's first cache holds, so that all of a read's are read first, and
 * sent on in a row then. What comes for one of them meanwhile has it told at once. False: the
 * stream has ended. */
static bool tell_arrived(struct h2_request *r)
{
    if (r->arrived && r->side.stream) {
        r->arrived = false;
        stream_on_request(r->side.stream);
    }
    return r->side.stream != NULL;
}

static void on_body(struct h2_stream *st, const char *p, size_t n)
{
    struct h2_request *r = request_of(st);
    r->since = now_of(r->conn);
    count_add(&r->conn->d->listener->stats.bytes_in, (int64_t)n);
    touch(r);
    if (tell_arrived(r))
        stream_on_request_body(r->side.stream, p, n);
}

static void on_end(struct h2_stream *st)
{
    struct h2_request *r = request_of(st);
    touch(r);
    if (tell_arrived(r))
        stream_on_request_end(r->side.stream);
}

static void on_bad(struct h2_stream *st, enum reason reason, const char *detail)
{
    struct h2_request *r = request_of(st);
    if (tell_arrived(r))
        stream_on_request_error(r->side.stream, reason, detail);
}

static void on_closed(struct h2_stream *st, enum h2_error code, bool ours, bool unprocessed)
{
    struct h2_request *r = request_of(st);
    (void)unprocessed;
    if (!r->side.stream)
        downstream_h2_free_request(r);
    else if (code == H2_NO_ERROR && st->recv_ended && r->side.ended)
        stream_on_client_done(r->side.stream);
    else
        stream_on_client_gone(r->side.stream, ours ? REASON_H2_PROTOCOL : REASON_CLIENT_ABORT);
}

static void flush_stream(struct stream *s)
{
    if (s->step == STREAM_FINISHED)
        return;
    if (s->up)
        s->up->ops->flush(s->up);
    if (s->step != STREAM_FINISHED && s->down)
        s->down->ops->flush(s->down);
}

static void on_writable(struct h2_stream *st)
{
    struct h2_request *r = request_of(st);
    r->side.blocked = false;
    if (r->side.stream) {
        stream_on_writable(r->side.stream, &r->side);
        if (r->side.stream)
            flush_stream(r->side.stream);
    }
}

static void say_final(struct downstream_h2 *c)
{
    c->goodbye = H2_FINAL;
    h2_goaway_final(&c->h2, H2_NO_ERROR);
    downstream_h2_pump_soon(c);
}

static void on_ping_acked(struct h2 *h)
{
    struct downstream_h2 *c = of(h);
    if (c->goodbye == H2_NOTICED)
        say_final(c);
}

static const struct h2_ops h2_ops = {
    .begin = on_begin,
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .bad = on_bad,
    .closed = on_closed,
    .writable = on_writable,
    .ping_acked = on_ping_acked,
};

/* --- the end --- */

static void h2_reaped(struct reap *reap)
{
    struct downstream_h2 *c = CONTAINER_OF(reap, struct downstream_h2, reap);
    c->magic = 0;
    free(c);
}

/* Its streams end for that reason; the connection is its shell's again. */
static void take_down(struct downstream_h2 *c, enum reason reason)
{
    struct downstream *d = c->d;
    while (!list_empty(&c->h2.streams)) {
        struct h2_request *r = request_of(LIST_ENTRY(c->h2.streams.next, struct h2_stream, link));
        if (r->side.stream) {
            stream_on_client_gone(r->side.stream, reason);
        } else {
            h2_reset(&r->st, H2_CANCEL);
            downstream_h2_free_request(r);
        }
    }
    turn_end_cancel(&c->pump);
    buf_clear(&d->worker->loop.bufs, &c->unread);
    h2_free(&c->h2);
    d->h2 = NULL;
    loop_reap(&d->worker->loop, &c->reap, h2_reaped);
}

static void on_gone(struct downstream *d, enum reason reason)
{
    take_down(d->h2, reason);
    downstream_close(d);
}

/* All is said: our end, and then the client's is awaited. */
static void finish(struct downstream_h2 *c)
{
    struct downstream *d = c->d;
    if (d->idle)
        downstream_tally_idle(d, DRAIN_H2_IDLE, DRAIN_CLOSED);
    take_down(c, c->h2.failure_why);
    downstream_linger(d);
}

/* --- sending --- */

/* Counted once; the GOAWAY that says it goes out with the turn. */
static void note_failure(struct downstream_h2 *c)
{
    if (c->failed || c->h2.failure_why == REASON_NONE)
        return;
    c->failed = true;
    count_add(&c->d->worker->stats.reasons[c->h2.failure_why], 1);
    conn_read_stop(&c->d->conn);
}

static void pump(struct turn_end *t)
{
    struct downstream_h2 *c = CONTAINER_OF(t, struct downstream_h2, pump);
    struct downstream *d = c->d;
    CHECK_OBJ(c, DOWNSTREAM_H2_MAGIC);
    if (c->look_at != 0)
        downstream_h2_go_on(c);
    if (d->h2 != c)
        return;
    for (int i = 0; i < PULLS_IN_A_TURN && !d->conn.blocked && h2_wants_pull(&c->h2); i++) {
        if (h2_pull(&c->h2, &d->conn.out, H2_PULL_MOST) < 0) {
            count_add(&d->worker->stats.reasons[REASON_OUT_OF_MEMORY], 1);
            on_gone(d, REASON_OUT_OF_MEMORY);
            return;
        }
        conn_flush(&d->conn);
    }
    note_failure(c);
    downstream_note_blocked(d);
    if (d->conn.error)
        return; /* on_failed comes */
    if (!d->conn.blocked && h2_done(&c->h2))
        finish(c);
    else if (!d->conn.blocked && h2_wants_pull(&c->h2))
        downstream_h2_pump_soon(c);
}

/* --- reading --- */

static void flush_touched(struct downstream_h2 *c)
{
    while (!list_empty(&c->touched)) {
        struct h2_request *r = LIST_ENTRY(c->touched.next, struct h2_request, touched);
        list_remove(&r->touched);
        if (tell_arrived(r))
            flush_stream(r->side.stream);
    }
}

void downstream_h2_feed(struct downstream_h2 *c, const char *p, size_t n)
{
    size_t taken;
    int rc;
    do {
        rc = h2_feed(&c->h2, p, n, now_of(c), &taken);
        p += taken;
        n -= taken;
        if (rc != -ENOMEM)
            flush_touched(c);
    } while (rc == 0 && n > 0 && downstream_h2_make_room(c));
    if (rc == 0 && n > 0)
        rc = downstream_h2_hold(c, p, n);
    if (rc == -ENOMEM) {
        count_add(&c->d->worker->stats.reasons[REASON_OUT_OF_MEMORY], 1);
        on_gone(c->d, REASON_OUT_OF_MEMORY);
        return;
    }
    note_failure(c);
    uint64_t most = conf_of(c)->max_requests;
    if (most > 0 && c->d->requests >= most && c->goodbye == H2_STAYS)
        say_final(c);
    downstream_h2_pump_soon(c);
}

static void on_readable(struct conn *conn)
{
    struct downstream *d = CONTAINER_OF(conn, struct downstream, conn);
    struct loop *l = &d->worker->loop;
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    ssize_t n = conn_read(conn, l->scratch, LOOP_SCRATCH_BYTES);
    if (n > 0) {
        downstream_h2_feed(d->h2, l->scratch, (size_t)n);
    } else if (n != -EAGAIN) {
        d->request_eof = n == 0;
        if (n == 0 && transport_is_tls(&conn->transport))
            conn_shutdown(conn);
        on_gone(d, n < 0 ? downstream_read_failed(d) : REASON_CLIENT_ABORT);
    }
}

static void on_drained(struct conn *conn)
{
    struct downstream *d = CONTAINER_OF(conn, struct downstream, conn);
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    d->behind = false;
    d->h2->drained_at = d->worker->loop.now;
    downstream_h2_pump_soon(d->h2);
    downstream_arm(d);
}

static void on_failed(struct conn *conn, int err)
{
    struct downstream *d = CONTAINER_OF(conn, struct downstream, conn);
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    on_gone(d, err == ENOMEM ? REASON_OUT_OF_MEMORY : REASON_CLIENT_ABORT);
}

/* --- time --- */

/* The client opens no window for what waits, which may be the end alone; USEC_NEVER: it need not.
 */
static usec_t write_deadline(const struct downstream_h2 *c, const struct h2_request *r)
{
    const struct stream *s = r->side.stream;
    bool waits = buf_len(&r->st.out) > 0 || (r->st.send_ended && !r->st.end_out);
    /* What waits for the connection has the connection's time. */
    if (!waits || (s && s->tunnel) || c->d->conn.blocked)
        return USEC_NEVER;
    return max_u64(r->marked_at, c->drained_at) + conf_of(c)->write_timeout;
}

static usec_t read_deadline(const struct downstream_h2 *c, const struct h2_request *r)
{
    const struct stream *s = r->side.stream;
    if (!s || s->tunnel || r->st.recv_ended || r->st.held > 0 || s->req.websocket)
        return USEC_NEVER;
    /* A call may listen for long between two messages of its own; the route's idleTimeout is for
     * both directions. */
    if (s->req.grpc && r->st.head_done)
        return USEC_NEVER;
    return r->since +
           (r->st.head_done ? conf_of(c)->body_idle_timeout : conf_of(c)->header_timeout);
}

static usec_t idle_deadline(const struct downstream *d)
{
    const struct conf_listener *l = d->listener->conf;
    return d->since + (d->requests == 0 ? l->header_timeout : l->keep_alive_timeout);
}

static usec_t next_deadline(const struct downstream *d)
{
    const struct downstream_h2 *c = d->h2;
    /* Behind the last GOAWAY it ends when the client has taken what is left. */
    usec_t at = d->idle && c->goodbye != H2_FINAL ? idle_deadline(d) : USEC_NEVER;
    if (c->goodbye == H2_NOTICED)
        at = min_u64(at, c->noticed_at + GOODBYE_MS * USEC_PER_MSEC);
    if (c->look_at != 0)
        at = min_u64(at, c->look_at);
    LIST_FOREACH (it, &c->h2.streams) {
        const struct h2_request *r =
            CONTAINER_OF(LIST_ENTRY(it, struct h2_stream, link), struct h2_request, st);
        at = min_u64(at, min_u64(write_deadline(c, r), read_deadline(c, r)));
        if (r->side.stream)
            at = min_u64(at, stream_next_deadline(r->side.stream));
    }
    return at;
}

static void check_request(struct downstream_h2 *c, struct h2_request *r, usec_t now)
{
    struct stream *s = r->side.stream;
    if (now >= write_deadline(c, r)) {
        if (r->st.sent != r->marked) {
            r->marked = r->st.sent;
            r->marked_at = now;
        } else if (s) {
            stream_on_client_gone(s, REASON_CLIENT_TIMEOUT);
        } else {
            h2_reset(&r->st, H2_CANCEL);
            downstream_h2_free_request(r);
        }
    } else if (now >= read_deadline(c, r)) {
        stream_on_request_error(s, REASON_CLIENT_TIMEOUT,
                                r->st.head_done ? "request body not sent in time"
                                                : "request head not sent in time");
    } else if (s) {
        stream_check(s, now);
    }
}

static void check(struct downstream *d, usec_t now)
{
    struct downstream_h2 *c = d->h2;
    struct h2_request *r;
    c->walk++;
    while ((r = next_on_walk(c)) != NULL)
        check_request(c, r, now);
    if (c->goodbye == H2_NOTICED && now >= c->noticed_at + GOODBYE_MS * USEC_PER_MSEC)
        say_final(c);
    if (d->idle && now >= idle_deadline(d) && c->goodbye != H2_FINAL)
        say_final(c);
    downstream_h2_pump_soon(c);
}

/* --- the drain --- */

static void notice(struct downstream *d)
{
    struct downstream_h2 *c = d->h2;
    if (c->goodbye != H2_STAYS)
        return;
    c->goodbye = H2_NOTICED;
    c->noticed_at = now_of(c);
    h2_goaway_notice(&c->h2);
    downstream_h2_pump_soon(c);
    downstream_h2_wake_at(c, c->noticed_at + GOODBYE_MS * USEC_PER_MSEC);
}

/* The second GOAWAY closes it, in its own time. */
static void idle_close(struct downstream *d)
{
    (void)d;
}

static void each_stream(struct downstream_h2 *c, void (*fn)(struct stream *), enum force_rank most)
{
    struct h2_request *r;
    c->walk++;
    while ((r = next_on_walk(c)) != NULL) {
        struct stream *s = r->side.stream;
        if (s && stream_force_rank(s) <= most)
            fn(s);
    }
    downstream_h2_pump_soon(c);
}

static void last_call(struct downstream *d)
{
    each_stream(d->h2, stream_last_call, FORCE_ALL);
}

static void force(struct downstream *d, enum force_rank rank)
{
    struct downstream_h2 *c = d->h2;
    each_stream(c, stream_force, rank);
    if (rank < FORCE_ALL)
        return;
    if (d->idle)
        downstream_tally_idle(d, DRAIN_H2_IDLE, DRAIN_FORCED);
    h2_goaway_final(&c->h2, H2_NO_ERROR);
    if (!d->conn.blocked && h2_pull(&c->h2, &d->conn.out, H2_PULL_MOST) == 0)
        conn_flush(&d->conn);
    on_gone(d, REASON_FORCED);
}

static const struct downstream_ops downstream_h2_ops = {
    .conn = {.readable = on_readable, .drained = on_drained, .failed = on_failed},
    .next_deadline = next_deadline,
    .check = check,
    .gone = on_gone,
    .notice = notice,
    .idle_close = idle_close,
    .last_call = last_call,
    .force = force,
};

/* --- the beginning --- */

static struct h2_settings settings_of(const struct conf_listener *l)
{
    struct h2_settings s = l->h2;
    s.max_field_bytes = l->limits.max_field_bytes;
    s.max_fields = l->limits.max_fields;
    s.connect_protocol = true; /* each route says whether it has WebSockets */
    return s;
}

void downstream_h2_begin(struct downstream *d, const char *p, size_t n)
{
    struct worker *w = d->worker;
    struct downstream_h2 *c = mem_zalloc(sizeof(*c));
    struct h2_settings settings = settings_of(d->listener->conf);
    if (!c || h2_init(&c->h2, H2_SERVER, &settings, &h2_ops, &w->loop.bufs) < 0) {
        free(c);
        count_add(&w->stats.reasons[REASON_OUT_OF_MEMORY], 1);
        downstream_close(d);
        return;
    }
    c->magic = DOWNSTREAM_H2_MAGIC;
    c->d = d;
    list_init(&c->touched);
    turn_end_init(&c->pump, pump);
    d->h2 = c;
    downstream_set_ops(d, &downstream_h2_ops);
    downstream_h2_pump_soon(c);
    downstream_arm(d);
    enum direction dir = (enum direction)d->direction;
    if (worker_phase_for(w, dir) >= DRAIN_DRAIN || d->listener->leaving ||
        drain_leave_for(&w->process->drain, dir) == DRAIN_LEAVE_ASKED)
        notice(d);
    if (n > 0)
        downstream_h2_feed(c, p, n);
}
