/* downstream_h2_crowd.c - when a client's requests are far larger here than they were on the wire.
 *
 * HPACK makes 4 KB of a byte, once for each request of an honest client, and as often as it likes
 * for another one. So a connection's heads may not come to more than a few times what has come in
 * (h2_crowded); but they are seldom held for long. First those are given back that have gone on to
 * their server, which is what they are kept for: to be sent again. Where the others are too much,
 * the client waits until some have gone on: no request is refused, and each that waits has a time
 * of its own (connectTimeout, queueTimeout), by which it ends if it does not go on. */
#include "proxy/downstream_h2.h"

#include "proxy/listener.h"
#include "proxy/stream.h"

enum { LOOK_MS = 10 }; /* most goes on with an event; not all of these are told */

bool downstream_h2_make_room(struct downstream_h2 *c)
{
    LIST_FOREACH (it, &c->h2.streams) {
        struct h2_stream *st = LIST_ENTRY(it, struct h2_stream, link);
        struct h2_request *r = CONTAINER_OF(st, struct h2_request, st);
        if (st->head_bytes > 0 && st->head_done && r->side.stream &&
            stream_let_head_go(r->side.stream))
            h2_head_gone(st);
    }
    return !h2_crowded(&c->h2);
}

static void look_later(struct downstream_h2 *c)
{
    c->look_at = c->d->worker->loop.now + LOOK_MS * USEC_PER_MSEC;
    downstream_h2_wake_at(c, c->look_at);
}

int downstream_h2_hold(struct downstream_h2 *c, const char *p, size_t n)
{
    struct downstream *d = c->d;
    count_add(&d->worker->stats.h2_crowded, 1);
    conn_read_stop(&d->conn);
    look_later(c);
    return buf_append(&d->worker->loop.bufs, &c->unread, p, n);
}

void downstream_h2_go_on(struct downstream_h2 *c)
{
    struct downstream *d = c->d;
    struct buf_pool *bufs = &d->worker->loop.bufs;
    if (c->h2.failure_why == REASON_NONE && !downstream_h2_make_room(c)) {
        look_later(c);
        return;
    }
    struct buf unread = c->unread;
    c->unread = (struct buf){0};
    c->look_at = 0;
    if (c->h2.failure_why == REASON_NONE)
        downstream_h2_feed(c, buf_data(&unread), buf_len(&unread));
    buf_clear(bufs, &unread);
    if (d->h2 == c && c->look_at == 0 && c->h2.failure_why == REASON_NONE)
        conn_read_start(&d->conn);
}
