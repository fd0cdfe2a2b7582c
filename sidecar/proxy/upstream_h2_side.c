/* upstream_h2_side.c - a request as an HTTP/2 stream: what its stream asks of it, and what the
 * server answers. */
#include "proxy/upstream_h2.h"

#include "io/tls.h"
#include "proxy/endpoint.h"
#include "proxy/stream.h"
#include "proxy/stream_steps.h"
#include "proxy/upstream.h"

#include <errno.h>

enum { REPLAY_MOST = 64 * 1024 }; /* of a request's body, kept until the response begins */

static struct upstream_h2_stream *of(struct side *s)
{
    return CONTAINER_OF(s, struct upstream_h2_stream, side);
}

static struct upstream_conn *side_carrier(struct side *s)
{
    return of(s)->h2->u;
}

static struct upstream_h2_stream *of_codec(struct h2_stream *st)
{
    return CONTAINER_OF(st, struct upstream_h2_stream, st);
}

static struct buf_pool *bufs_of(struct upstream_h2_stream *hs)
{
    return &hs->worker->loop.bufs;
}

/* Its client's side is flushed behind the event. */
static void touch(struct upstream_h2_stream *hs)
{
    if (!list_linked(&hs->touched_link))
        list_push_back(&hs->h2->touched, &hs->touched_link);
}

/* From a call that cannot tell it: its caller does not expect to lose the stream. */
static void fail_later(struct upstream_h2_stream *hs, enum reason reason)
{
    hs->failed = reason;
    touch(hs);
    upstream_h2_schedule(hs->h2);
}

static void forget_sent(struct upstream_h2_stream *hs)
{
    hs->replayable = false;
    buf_clear(bufs_of(hs), &hs->sent);
}

static void tell_unprocessed(struct upstream_h2_stream *hs, const char *detail)
{
    struct str sent = {buf_data(&hs->sent), buf_len(&hs->sent)};
    stream_on_upstream_unprocessed(hs->side.stream, detail, hs->replayable ? &sent : NULL);
}

void upstream_h2_flush(struct upstream_h2 *h2)
{
    struct list *first;
    while ((first = list_first(&h2->touched)) != NULL) {
        struct upstream_h2_stream *hs = LIST_ENTRY(first, struct upstream_h2_stream, touched_link);
        struct stream *s = hs->side.stream;
        list_remove(first);
        if (hs->not_taken)
            tell_unprocessed(hs, "no stream is free");
        else if (hs->failed != REASON_NONE)
            stream_on_upstream_failed(s, hs->failed, hs->failed_detail, UPSTREAM_SPOKE);
        else if (s->step != STREAM_FINISHED && s->down)
            s->down->ops->flush(s->down);
    }
}

/* --- what a stream asks of it --- */

static struct str scheme_of(const struct upstream_h2_stream *hs)
{
    return transport_is_tls(&hs->h2->u->conn.transport) ? STR("https") : STR("http");
}

static void send_head(struct upstream_h2_stream *hs, const struct message *m)
{
    struct h2 *codec = &hs->h2->codec;
    if (m->websocket && !codec->peer_connect_protocol) {
        hs->failed_detail = "the server takes no WebSockets by HTTP/2";
        fail_later(hs, REASON_UPGRADE_FAILED);
        return;
    }
    int rc = h2_request(codec, &hs->st, m, scheme_of(hs), hs->side.ended);
    hs->not_taken = rc == -EAGAIN;
    if (rc < 0)
        fail_later(hs, rc == -EAGAIN ? REASON_UPSTREAM_CLOSED : REASON_OUT_OF_MEMORY);
    upstream_h2_schedule(hs->h2);
}

