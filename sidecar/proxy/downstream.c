/* downstream.c - a client's connection from accept to close, whatever it speaks. */
#include "proxy/downstream.h"

#include "base/log.h"
#include "io/socket.h"
#include "proxy/downstream_h1.h"
#include "proxy/downstream_h2.h"
#include "proxy/downstream_sniff.h"
#include "proxy/downstream_tls.h"
#include "proxy/listener.h"
#include "proxy/stream.h"

#include <errno.h>
#include <unistd.h>

enum { LINGER_MS = 2000 }; /* for the client's end, after ours */

void downstream_set_population(struct downstream *d, bool idle)
{
    struct population *p = &d->worker->population[d->direction];
    d->idle = idle;
    list_remove(&d->link);
    list_push_back(idle ? &p->idle : &p->active, &d->link);
}

/* --- time --- */

/* A client that takes no byte has writeTimeout to take one; a tunnel's peers may rest. */
static bool must_take(const struct downstream *d)
{
    return d->behind && d->state != DOWNSTREAM_RAW;
}

void downstream_arm(struct downstream *d)
{
    usec_t at = d->ops->next_deadline(d);
    if (must_take(d))
        at = min_u64(at, d->sent_mark_at + d->listener->conf->write_timeout);
    timer_set(&d->worker->loop, &d->timer, at == USEC_NEVER ? 0 : at);
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
    bool was = d->behind;
    d->behind = d->conn.blocked;
    if (d->behind && !was) {
        mark_sent(d, not_taken(d));
        downstream_arm(d);
    }
}

static bool is_stuck(struct downstream *d, usec_t now)
{
    if (!must_take(d) || now < d->sent_mark_at + d->listener->conf->write_timeout)
        return false;
    size_t left = not_taken(d);
    if (left == d->sent_mark)
        return true;
    mark_sent(d, left); /* it moved: slow, but alive */
    return false;
}

static void on_timer(struct timer *t)
{
    struct downstream *d = CONTAINER_OF(t, struct downstream, timer);
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    usec_t now = d->worker->loop.now;
    if (is_stuck(d, now))
        d->ops->gone(d, REASON_CLIENT_TIMEOUT);
    else
        d->ops->check(d, now);
    if (d->state != DOWNSTREAM_CLOSED)
        downstream_arm(d);
}

/* --- the end --- */

void downstream_set_ops(struct downstream *d, const struct downstream_ops *ops)
{
    d->ops = ops;
    d->conn.ops = &ops->conn;
}

static void downstream_reaped(struct reap *r)
{
    struct downstream *d = CONTAINER_OF(r, struct downstream, reap);
    struct worker *w = d->worker;
    CHECK(!ev_is_active(&d->timer.ev) && !d->conn.open && !d->h2);
    d->magic = 0;
    slab_free(&w->downstreams, d);
}

void downstream_close(struct downstream *d)
{
    struct worker *w = d->worker;
    if (d->state == DOWNSTREAM_CLOSED)
        return;
    CHECK(!d->side.stream && !d->h2);
    d->state = DOWNSTREAM_CLOSED;
    if (d->carrier.holder != 0)
        learn_connection_ended(w, d->carrier.holder);
    timer_stop(&w->loop, &d->timer);
    conn_close(&d->conn);
    buf_clear(&w->loop.bufs, &d->pipelined);
    list_remove(&d->link);
    worker_count_connection(w, (enum direction)d->direction, -1);
    listener_count(d->listener, -1);
    loop_reap(&w->loop, &d->reap, downstream_reaped);
}

/* --- after our end --- */

static void linger_readable(struct conn *c)
{
    struct downstream *d = CONTAINER_OF(c, struct downstream, conn);
    struct loop *l = &d->worker->loop;
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    ssize_t n = conn_read(c, l->scratch, LOOP_SCRATCH_BYTES);
    if (n > 0) {
        downstream_note_crossed(d);
    } else if (n == 0) {
        d->request_eof = true;
        conn_read_stop(c);
        if (!c->blocked)
            downstream_close(d);
    } else if (n != -EAGAIN) {
        downstream_close(d);
    }
}

static void linger_drained(struct conn *c)
{
    struct downstream *d = CONTAINER_OF(c, struct downstream, conn);
    CHECK_OBJ(d, DOWNSTREAM_MAGIC);
    d->behind = false;
    if (d->request_eof) {
        downstream_close(d);
        return;
    }
    d->since = d->worker->loop.now; /* from here on it may have kept us waiting */
    downstream_arm(d);
}

static void linger_failed(struct conn *c, int err)
{
    (void)err;
    downstream_close(CONTAINER_OF(c, struct downstream, conn));
}

static void linger_gone(struct downstream *d, enum reason reason)
{
    (void)reason;
    downstream_close(d);
}

/* Before that it has to take what we sent. */
static usec_t linger_deadline(const struct downstream *d)
{
    return d->conn.blocked ? USEC_NEVER : d->since + LINGER_MS * USEC_PER_MSEC;
}

static void linger_check(struct downstream *d, usec_t now)
{
    if (now >= linger_deadline(d))
        downstream_close(d);
}

