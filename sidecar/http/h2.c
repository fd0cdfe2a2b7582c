/* h2.c - one HTTP/2 connection's codec: its life, and what its owner asks of it. */
#include "http/h2_parts.h"

#include "base/mem.h"

#include <errno.h>

enum {
    /* nghttp2 counts some of it too, and ends with other codes: our own guard comes first. */
    NGHTTP2_RESETS = 5000,
    NGHTTP2_CONTINUATIONS = 10 * H2_CONTINUATIONS_MAX,
    /* Frames that wait for a transport that takes nothing, besides those of the streams: a peer
     * that does not read must not make answers grow (RST_STREAM, ACKs). */
    QUEUE_MAX = 2000,
    QUEUE_A_STREAM = 8,
};

static int to_errno(int rv)
{
    return rv == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
}

static int submit_settings(struct h2 *h)
{
    const struct h2_settings *s = &h->settings;
    nghttp2_settings_entry e[6];
    size_t n = 0;
    e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, s->stream_window};
    if (h->role == H2_SERVER) {
        e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
                                          s->max_concurrent_streams};
        if (s->connect_protocol)
            e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
    } else {
        e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
        e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0};
    }
    e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, s->max_field_bytes};
    int rv = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, e, n);
    if (rv == 0)
        rv = nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                                   (int32_t)s->connection_window);
    return rv;
}

static int new_session(struct h2 *h)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    nghttp2_mem heap = h2_heap(h);
    int rv = nghttp2_session_callbacks_new(&callbacks);
    if (rv == 0)
        rv = nghttp2_option_new(&option);
    if (rv == 0) {
        h2_recv_callbacks(callbacks);
        h2_send_callbacks(callbacks);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_no_http_messaging(option, 1); /* h2_field.c, h2_head.c */
        nghttp2_option_set_max_reserved_remote_streams(option, 0);
        nghttp2_option_set_stream_reset_rate_limit(option, NGHTTP2_RESETS, NGHTTP2_RESETS);
        nghttp2_option_set_max_continuations(option, NGHTTP2_CONTINUATIONS);
        nghttp2_option_set_peer_max_concurrent_streams(option, h->peer_max_streams);
        rv = h->role == H2_SERVER
                 ? nghttp2_session_server_new3(&h->session, callbacks, h, option, &heap)
                 : nghttp2_session_client_new3(&h->session, callbacks, h, option, &heap);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return rv;
}

int h2_init(struct h2 *h, enum h2_role role, const struct h2_settings *s, const struct h2_ops *ops,
            struct buf_pool *bufs)
{
    *h = (struct h2){
        .ops = ops,
        .bufs = bufs,
        .settings = *s,
        .role = role,
        .peer_max_streams = 100,
        .in.left = role == H2_SERVER ? H2_PREFACE_LEN : 0,
    };
    list_init(&h->streams);
    list_init(&h->ready);
    list_init(&h->blocks);
    h2_past_init(&h->past);
    h2_guard_init(&h->guard);
    int rv = new_session(h);
    if (rv == 0)
        rv = submit_settings(h);
    if (rv != 0)
        h2_free(h);
    return rv == 0 ? 0 : -ENOMEM;
}

static void free_trailers(struct h2_stream *st)
{
    if (!st->own_trailers)
        return;
    message_free(st->own_trailers);
    free(st->own_trailers);
    st->own_trailers = NULL;
}

void h2_unlink(struct h2_stream *st)
{
    struct h2 *h = st->h2;
    if (!h)
        return;
    if (st->id > 0)
        (void)nghttp2_session_set_stream_user_data(h->session, st->id, NULL);
    if (h->last == st)
        h->last = NULL;
    list_remove(&st->link);
    list_remove(&st->ready);
    buf_clear(h->bufs, &st->out);
    free_trailers(st);
    st->h2 = NULL;
    st->blocked = false;
    h->head_bytes -= st->head_bytes;
    st->head_bytes = 0;
    h->n_streams--;
}

void h2_free(struct h2 *h)
{
    while (!list_empty(&h->streams))
        h2_unlink(LIST_ENTRY(h->streams.next, struct h2_stream, link));
    nghttp2_session_del(h->session);
    h->session = NULL;
    while (!list_empty(&h->blocks))
        h2_block_free(h, LIST_ENTRY(h->blocks.next, struct h2_block, link));
    hpack_free(&h->hpack);
    h2_in_free(h);
}

void h2_fail(struct h2 *h, enum h2_error code, enum reason why)
{
    if (h->failure_why != REASON_NONE)
        return;
    h->failure = code;
    h->failure_why = why;
    (void)nghttp2_session_terminate_session(h->session, code);
}

static uint64_t head_bytes_most(const struct h2 *h)
{
    uint64_t full = h->settings.max_field_bytes;
    uint64_t most =
        full * H2_FULL_HEADS + (uint64_t)H2_HEAD_SHARE * h->settings.max_concurrent_streams;
    return min_u64(most, max_u64(full, h->received * H2_HEAD_TIMES));
}