static void side_head(struct side *side, const struct message *m, enum side_end end)
{
    struct upstream_h2_stream *hs = of(side);
    struct stream *s = side->stream;
    side->ended = end == SIDE_END;
    if (!stream_wants_upgrade(s))
        s->req.websocket = 0; /* it goes on as the plain GET that HTTP/1 would get */
    message_clear(&s->exchange->res);
    hs->st.head = &s->exchange->res;
    hs->st.max_fields = s->listener->limits.max_fields;
    hs->st.max_field_bytes = s->listener->limits.max_field_bytes;
    /* Whether it takes extended CONNECT is known with its SETTINGS (RFC 8441 §3). */
    hs->unsent = m->websocket && !hs->h2->codec.peer_settings;
    if (!hs->unsent)
        send_head(hs, m);
}

static bool side_gone_out(const struct side *side)
{
    const struct upstream_h2_stream *hs = CONTAINER_OF(side, struct upstream_h2_stream, side);
    /* Frames are made at the end of a turn, of all streams together. */
    return hs->h2 && hs->st.h2 && !hs->unsent && buf_len(&hs->st.out) == 0 &&
           !h2_wants_pull(&hs->h2->codec) && buf_len(&hs->h2->u->conn.out) == 0;
}

static void side_interim(struct side *side, const struct message *m)
{
    (void)side;
    (void)m;
}

static void side_body(struct side *side, const char *p, size_t n)
{
    struct upstream_h2_stream *hs = of(side);
    if (hs->replayable &&
        (buf_len(&hs->sent) + n > REPLAY_MOST || buf_append(bufs_of(hs), &hs->sent, p, n) < 0))
        forget_sent(hs);
    if (h2_send(&hs->st, p, n) < 0)
        fail_later(hs, REASON_OUT_OF_MEMORY);
    side->blocked = hs->st.blocked;
    upstream_h2_schedule(hs->h2);
}

static void side_finish(struct side *side, const struct message *trailers)
{
    struct upstream_h2_stream *hs = of(side);
    side->ended = true;
    if (h2_send_end(&hs->st, trailers) < 0)
        fail_later(hs, REASON_OUT_OF_MEMORY);
    upstream_h2_schedule(hs->h2);
}

/* Frames go out at the end of the turn. */
static void side_flush(struct side *side)
{
    (void)side;
}

static bool side_recall(struct side *side)
{
    (void)side;
    return false; /* a request is not taken back */
}

static void side_credit(struct side *side, size_t n)
{
    struct upstream_h2_stream *hs = of(side);
    h2_credit(&hs->st, n);
    upstream_h2_schedule(hs->h2);
}

static void side_tunnel(struct side *side)
{
    side->ended = false;
}

static enum h2_error code_for(enum reason reason)
{
    return reason == REASON_UPSTREAM_PROTOCOL || reason == REASON_UPSTREAM_HEADERS_TOO_LARGE
               ? H2_PROTOCOL_ERROR
               : H2_CANCEL;
}

static bool is_silent(const struct upstream_h2_stream *hs, enum reason reason)
{
    return hs->h2->heard <= hs->since &&
           (reason == REASON_DEADLINE || reason == REASON_IDLE_TIMEOUT ||
            reason == REASON_FIRST_BYTE_TIMEOUT || reason == REASON_TRY_TIMEOUT);
}

static void stream_reaped(struct reap *r)
{
    upstream_h2_stream_free(CONTAINER_OF(r, struct upstream_h2_stream, reap));
}

/* What is over in both directions needs no word, and is forgotten when the codec has closed it; a
 * tunnel's last bytes go out first. Anything else is cancelled: the server can stop working on it.
 */
