/* h2_recv.c - what comes in: frames become messages, bodies and ends. */
#include "http/h2_parts.h"

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    if (h->role != H2_SERVER || frame->headers.cat != NGHTTP2_HCAT_REQUEST ||
        h->failure_why != REASON_NONE)
        return 0;
    /* The last GOAWAY is not on its way yet, so nghttp2 still takes it. Whoever is told
     * REFUSED_STREAM sends the request again: it must not be passed on (RFC 9113 §8.7). */
    if (frame->hd.stream_id == h->refuse_id)
        return 0;
    struct h2_stream *st = h->ops->begin(h);
    if (!st) {
        if (nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                      NGHTTP2_REFUSED_STREAM) == 0)
            h->own_resets++;
        return 0;
    }
    h2_past_opened(&h->past, frame->hd.stream_id);
    st->id = frame->hd.stream_id;
    st->h2 = h;
    list_push_back(&h->streams, &st->link);
    h->n_streams++;
    (void)nghttp2_session_set_stream_user_data(session, st->id, st);
    return 0;
}

static bool is_abuse(struct h2 *h, enum h2_abuse what)
{
    if (h2_guard_count(&h->guard, what, 1, h->now))
        return false;
    h2_fail(h, H2_ENHANCE_YOUR_CALM, h2_abuse_reason(what));
    return true;
}

/* One a stream is honest: some senders (nghttp2 among them) put it before the trailers. */
static bool is_first_empty(struct h2 *h, int32_t id)
{
    struct h2_stream *st = h2_stream_of(h, id);
    if (!st || st->had_empty)
        return false;
    st->had_empty = true;
    return true;
}

static void guard_frame(struct h2 *h, const nghttp2_frame_hd *f)
{
    bool ack = (f->flags & NGHTTP2_FLAG_ACK) != 0;
    switch (f->type) {
    case NGHTTP2_DATA:
        if (f->length == 0 && !(f->flags & NGHTTP2_FLAG_END_STREAM) &&
            !is_first_empty(h, f->stream_id))
            (void)is_abuse(h, H2_ABUSE_EMPTY_DATA);
        break;
    case NGHTTP2_RST_STREAM:
        h2_past_reset_by_peer(&h->past, f->stream_id);
        /* A server can reset no more than was asked of it, and has its reasons to. */
        if (h->role == H2_SERVER)
            (void)is_abuse(h, H2_ABUSE_RESET);
        break;
    case NGHTTP2_PING:
        if (!ack && h->ping_credit > 0)
            h->ping_credit--;
        else if (!ack)
            (void)is_abuse(h, H2_ABUSE_PING);
        break;
    case NGHTTP2_SETTINGS:
        if (!ack)
            (void)is_abuse(h, H2_ABUSE_PING);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        if (h->window_credit > 0)
            h->window_credit--;
        else
            (void)is_abuse(h, H2_ABUSE_WINDOW_UPDATE);
        break;
    case NGHTTP2_PRIORITY: /* header blocks and unknown types: h2_frames.c */
        (void)is_abuse(h, H2_ABUSE_PRIORITY);
        break;
    default:
        break;
    }
}

void h2_look_back(struct h2 *h, int32_t id, bool headers)
{
    switch (h2_past_of(&h->past, id)) {
    case H2_PAST_OPENED:
    case H2_PAST_RESET_BY_PEER:
        h2_fail(h, H2_STREAM_CLOSED, REASON_H2_PROTOCOL);
        break;
    case H2_PAST_SKIPPED:
        h2_fail(h, headers ? H2_PROTOCOL_ERROR : H2_STREAM_CLOSED, REASON_H2_PROTOCOL);
        break;
    case H2_PAST_RESET: /* it has crossed our RST_STREAM */
    case H2_PAST_NONE:
        break;
    }
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *f, void *user)
{
    struct h2 *h = user;
    (void)session;
    if (h->failure_why != REASON_NONE)
        return 0;
    guard_frame(h, f);
    if (h->role == H2_SERVER && f->type == NGHTTP2_HEADERS && !h2_stream_of(h, f->stream_id)) {
        h2_look_back(h, f->stream_id, true);
        /* Until it is taken it counts as refused: nghttp2 does that, too, and tells nobody. */
        if (f->stream_id > h->past.last)
            h2_past_reset(&h->past, f->stream_id);
    }
    return 0;
}

/* ---- whole frames ---- */

/* A stream error (RFC 9113 §8.1.1): `closed` is told when the reset goes out, and what still comes
 * is nobody's. */
static void reset_malformed(struct h2_stream *st)
{
    st->malformed = st->refused = true;
    st->h2->no_memory |= nghttp2_submit_rst_stream(st->h2->session, NGHTTP2_FLAG_NONE, st->id,
                                                   NGHTTP2_PROTOCOL_ERROR) == NGHTTP2_ERR_NOMEM;
}

