/* h2_send.c - what goes out: frames into the buffer that the owner gave to h2_pull(). */
#include "http/h2_parts.h"

enum {
    WINDOW_CREDIT_MAX = 4096,
    PING_CREDIT_MAX = 1000,
    HEAD_MAX = 4 << 20, /* what is received is at most limits.maxFieldBytes, 1 MiB */
    FRAME_MAX = 16384,  /* what every receiver takes (RFC 9113 §4.2) */
};

static bool is_full(const struct h2 *h)
{
    return buf_len(h->to) >= h->most;
}

static int put(struct h2 *h, const void *p, size_t n)
{
    if (buf_append(h->bufs, h->to, p, n) == 0)
        return 0;
    h->no_memory = true;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void put_frame_head(char *to, size_t n, uint8_t type, uint8_t flags, int32_t id)
{
    const uint8_t head[H2_FRAME_HEAD] = {
        (uint8_t)(n >> 16),  (uint8_t)(n >> 8),   (uint8_t)n,         type,        flags,
        (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id,
    };
    memcpy(to, head, sizeof(head));
}

/* HEADERS, and CONTINUATION where it is long. */
static int put_block(struct h2 *h, const struct h2_block *b, const nghttp2_frame_hd *f)
{
    char *to = buf_reserve(h->bufs, h->to, (1 + b->most / FRAME_MAX) * H2_FRAME_HEAD + b->most);
    if (!to) {
        h->no_memory = true;
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    char *block = to + H2_FRAME_HEAD, *end = hpack_begin(&h->hpack, block);
    for (uint32_t i = 0; i < b->n; i++)
        end = hpack_put(&h->hpack, &b->fields[i], end);
    size_t n = (size_t)(end - block), more = n > FRAME_MAX ? (n - 1) / FRAME_MAX : 0;
    CHECK(n <= b->most);
    /* The last ones make room for the heads of those before them. */
    for (size_t i = more; i > 0; i--) {
        size_t off = i * FRAME_MAX, len = i == more ? n - off : FRAME_MAX;
        char *moved = block + off + i * H2_FRAME_HEAD;
        memmove(moved, block + off, len);
        put_frame_head(moved - H2_FRAME_HEAD, len, NGHTTP2_CONTINUATION,
                       i == more ? NGHTTP2_FLAG_END_HEADERS : 0, f->stream_id);
    }
    uint8_t flags = f->flags & NGHTTP2_FLAG_END_STREAM;
    put_frame_head(to, more > 0 ? FRAME_MAX : n, NGHTTP2_HEADERS,
                   more > 0 ? flags : flags | NGHTTP2_FLAG_END_HEADERS, f->stream_id);
    buf_commit(h->to, (1 + more) * H2_FRAME_HEAD + n);
    return 0;
}

/* A head is encoded as its frame begins, though the buffer may be full: a change of the table's
 * size, which the peer sends meanwhile, must come behind it. */
static int on_frame_next(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    (void)session;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct h2_block *b = h2_block_of(frame);
    if (b->most > HEAD_MAX)
        return NGHTTP2_ERR_CANCEL;
    int rv = put_block(h, b, &frame->hd);
    h2_block_free(h, b);
    h->head_made = true;
    return rv;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *p, size_t n, int flags, void *user)
{
    struct h2 *h = user;
    (void)session;
    (void)flags;
    if (is_full(h))
        return NGHTTP2_ERR_WOULDBLOCK;
    if (h->head_made) {
        CHECK(p[3] == NGHTTP2_HEADERS);
        h->head_made = false;
        return (ssize_t)n;
    }
    return put(h, p, n) == 0 ? (ssize_t)n : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* A DATA frame whose bytes go from the stream's buffer to the connection's in one copy. */
static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t n, nghttp2_data_source *source, void *user)
{
    struct h2 *h = user;
    struct h2_stream *st = h2_stream_of(h, frame->hd.stream_id);
    (void)session;
    (void)source;
    if (is_full(h))
        return NGHTTP2_ERR_WOULDBLOCK;
    if (!st) /* let go of between the two callbacks */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    CHECK(frame->data.padlen == 0 && n <= buf_len(&st->out));
    char *to = buf_reserve(h->bufs, h->to, H2_FRAME_HEAD + n);
    if (!to) {
        h->no_memory = true;
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    memcpy(to, head, H2_FRAME_HEAD);
    if (n > 0) {
        memcpy(to + H2_FRAME_HEAD, buf_data(&st->out), n);
        buf_consume(h->bufs, &st->out, n);
        st->sent += n;
    }
    buf_commit(h->to, H2_FRAME_HEAD + n);
    if (st->blocked && buf_len(&st->out) <= H2_STREAM_KEEPS / 2 && !list_linked(&st->ready))
        list_push_back(&h->ready, &st->ready);
    return 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    struct h2_stream *st = h2_stream_of(h, frame->hd.stream_id);
    (void)session;
    switch (frame->hd.type) {
    case NGHTTP2_RST_STREAM:
        h2_past_reset(&h->past, frame->hd.stream_id);
        /* One that nobody here asked for answers a fault of the peer's, and costs us as much as one
         * of its own would (MadeYouReset). */
        if (st && st->self_reset) /* not for the peer's faults */
            break;
        if (h->own_resets > 0 && !st)
            h->own_resets--;
        else if (h->role == H2_SERVER && !h2_guard_count(&h->guard, H2_ABUSE_RESET, 1, h->now))
            h2_fail(h, H2_ENHANCE_YOUR_CALM, REASON_H2_RESET_FLOOD);
        break;
    case NGHTTP2_HEADERS: /* browsers open the window of each stream as it begins */
    case NGHTTP2_DATA:
        /* Honest receivers answer it with two WINDOW_UPDATEs at most, soon or late. */
        if (h->window_credit < WINDOW_CREDIT_MAX)
            h->window_credit += 2;
        if (frame->hd.type == NGHTTP2_DATA && h->ping_credit < PING_CREDIT_MAX)
            h->ping_credit++;
        break;
    case NGHTTP2_GOAWAY:
        /* nghttp2 would let a PING overtake it. */
        if (h->pings_behind_notice)
            h2_ping(h);
        h->pings_behind_notice = false;
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR && h->failure_why == REASON_NONE) {
            h->failure = (enum h2_error)frame->goaway.error_code;
            h->failure_why = REASON_H2_PROTOCOL;
        }
        break;
    default:
        break;
    }
    if (st && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
        (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)) {
        st->end_out = true;
        h2_reset_left(st);
    }
    return 0;
}

void h2_reset_left(struct h2_stream *st)
{
    if (!st->left || !st->end_out || st->recv_ended || st->self_reset)
        return;
    st->self_reset = true;
    st->h2->no_memory |= nghttp2_submit_rst_stream(st->h2->session, NGHTTP2_FLAG_NONE, st->id,
                                                   NGHTTP2_NO_ERROR) == NGHTTP2_ERR_NOMEM;
}

/* A request of ours that cannot go out any more; or fields that cannot be written, which the peer
 * would wait for. */
static int on_frame_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int why,
                             void *user)
{
    struct h2 *h = user;
    if (frame->hd.type == NGHTTP2_RST_STREAM && h->own_resets > 0 &&
        !h2_stream_of(h, frame->hd.stream_id))
        h->own_resets--;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    h2_block_free(h, h2_block_of(frame));
    struct h2_stream *st = h2_stream_of(h, frame->hd.stream_id);
    if (st && frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        if (why == NGHTTP2_ERR_CANCEL &&
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_INTERNAL_ERROR) ==
                0)
            st->self_reset = true;
    } else if (st) {
        h2_unlink(st);
        h->ops->closed(st, H2_REFUSED_STREAM, false, true);
    }
    return 0;
}

void h2_send_callbacks(nghttp2_session_callbacks *c)
{
    nghttp2_session_callbacks_set_before_frame_send_callback(c, on_frame_next);
    nghttp2_session_callbacks_set_send_callback(c, on_send);
    nghttp2_session_callbacks_set_send_data_callback(c, on_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_frame_not_sent);
}