static void side_release(struct side *side, bool clean, enum reason reason)
{
    struct upstream_h2_stream *hs = of(side);
    struct upstream_h2 *h2 = hs->h2;
    /* Its time was up, and nothing at all has come from the server since it began: others are not
     * sent the same way. With HTTP/1 a stream that is cut closes its connection too. */
    if (!clean && is_silent(hs, reason))
        pool_leave(h2->u->pool, h2->u);
    bool last_bytes = clean && side->stream->tunnel && hs->st.send_ended;
    side->stream = NULL;
    list_remove(&hs->link);
    list_remove(&hs->touched_link);
    forget_sent(hs);
    if (hs->st.h2 && (last_bytes || (hs->st.recv_ended && hs->st.end_sent))) {
        h2_leave(&hs->st);
        list_push_back(&h2->left, &hs->link);
    } else {
        h2_reset(&hs->st, code_for(reason));
        loop_reap(&hs->worker->loop, &hs->reap, stream_reaped);
    }
    upstream_h2_schedule(h2);
    pool_on_released(h2->u->pool, h2->u, true);
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
    .carrier = side_carrier,
    .release = side_release,
};

/* --- its life --- */

struct upstream_h2_stream *upstream_h2_stream_new(struct upstream_h2 *h2, struct stream *s)
{
    struct worker *w = h2->u->worker;
    struct upstream_h2_stream *hs = slab_alloc(&w->upstream_streams);
    if (!hs)
        return NULL;
    memset(hs, 0, sizeof(*hs));
    hs->h2 = h2;
    hs->worker = w;
    hs->side.ops = &side_ops;
    hs->side.stream = s;
    hs->replayable = true;
    hs->since = w->loop.now;
    list_push_back(&h2->streams, &hs->link);
    return hs;
}

void upstream_h2_stream_free(struct upstream_h2_stream *hs)
{
    CHECK(!hs->st.h2 && !hs->side.stream);
    list_remove(&hs->link);
    slab_free(&hs->worker->upstream_streams, hs);
}

/* --- what the server answers --- */

static void whole_response(struct upstream_h2_stream *hs, struct stream *s)
{
    stream_on_response(s);
    if (hs->side.stream == s)
        stream_on_response_end(s);
}

static void on_head(struct h2_stream *st)
{
    struct upstream_h2_stream *hs = of_codec(st);
    struct stream *s = hs->side.stream;
    forget_sent(hs);
    touch(hs);
    /* Whatever its length says. For its client the head is the end: it gets it when it is here. */
    hs->bodiless = s->req.method == METHOD_HEAD || s->exchange->res.status == 204 ||
                   s->exchange->res.status == 304;
    if (hs->bodiless)
        s->exchange->res.body = BODY_NONE;
    if (st->recv_ended) {
        whole_response(hs, s);
        return;
    }
    if (hs->bodiless)
        return;
    st->trailers = stream_trailers(s, false);
    if (st->trailers)
        stream_on_response(s);
    else
        stream_on_upstream_failed(s, REASON_OUT_OF_MEMORY, NULL, UPSTREAM_SPOKE);
}

static void on_interim(struct h2_stream *st)
{
    struct upstream_h2_stream *hs = of_codec(st);
    struct stream *s = hs->side.stream;
    touch(hs);
    stream_on_interim(s);
    if (hs->side.stream != s)
        return;
    message_clear(&s->exchange->res);
}

static void on_body(struct h2_stream *st, const char *p, size_t n)
{
    struct upstream_h2_stream *hs = of_codec(st);
    touch(hs);
    stream_on_response_body(hs->side.stream, p, n);
}

static void on_end(struct h2_stream *st)
{
    struct upstream_h2_stream *hs = of_codec(st);
    touch(hs);
    if (hs->bodiless)
        whole_response(hs, hs->side.stream);
    else
        stream_on_response_end(hs->side.stream);
}

static void on_bad(struct h2_stream *st, enum reason reason, const char *detail)
{
    stream_on_upstream_failed(of_codec(st)->side.stream, reason, detail, UPSTREAM_SPOKE);
}