static void finish_head(struct h2 *h, struct h2_stream *st, bool end)
{
    enum reason reason = h2_head_finish(st, end);
    if (st->malformed) {
        reset_malformed(st);
        return;
    }
    if (reason != REASON_NONE) {
        st->head_done = st->refused = true;
        st->recv_ended = end;
        h->ops->bad(st, reason, st->bad_detail);
        return;
    }
    if (h->role == H2_CLIENT && st->head->status < 200 && !st->head->websocket) {
        h->ops->interim(st);
        st->n_fields = st->field_bytes = st->n_cookies = 0;
        st->seen = 0;
        return;
    }
    if (h->role == H2_SERVER)
        st->bodiless = st->head->method == METHOD_HEAD;
    st->head_done = true;
    st->n_fields = st->field_bytes = 0;
    st->recv_ended = end;
    h->ops->head(st);
}

static void finish_body(struct h2 *h, struct h2_stream *st)
{
    if (st->malformed)
        return;
    if (!st->left && !st->refused && (!st->head_done || st->length_left > 0)) {
        reset_malformed(st);
        return;
    }
    st->recv_ended = true;
    if (st->left || st->refused)
        return;
    if (st->bad != REASON_NONE)
        h->ops->bad(st, st->bad, st->bad_detail);
    else
        h->ops->end(st);
}

/* Behind a head only trailers may come, which are the end (RFC 9113 §8.1). */
static void on_headers(struct h2 *h, struct h2_stream *st, bool end)
{
    if (!st->head_done && !st->left) {
        finish_head(h, st, end);
    } else if (st->malformed || (st->head_done && !end)) {
        reset_malformed(st);
    } else {
        st->head_done = true;
        if (end)
            finish_body(h, st);
    }
}

static void on_settings(struct h2 *h, nghttp2_session *session, const nghttp2_settings *f)
{
    for (size_t i = 0; i < f->niv; i++) {
        if (f->iv[i].settings_id == NGHTTP2_SETTINGS_HEADER_TABLE_SIZE)
            hpack_set_max(&h->hpack, f->iv[i].value);
    }
    h->peer_settings = true;
    h->peer_max_streams =
        nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    h->peer_connect_protocol =
        nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
    if (h->ops->settings)
        h->ops->settings(h);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
    struct h2 *h = user;
    struct h2_stream *st = h2_stream_of(h, f->hd.stream_id);
    bool end = (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (h->failure_why != REASON_NONE)
        return 0;
    switch (f->hd.type) {
    case NGHTTP2_HEADERS:
        h2_read_block(h, st && !st->left ? st : NULL);
        if (st && h->failure_why == REASON_NONE && !h->no_memory)
            on_headers(h, st, end);
        break;
    case NGHTTP2_PRIORITY: /* RFC 9113 §5.3.1 has no use for it, and this is still a mistake */
        if (f->priority.pri_spec.stream_id == f->hd.stream_id)
            h2_fail(h, H2_PROTOCOL_ERROR, REASON_H2_PROTOCOL);
        break;
    case NGHTTP2_DATA:
        if (!end && f->hd.length > 0 && f->hd.length == f->data.padlen)
            (void)is_abuse(h, H2_ABUSE_EMPTY_DATA);
        else if (st && end)
            finish_body(h, st);
        break;
    case NGHTTP2_RST_STREAM:
        if (st)
            st->peer_reset = true;
        break;
    case NGHTTP2_SETTINGS:
        if (!(f->hd.flags & NGHTTP2_FLAG_ACK))
            on_settings(h, session, &f->settings);
        break;
    case NGHTTP2_PING:
        if ((f->hd.flags & NGHTTP2_FLAG_ACK) && h->ops->ping_acked)
            h->ops->ping_acked(h);
        break;
    case NGHTTP2_GOAWAY:
        h->goaway_received = true;
        if (h->ops->goaway)
            h->ops->goaway(h, (enum h2_error)f->goaway.error_code);
        break;
    default:
        break;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user)
{
    struct h2 *h = user;
    struct h2_stream *st = h2_stream_of(h, id);
    (void)flags;
    /* The connection's window opens at once: a stream that nobody reads must not stall others. */
    (void)nghttp2_session_consume_connection(session, n);
    if (!st || st->left || st->refused || h->failure_why != REASON_NONE) {
        (void)nghttp2_session_consume_stream(session, id, n);
        return 0;
    }
    if (!st->head_done || (st->has_length && n > st->length_left)) {
        (void)nghttp2_session_consume_stream(session, id, n);
        reset_malformed(st);
        return 0;
    }
    st->length_left -= st->has_length ? n : 0;
    st->held += (uint32_t)n;
    h->ops->body(st, (const char *)p, n);
    return 0;
}

static int on_closed(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2 *h = user;
    struct h2_stream *st = h2_stream_of(h, id);
    (void)session;
    if (!st)
        return 0;
    /* Where the mistake was the end of both directions nghttp2 closes it before the reset is out,
     * or before the connection ends of it. */
    bool end_lost = h->failure_why != REASON_NONE && !st->recv_ended && !st->left;
    if (st->malformed || (end_lost && code == NGHTTP2_NO_ERROR))
        code = NGHTTP2_PROTOCOL_ERROR;
    bool ours = !st->peer_reset && !st->self_reset && code != NGHTTP2_NO_ERROR;
    bool unprocessed = code == NGHTTP2_REFUSED_STREAM && !st->head_done;
    h2_unlink(st);
    h->ops->closed(st, (enum h2_error)code, ours, unprocessed);
    return 0;
}

void h2_recv_callbacks(nghttp2_session_callbacks *c)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_closed);
}
