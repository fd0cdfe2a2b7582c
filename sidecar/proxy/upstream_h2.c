/* upstream_h2.c - an upstream connection that speaks HTTP/2: what is read and written, how it ends.
 */
#include "proxy/upstream_h2.h"

#include "base/mem.h"
#include "proxy/endpoint.h"
#include "proxy/stream.h"
#include "proxy/upstream.h"

#include <errno.h>

enum {
    STREAMS_EXPECTED = 100,     /* of a server that has told nothing yet */
    FIELD_BYTES_MOST = 1 << 20, /* that a listener can allow a head to have */
};

static struct upstream_h2 *of(struct conn *c)
{
    struct upstream_conn *u = CONTAINER_OF(c, struct upstream_conn, conn);
    CHECK_OBJ(u, UPSTREAM_MAGIC);
    return u->h2;
}

/* --- ends --- */

/* Of a stream that the connection's end finds without a byte of its response. That the server has
 * not seen it is likely only where nothing has come from it since: it closed the idle connection
 * while the request was on its way. */
static enum upstream_silence silence_of(const struct upstream_h2 *h2,
                                        const struct upstream_h2_stream *hs)
{
    if (hs->st.head_done)
        return UPSTREAM_SPOKE;
    bool idle = h2->heard <= hs->since && (h2->u->pooled || h2->u->requests > 1);
    return idle ? UPSTREAM_STALE : UPSTREAM_SILENT;
}

/* All streams end with this reason, and the connection with them. */
static void die(struct upstream_h2 *h2, enum reason reason, const char *detail)
{
    struct upstream_conn *u = h2->u;
    struct list *first;
    if (u->state == UPSTREAM_CLOSED)
        return;
    h2->broken = true;
    if (u->state == UPSTREAM_IDLE) {
        upstream_close_idle(u);
        return;
    }
    pool_leave(u->pool, u);
    /* Each lets go of its side; the last one closes the connection. */
    while ((first = list_first(&h2->streams)) != NULL) {
        struct upstream_h2_stream *hs = LIST_ENTRY(first, struct upstream_h2_stream, link);
        enum upstream_silence silence = silence_of(h2, hs);
        enum reason why = reason == REASON_UPSTREAM_CLOSED && hs->st.head_done
                              ? REASON_UPSTREAM_TRUNCATED
                              : reason;
        stream_on_upstream_failed(hs->side.stream, why, detail, silence);
        CHECK(list_first(&h2->streams) != first);
    }
}

/* GOAWAY, when there is a way for it; what waits in the session goes first. */
static void say_goodbye(struct upstream_h2 *h2)
{
    struct conn *c = &h2->u->conn;
    if (c->error || c->blocked)
        return;
    if (!h2->broken)
        h2_goaway_final(&h2->codec, H2_NO_ERROR);
    h2->busy = true;
    if (h2_pull(&h2->codec, &c->out, H2_PULL_MOST) == 0)
        conn_flush(c);
    h2->busy = false;
}

static bool goodbye(struct upstream_conn *u)
{
    struct upstream_h2 *h2 = u->h2;
    timer_stop(&u->worker->loop, &h2->ping);
    turn_end_cancel(&h2->turn_end);
    if (h2->busy)
        return false;
    say_goodbye(h2);
    return true;
}

/* Behind feed and pull: it may have been closed from within. True: it was. */
static bool end_if_closed(struct upstream_h2 *h2)
{
    if (h2->u->state != UPSTREAM_CLOSED)
        return false;
    if (h2->u->conn.open) {
        say_goodbye(h2);
        upstream_end(h2->u);
    }
    return true;
}

static void free_h2(struct upstream_conn *u)
{
    struct upstream_h2 *h2 = u->h2;
    CHECK(list_empty(&h2->streams));
    h2_free(&h2->codec);
    while (!list_empty(&h2->left))
        upstream_h2_stream_free(LIST_ENTRY(h2->left.next, struct upstream_h2_stream, link));
    free(h2);
    u->h2 = NULL;
}

/* --- writing --- */

static const char *failure_text(const struct upstream_h2 *h2)
{
    enum reason why = h2->codec.failure_why;
    return why == REASON_NONE || why == REASON_H2_PROTOCOL ? "HTTP/2 protocol error"
                                                           : reason_table[why].title;
}

static void pump(struct upstream_h2 *h2)
{
    struct conn *c = &h2->u->conn;
    while (c->open && !c->blocked && !c->error && h2_wants_pull(&h2->codec)) {
        h2->busy = true;
        int rc = h2_pull(&h2->codec, &c->out, H2_PULL_MOST);
        h2->busy = false;
        if (rc < 0) {
            die(h2, REASON_OUT_OF_MEMORY, NULL);
            break;
        }
        if (h2->u->state == UPSTREAM_CLOSED || buf_len(&c->out) == 0)
            break;
        conn_flush(c);
    }
    upstream_h2_flush(h2);
    /* Faults that the session has found by itself are known when its GOAWAY is made. */
    if (!end_if_closed(h2) && h2->codec.failure_why != REASON_NONE)
        die(h2, REASON_UPSTREAM_PROTOCOL, failure_text(h2));
}

static void on_turn_end(struct turn_end *t)
{
    pump(CONTAINER_OF(t, struct upstream_h2, turn_end));
}

void upstream_h2_schedule(struct upstream_h2 *h2)
{
    if (h2->u->state != UPSTREAM_CLOSED)
        loop_at_turn_end(&h2->u->worker->loop, &h2->turn_end);
}

static void on_drained(struct conn *c)
{
    pump(of(c));
}