static const char *reset_text(enum h2_error code)
{
    static const char *const texts[] = {
        [H2_NO_ERROR] = "reset: NO_ERROR",
        [H2_PROTOCOL_ERROR] = "reset: PROTOCOL_ERROR",
        [H2_INTERNAL_ERROR] = "reset: INTERNAL_ERROR",
        [H2_FLOW_CONTROL_ERROR] = "reset: FLOW_CONTROL_ERROR",
        [H2_SETTINGS_TIMEOUT] = "reset: SETTINGS_TIMEOUT",
        [H2_STREAM_CLOSED] = "reset: STREAM_CLOSED",
        [H2_FRAME_SIZE_ERROR] = "reset: FRAME_SIZE_ERROR",
        [H2_REFUSED_STREAM] = "reset: REFUSED_STREAM",
        [H2_CANCEL] = "reset: CANCEL",
        [H2_COMPRESSION_ERROR] = "reset: COMPRESSION_ERROR",
        [H2_CONNECT_ERROR] = "reset: CONNECT_ERROR",
        [H2_ENHANCE_YOUR_CALM] = "reset: ENHANCE_YOUR_CALM",
        [H2_INADEQUATE_SECURITY] = "reset: INADEQUATE_SECURITY",
        [H2_HTTP_1_1_REQUIRED] = "reset: HTTP_1_1_REQUIRED",
    };
    return code < ARRAY_LEN(texts) ? texts[code] : "reset";
}

static void on_closed(struct h2_stream *st, enum h2_error code, bool ours, bool unprocessed)
{
    struct upstream_h2_stream *hs = of_codec(st);
    struct stream *s = hs->side.stream;
    if (!s) { /* it was left */
        list_remove(&hs->link);
        loop_reap(&hs->worker->loop, &hs->reap, stream_reaped);
        return;
    }
    if (code == H2_NO_ERROR && s->response_ended)
        return; /* a tunnel that still has bytes for the client */
    if (unprocessed) {
        tell_unprocessed(hs, reset_text(code));
        return;
    }
    enum reason reason = ours                ? REASON_UPSTREAM_PROTOCOL
                         : s->response_begun ? REASON_UPSTREAM_TRUNCATED
                                             : REASON_UPSTREAM_RESET;
    stream_on_upstream_failed(s, reason, ours ? "invalid response" : reset_text(code),
                              UPSTREAM_SPOKE);
}

static void on_writable(struct h2_stream *st)
{
    struct upstream_h2_stream *hs = of_codec(st);
    hs->side.blocked = false;
    stream_on_writable(hs->side.stream, &hs->side);
}

/* --- what it tells of the connection --- */

static void on_goaway(struct h2 *h, enum h2_error code)
{
    struct upstream_h2 *h2 = CONTAINER_OF(h, struct upstream_h2, codec);
    if (h2->u->state == UPSTREAM_CLOSED)
        return;
    if (code == H2_ENHANCE_YOUR_CALM)
        endpoint_avoid(h2->u->endpoint);
    pool_leave(h2->u->pool, h2->u);
}

static void send_unsent(struct upstream_h2 *h2)
{
    LIST_FOREACH (it, &h2->streams) {
        struct upstream_h2_stream *hs = LIST_ENTRY(it, struct upstream_h2_stream, link);
        if (hs->unsent) {
            hs->unsent = false;
            send_head(hs, &hs->side.stream->req);
        }
    }
}

static void on_settings(struct h2 *h)
{
    struct upstream_h2 *h2 = CONTAINER_OF(h, struct upstream_h2, codec);
    if (h2->u->state == UPSTREAM_CLOSED)
        return;
    send_unsent(h2);
    h2->u->most = h2->u->endpoint->http2_streams = h->peer_max_streams;
    pool_on_room(h2->u->pool, h2->u);
}

const struct h2_ops upstream_h2_ops = {
    .head = on_head,
    .interim = on_interim,
    .body = on_body,
    .end = on_end,
    .bad = on_bad,
    .closed = on_closed,
    .writable = on_writable,
    .goaway = on_goaway,
    .settings = on_settings,
};