bool h2_crowded(const struct h2 *h)
{
    return h->head_bytes > head_bytes_most(h);
}

void h2_head_gone(struct h2_stream *st)
{
    if (!st->h2)
        return;
    st->h2->head_bytes -= st->head_bytes;
    st->head_bytes = 0;
}

int h2_feed(struct h2 *h, const char *p, size_t n, usec_t now, size_t *ret_taken)
{
    CHECK(!h->feeding && !h->pulling);
    *ret_taken = n;
    if (h->failure_why != REASON_NONE)
        return -EPROTO;
    h->now = now;
    h->feeding = true;
    ssize_t rv = h2_receive(h, p, n, ret_taken);
    h->feeding = false;
    if (h->final_waits && h->failure_why == REASON_NONE)
        h2_goaway_final(h, h->final_code);
    if (h->no_memory || rv == NGHTTP2_ERR_NOMEM)
        return -ENOMEM;
    if (rv == NGHTTP2_ERR_FLOODED)
        h2_fail(h, H2_ENHANCE_YOUR_CALM, REASON_H2_PING_FLOOD);
    else if (rv < 0)
        h2_fail(h, H2_PROTOCOL_ERROR, REASON_H2_PROTOCOL);
    else if (nghttp2_session_get_outbound_queue_size(h->session) >
             QUEUE_MAX + QUEUE_A_STREAM * (size_t)h->n_streams)
        h2_fail(h, H2_ENHANCE_YOUR_CALM, REASON_H2_RESET_FLOOD);
    return h->failure_why != REASON_NONE ? -EPROTO : 0;
}

int h2_pull(struct h2 *h, struct buf *to, size_t most)
{
    CHECK(!h->feeding && !h->pulling);
    h->to = to;
    h->most = most;
    h->pulling = true;
    int rv = nghttp2_session_send(h->session);
    h->pulling = false;
    h->to = NULL;
    while (!list_empty(&h->ready)) {
        struct h2_stream *st = LIST_ENTRY(h->ready.next, struct h2_stream, ready);
        list_remove(&st->ready);
        st->blocked = false;
        h->ops->writable(st);
    }
    return rv == 0 && !h->no_memory ? 0 : -ENOMEM;
}

bool h2_wants_pull(const struct h2 *h)
{
    return h->no_memory || nghttp2_session_want_write(h->session) != 0;
}

bool h2_done(const struct h2 *h)
{
    if (nghttp2_session_want_write(h->session))
        return false;
    return h->failure_why != REASON_NONE || !nghttp2_session_want_read(h->session);
}

/* ---- messages ---- */

static void begin(struct h2 *h, struct h2_stream *st)
{
    st->h2 = h;
    list_push_back(&h->streams, &st->link);
    h->n_streams++;
}

static const nghttp2_data_provider *body_of(struct h2_stream *st, nghttp2_data_provider *d);

int h2_request(struct h2 *h, struct h2_stream *st, const struct message *m, struct str scheme,
               bool end)
{
    nghttp2_data_provider d;

    CHECK(h->role == H2_CLIENT && !st->h2);
    end = end && !m->websocket;
    struct h2_block *b = h2_block_request(h, m, scheme, end);
    if (!b)
        return -ENOMEM;
    nghttp2_nv nv = h2_block_nv(b);
    int32_t id = nghttp2_submit_request(h->session, NULL, &nv, 1, end ? NULL : body_of(st, &d), st);
    if (id < 0) {
        h2_block_free(h, b);
        return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EAGAIN;
    }
    st->id = id;
    st->send_ended = st->end_sent = end;
    st->asked_websocket = m->websocket;
    st->bodiless = m->method == METHOD_HEAD;
    begin(h, st);
    return 0;
}

/* b is not sent when nghttp2 has not taken it. */
static int submitted(struct h2_stream *st, struct h2_block *b, int rv)
{
    if (rv == 0)
        return 0;
    h2_block_free(st->h2, b);
    st->h2->no_memory |= rv == NGHTTP2_ERR_NOMEM;
    return to_errno(rv);
}

int h2_interim(struct h2_stream *st, const struct message *m)
{
    if (!st->h2)
        return 0;
    int rv = NGHTTP2_ERR_NOMEM;
    struct h2_block *b = h2_block_response(st->h2, m, false, false);
    if (b) {
        nghttp2_nv nv = h2_block_nv(b);
        rv = nghttp2_submit_headers(st->h2->session, NGHTTP2_FLAG_NONE, st->id, NULL, &nv, 1, NULL);
    }
    return submitted(st, b, rv);
}

int h2_respond(struct h2_stream *st, const struct message *m, bool end)
{
    nghttp2_data_provider d;
    if (!st->h2)
        return 0;
    int rv = NGHTTP2_ERR_NOMEM;
    struct h2_block *b = h2_block_response(st->h2, m, end, st->bodiless);
    if (b) {
        nghttp2_nv nv = h2_block_nv(b);
        rv = nghttp2_submit_response(st->h2->session, st->id, &nv, 1, end ? NULL : body_of(st, &d));
    }
    st->send_ended |= end; /* the body's end may have been given before its head */
    return submitted(st, b, rv);
}