/* --- reading --- */

static void feed(struct upstream_h2 *h2, const char *p, size_t n)
{
    h2->busy = true;
    size_t taken; /* all, as a client */
    int rc = h2_feed(&h2->codec, p, n, h2->u->worker->loop.now, &taken);
    h2->busy = false;
    h2->heard = h2->u->worker->loop.now;
    upstream_h2_flush(h2);
    if (end_if_closed(h2))
        return;
    if (rc < 0) {
        die(h2, rc == -ENOMEM ? REASON_OUT_OF_MEMORY : REASON_UPSTREAM_PROTOCOL,
            rc == -ENOMEM ? NULL : failure_text(h2));
        return;
    }
    if (h2_wants_pull(&h2->codec))
        upstream_h2_schedule(h2);
}

static void on_readable(struct conn *c)
{
    struct upstream_h2 *h2 = of(c);
    struct loop *l = c->loop;
    ssize_t n = conn_read(c, l->scratch, LOOP_SCRATCH_BYTES);
    if (n == -EAGAIN)
        return;
    if (n > 0) {
        feed(h2, l->scratch, (size_t)n);
        return;
    }
    conn_read_stop(c);
    if (n == 0)
        die(h2, REASON_UPSTREAM_CLOSED, NULL);
    else
        die(h2, n == -ENOMEM ? REASON_OUT_OF_MEMORY : REASON_UPSTREAM_RESET, NULL);
}

/* The server may have said more before it closed: that is read first, and its end tells the rest.
 */
static void on_failed(struct conn *c, int err)
{
    struct upstream_h2 *h2 = of(c);
    if (err == ENOMEM) {
        die(h2, REASON_OUT_OF_MEMORY, NULL);
        return;
    }
    h2->broken = true;
    if (h2->u->state == UPSTREAM_IDLE) {
        upstream_close_idle(h2->u);
        return;
    }
    pool_leave(h2->u->pool, h2->u);
    conn_read_start(c);
    on_readable(c);
}

static const struct conn_ops conn_ops = {
    .readable = on_readable,
    .drained = on_drained,
    .failed = on_failed,
};

/* --- PING --- */

static void wake_for_ping(struct upstream_h2 *h2)
{
    usec_t every = h2->u->pool->conf->http2.ping_interval;
    if (every == 0 || list_empty(&h2->streams))
        return;
    timer_set(&h2->u->worker->loop, &h2->ping, max_u64(h2->heard, h2->pinged) + every);
}

/* Any byte is a sign of life. */
static void on_ping_time(struct timer *t)
{
    struct upstream_h2 *h2 = CONTAINER_OF(t, struct upstream_h2, ping);
    usec_t now = h2->u->worker->loop.now, every = h2->u->pool->conf->http2.ping_interval;
    if (h2->heard >= h2->pinged)
        h2->pinged = 0;
    if (every == 0 || list_empty(&h2->streams))
        return;
    if (h2->pinged == 0 && now >= h2->heard + every) {
        h2->pinged = now;
        h2_ping(&h2->codec);
        upstream_h2_schedule(h2);
    } else if (h2->pinged > 0 && now >= h2->pinged + every) {
        die(h2, REASON_UPSTREAM_RESET, "no answer to a PING");
        return;
    }
    wake_for_ping(h2);
}

/* --- the shell's side --- */

static bool lease(struct upstream_conn *u, struct stream *s)
{
    struct upstream_h2 *h2 = u->h2;
    if (list_empty(&h2->streams))
        h2->heard = u->worker->loop.now; /* nobody has listened for a PING's answer meanwhile */
    struct upstream_h2_stream *hs = upstream_h2_stream_new(h2, s);
    if (!hs)
        return false;
    s->up = &hs->side;
    if (h2->ping.at == 0)
        wake_for_ping(h2);
    return true;
}

static usec_t oldest(const struct upstream_conn *u)
{
    struct list *first = list_first(&u->h2->streams);
    return first ? LIST_ENTRY(first, struct upstream_h2_stream, link)->since : USEC_NEVER;
}

static const struct upstream_ops h2_ops = {
    .lease = lease, .goodbye = goodbye, .free = free_h2, .oldest = oldest};

uint32_t upstream_h2_expected(const struct endpoint *e)
{
    return e->http2_streams > 0 ? e->http2_streams : STREAMS_EXPECTED;
}

int upstream_h2_start(struct upstream_conn *u)
{
    const struct conf_upstream_http2 *conf = &u->pool->conf->http2;
    struct h2_settings settings = H2_SETTINGS_DEFAULT;
    struct upstream_h2 *h2 = mem_zalloc(sizeof(*h2));
    if (!h2)
        return -ENOMEM;
    settings.stream_window = conf->stream_window;
    settings.connection_window = conf->connection_window;
    settings.max_field_bytes = FIELD_BYTES_MOST; /* the limit is each stream's listener's */
    if (h2_init(&h2->codec, H2_CLIENT, &settings, &upstream_h2_ops, &u->worker->loop.bufs) < 0) {
        free(h2);
        return -ENOMEM;
    }
    h2->u = u;
    list_init(&h2->streams);
    list_init(&h2->left);
    list_init(&h2->touched);
    turn_end_init(&h2->turn_end, on_turn_end);
    timer_init(&h2->ping, on_ping_time);
    u->h2 = h2;
    u->ops = &h2_ops;
    u->most = upstream_h2_expected(u->endpoint);
    u->conn.ops = &conn_ops;
    upstream_h2_schedule(h2); /* the preface goes out, also where nobody waits */
    return 0;
}