static void nothing(struct downstream *d)
{
    (void)d;
}

static void linger_force(struct downstream *d, enum force_rank rank)
{
    (void)rank;
    downstream_close(d);
}

static const struct downstream_ops linger_ops = {
    .conn = {.readable = linger_readable, .drained = linger_drained, .failed = linger_failed},
    .next_deadline = linger_deadline,
    .check = linger_check,
    .gone = linger_gone,
    .notice = nothing,
    .idle_close = nothing,
    .last_call = nothing,
    .force = linger_force,
};

void downstream_linger(struct downstream *d)
{
    if (d->state == DOWNSTREAM_LINGER || d->state == DOWNSTREAM_CLOSED)
        return;
    CHECK(!d->side.stream && !d->h2);
    d->state = DOWNSTREAM_LINGER;
    d->since = d->worker->loop.now;
    d->stalled = false;
    buf_clear(&d->worker->loop.bufs, &d->pipelined);
    downstream_set_population(d, false);
    downstream_set_ops(d, &linger_ops);
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

enum reason downstream_read_failed(struct downstream *d)
{
    if (!transport_tls_flooded(&d->conn.transport))
        return REASON_CLIENT_ABORT;
    if (!d->side.stream)
        count_add(&d->worker->stats.reasons[REASON_TLS_FLOOD], 1);
    log_debug("listener %.*s: %.*s sent too many TLS messages", STR_FMT(d->listener->conf->name),
              (int)d->peer_len, d->peer);
    return REASON_TLS_FLOOD;
}

void downstream_note_crossed(struct downstream *d)
{
    if (!d->idle_closed)
        return;
    d->idle_closed = false;
    count_add(&d->worker->stats.crossed, 1);
    d->worker->tally.crossed++;
}

void downstream_idle_close(struct downstream *d)
{
    if (d->worker->loop.now - d->since >= DRAIN_IDLE_LEAD)
        d->ops->idle_close(d);
}

void downstream_tally_idle(struct downstream *d, enum drain_class cls, enum drain_how how)
{
    if (worker_phase(d->worker) != DRAIN_SERVING)
        drain_tally_add(
            &d->worker->tally, cls, how, how == DRAIN_FORCED ? REASON_FORCED : REASON_NONE,
            d->worker->loop.now - d->opened, (struct str){d->peer, d->peer_len}, STR_NONE);
}

/* --- the beginning --- */

/* What it speaks is known, or will be by its first bytes. */
static void speak(struct downstream *d, struct str alpn)
{
    enum listener_protocol protocol = d->listener->conf->protocol;
    struct h1_beginning h1 = {.raw = protocol == PROTOCOL_TCP};
    if (protocol == PROTOCOL_TLS || (protocol == PROTOCOL_AUTO && alpn.n == 0)) {
        downstream_sniff_begin(d);
        return;
    }
    downstream_set_population(d, !h1.raw);
    if (protocol == PROTOCOL_HTTP2 || str_eq(alpn, STR("h2"))) {
        downstream_h2_begin(d, NULL, 0);
    } else {
        downstream_set_ops(d, &downstream_h1_ops);
        downstream_h1_begin(d, &h1);
    }
}

void downstream_secured(struct downstream *d, struct str alpn)
{
    d->since = d->worker->loop.now;
    speak(d, alpn);
}

static bool open_transport(struct listener *l, int fd, struct transport *ret)
{
    if (!l->conf->tls.enabled) {
        transport_plain(ret, fd);
        return true;
    }
    int rc = transport_tls_server(ret, fd, l->shared->tls);
    if (rc < 0)
        count_add(
            &l->stats.tls.failed[rc == -ENOKEY ? TLS_FAILURE_NO_CONTEXT : TLS_FAILURE_NO_MEMORY],
            1);
    return rc == 0;
}

struct downstream *downstream_open(struct worker *w, struct listener *l, int fd,
                                   const struct address *peer)
{
    struct transport t;
    struct downstream *d = slab_alloc(&w->downstreams);
    if (!d || !open_transport(l, fd, &t)) {
        if (d)
            slab_free(&w->downstreams, d);
        (void)close(fd);
        return NULL;
    }
    memset(d, 0, sizeof(*d));
    d->magic = DOWNSTREAM_MAGIC;
    d->worker = w;
    d->listener = l;
    d->direction = (uint8_t)l->conf->direction;
    d->peer_ip = address_ip(peer);
    d->peer_len = (uint8_t)address_format_ip(peer, d->peer);
    d->opened = d->since = w->loop.now;
    timer_init(&d->timer, on_timer);
    d->ops = &downstream_tls_ops;
    conn_open_transport(&d->conn, &w->loop, t, &d->ops->conn, false);
    listener_count(l, 1);
    worker_count_connection(w, l->conf->direction, 1);
    if (d->conn.stage != CONN_STANDS) {
        downstream_set_population(d, false);
        downstream_arm(d);
    } else {
        speak(d, STR_NONE);
    }
    return d->state == DOWNSTREAM_CLOSED ? NULL : d;
}