/* ---- bodies ---- */

static int submit_trailers(struct h2_stream *st)
{
    struct h2_block *b = h2_block_trailers(st->h2, st->own_trailers);
    if (!b)
        return NGHTTP2_ERR_NOMEM;
    nghttp2_nv nv = h2_block_nv(b);
    int rv = nghttp2_submit_trailer(st->h2->session, st->id, &nv, 1);
    if (rv != 0)
        h2_block_free(st->h2, b);
    return rv;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t most,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2 *h = user;
    struct h2_stream *st = h2_stream_of(h, id);
    (void)session;
    (void)to;
    (void)source;

    if (!st)
        return NGHTTP2_ERR_DEFERRED; /* let go of: RST_STREAM is on its way */
    size_t n = min_u64(buf_len(&st->out), most);
    if (n == 0 && !st->send_ended) {
        st->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!st->send_ended || n < buf_len(&st->out))
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    st->end_sent = true;
    if (!st->own_trailers)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    if (submit_trailers(st) < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    /* No empty DATA before them, which a receiver may take for abuse. */
    return n > 0 ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
}

static const nghttp2_data_provider *body_of(struct h2_stream *st, nghttp2_data_provider *d)
{
    (void)st;
    *d = (nghttp2_data_provider){.read_callback = on_read};
    return d;
}

static void resume(struct h2_stream *st)
{
    if (!st->deferred)
        return;
    st->deferred = false;
    (void)nghttp2_session_resume_data(st->h2->session, st->id);
}

int h2_send(struct h2_stream *st, const char *p, size_t n)
{
    if (!st->h2 || st->send_ended || n == 0)
        return 0;
    if (buf_append(st->h2->bufs, &st->out, p, n) < 0)
        return -ENOMEM;
    if (buf_len(&st->out) > H2_STREAM_KEEPS) {
        st->blocked = true;
        list_remove(&st->ready);
    }
    resume(st);
    return 0;
}

static struct message *copy_fields(const struct message *m)
{
    struct message *c = mem_alloc(sizeof(*c));
    if (!c)
        return NULL;
    message_init(c, m->is_request);
    for (uint32_t i = 0; i < m->n_fields; i++) {
        const struct field *f = &m->fields[i];
        if (f->dropped)
            continue;
        if (message_add(c, (enum field_id)f->id, field_name(m, f), field_value(m, f)) < 0) {
            message_free(c);
            free(c);
            return NULL;
        }
        c->fields[c->n_fields - 1].no_index = f->no_index;
    }
    return c;
}

int h2_send_end(struct h2_stream *st, const struct message *trailers)
{
    if (!st->h2 || st->send_ended)
        return 0;
    if (trailers && trailers->n_fields > 0) {
        st->own_trailers = copy_fields(trailers);
        if (!st->own_trailers)
            return -ENOMEM;
    }
    st->send_ended = true;
    resume(st);
    return 0;
}

void h2_take_back(struct h2_stream *st)
{
    if (!st->h2)
        return;
    buf_clear(st->h2->bufs, &st->out);
    free_trailers(st);
    st->blocked = st->send_ended = false;
}

void h2_credit(struct h2_stream *st, size_t n)
{
    if (!st->h2 || n == 0)
        return;
    n = min_u64(n, st->held);
    st->held -= (uint32_t)n;
    if (!st->recv_ended)
        (void)nghttp2_session_consume_stream(st->h2->session, st->id, n);
}

/* ---- ends ---- */

void h2_reset(struct h2_stream *st, enum h2_error code)
{
    struct h2 *h = st->h2;
    if (!h)
        return;
    if (nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, st->id, code) == 0)
        h->own_resets++;
    else
        h->no_memory = true;
    h2_past_reset(&h->past, st->id); /* what crosses it is no mistake, from now on */
    h2_unlink(st);
}

void h2_leave(struct h2_stream *st)
{
    if (!st->h2)
        return;
    st->left = true;
    st->head = st->trailers = NULL;
    h2_head_gone(st);
    st->blocked = false; /* nobody is left to be told that it is not */
    list_remove(&st->ready);
    h2_credit(st, st->held);
    h2_reset_left(st);
}

void h2_goaway_notice(struct h2 *h)
{
    h->pings_behind_notice = nghttp2_submit_shutdown_notice(h->session) == 0;
}

void h2_goaway_final(struct h2 *h, enum h2_error code)
{
    if (h->goaway_final)
        return;
    /* What came in the same piece is counted among those that were taken. */
    h->final_waits = h->feeding;
    h->final_code = code;
    if (h->feeding)
        return;
    h->goaway_final = true;
    h->last_id = nghttp2_session_get_last_proc_stream_id(h->session);
    (void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, h->last_id, code, NULL, 0);
}

void h2_ping(struct h2 *h)
{
    (void)nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
}
