/* h2_peer.h - a codec with an owner that keeps what it is told, and frames by hand. */
#ifndef SLUICE_TESTS_UNIT_HTTP_H2_PEER_H
#define SLUICE_TESTS_UNIT_HTTP_H2_PEER_H

#include "base/mem.h"
#include "http/h2.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum {
    PEER_STREAMS = 700,
    PEER_MOST = 1 << 20,
    /* Frame types and flags (RFC 9113 §6) */
    F_DATA = 0,
    F_HEADERS = 1,
    F_PRIORITY = 2,
    F_RST_STREAM = 3,
    F_SETTINGS = 4,
    F_PING = 6,
    F_GOAWAY = 7,
    F_WINDOW_UPDATE = 8,
    F_CONTINUATION = 9,
    END_STREAM = 1,
    ACK = 1,
    END_HEADERS = 4,
};

/* One stream and all that was told of it. */
struct told {
    struct h2_stream st;
    struct message head, trailers;
    struct buf body;
    int heads, interims, ends, bads, closes, writables;
    uint16_t interim_status;
    enum reason reason;
    enum h2_error code;
    bool ours, unprocessed;
};

struct peer {
    struct h2 h2;
    struct buf_pool pool;
    struct buf out;
    struct told *streams[PEER_STREAMS]; /* NULL: not used */
    uint32_t n, refuse_from;            /* streams after so many are refused; 0: none */
    bool no_credit, reset_in_body, reset_in_head;
    int goaways, settings, pings;
    usec_t now;
    int crowded; /* times that it was */
};

static inline struct peer *peer_of(struct h2 *h)
{
    return CONTAINER_OF(h, struct peer, h2);
}

static inline struct told *told_of(struct h2_stream *st)
{
    return CONTAINER_OF(st, struct told, st);
}

static inline struct told *peer_new_stream(struct peer *p, bool request)
{
    assert_true(p->n < PEER_STREAMS);
    struct told *t = calloc(1, sizeof(*t)); /* not mem.h's: the test's own never fails */
    assert_non_null(t);
    message_init(&t->head, request);
    message_init(&t->trailers, request);
    t->st.head = &t->head;
    t->st.trailers = &t->trailers;
    p->streams[p->n++] = t;
    return t;
}

static inline struct h2_stream *peer_begin(struct h2 *h)
{
    struct peer *p = peer_of(h);
    if (p->refuse_from > 0 && p->n >= p->refuse_from)
        return NULL;
    return &peer_new_stream(p, true)->st;
}

static inline void peer_head(struct h2_stream *st)
{
    struct peer *p = peer_of(st->h2);
    told_of(st)->heads++;
    if (p->reset_in_head)
        h2_reset(st, H2_CANCEL);
}

static inline void peer_interim(struct h2_stream *st)
{
    struct told *t = told_of(st);
    t->interims++;
    t->interim_status = t->head.status;
    message_free(&t->head);
    message_init(&t->head, false);
}

static inline void peer_body(struct h2_stream *st, const char *p, size_t n)
{
    struct peer *peer = peer_of(st->h2);
    struct told *t = told_of(st);
    char *copy = malloc(n); /* a sanitizer sees what is beyond */
    assert_true(copy && n > 0 && t->heads == 1 && t->ends == 0 && t->bads == 0);
    memcpy(copy, p, n);
    struct buf_pool none = {0};
    if (buf_append(&none, &t->body, copy, n) == 0 && !peer->no_credit)
        h2_credit(st, n);
    free(copy);
    if (peer->reset_in_body)
        h2_reset(st, H2_CANCEL);
}

static inline void peer_end(struct h2_stream *st)
{
    assert_true(st->recv_ended && told_of(st)->heads == 1);
    told_of(st)->ends++;
}

static inline void peer_bad(struct h2_stream *st, enum reason reason, const char *detail)
{
    (void)detail;
    told_of(st)->bads++;
    told_of(st)->reason = reason;
}

static inline void peer_closed(struct h2_stream *st, enum h2_error code, bool ours,
                               bool unprocessed)
{
    struct told *t = told_of(st);
    assert_null(st->h2);
    t->closes++;
    t->code = code;
    t->ours = ours;
    t->unprocessed = unprocessed;
}

static inline void peer_writable(struct h2_stream *st)
{
    told_of(st)->writables++;
    assert_false(st->blocked);
}

static inline void peer_goaway(struct h2 *h, enum h2_error code)
{
    (void)code;
    peer_of(h)->goaways++;
}

static inline void peer_settings(struct h2 *h)
{
    peer_of(h)->settings++;
}

static inline void peer_pinged(struct h2 *h)
{
    peer_of(h)->pings++;
}

static const struct h2_ops peer_ops = {
    .begin = peer_begin,
    .head = peer_head,
    .interim = peer_interim,
    .body = peer_body,
    .end = peer_end,
    .bad = peer_bad,
    .closed = peer_closed,
    .writable = peer_writable,
    .goaway = peer_goaway,
    .settings = peer_settings,
    .ping_acked = peer_pinged,
};

static inline int peer_init(struct peer *p, enum h2_role role, const struct h2_settings *s)
{
    struct h2_settings preset = H2_SETTINGS_DEFAULT;
    memset(p, 0, sizeof(*p));
    p->now = USEC_PER_SEC;
    return h2_init(&p->h2, role, s ? s : &preset, &peer_ops, &p->pool);
}

/* With streams still open, as it may be. */
static inline void peer_free(struct peer *p)
{
    if (p->h2.session)
        h2_free(&p->h2);
    for (uint32_t i = 0; i < p->n; i++) {
        struct told *t = p->streams[i];
        struct buf_pool none = {0};
        assert_null(t->st.h2);
        assert_true(buf_len(&t->st.out) == 0 && !t->st.out.p && !t->st.own_trailers);
        message_free(&t->head);
        message_free(&t->trailers);
        buf_clear(&none, &t->body);
        buf_pool_free(&none);
        free(t);
    }
    buf_clear(&p->pool, &p->out);
    buf_pool_free(&p->pool);
}

static inline int peer_pull(struct peer *p)
{
    return h2_pull(&p->h2, &p->out, PEER_MOST);
}

/* All of it: who is crowded passes its heads on. */
static inline int peer_feed(struct peer *p, const char *in, size_t n)
{
    size_t taken;
    int rc = h2_feed(&p->h2, in, n, p->now, &taken);
    while (rc == 0 && taken < n) {
        assert_true(h2_crowded(&p->h2));
        p->crowded++;
        for (int i = 0; i < (int)p->n; i++) {
            if (p->streams[i])
                h2_head_gone(&p->streams[i]->st);
        }
        in += taken;
        n -= taken;
        rc = h2_feed(&p->h2, in, n, p->now, &taken);
    }
    return rc;
}

/* What waits in `from` goes to `to`, `step` bytes at a time (0: at once). */
static inline int peer_carry(struct peer *from, struct peer *to, size_t step)
{
    int rc = 0;
    while (rc == 0 && buf_len(&from->out) > 0) {
        size_t n = step ? min_u64(step, buf_len(&from->out)) : buf_len(&from->out);
        char *piece = malloc(n);
        assert_non_null(piece);
        memcpy(piece, buf_data(&from->out), n);
        rc = peer_feed(to, piece, n);
        free(piece);
        buf_consume(&from->pool, &from->out, n);
    }
    return rc;
}

/* Until neither has anything to say. 0, or the first failure. */
static inline int peers_talk(struct peer *a, struct peer *b, size_t step)
{
    int rc = 0;
    while (rc == 0 && (h2_wants_pull(&a->h2) || h2_wants_pull(&b->h2) || buf_len(&a->out) > 0 ||
                       buf_len(&b->out) > 0)) {
        size_t before = buf_len(&a->out) + buf_len(&b->out);
        rc = peer_pull(a);
        if (rc == 0)
            rc = peer_pull(b);
        if (before == 0 && buf_len(&a->out) + buf_len(&b->out) == 0)
            break; /* what is left waits for a window */
        if (rc == 0)
            rc = peer_carry(a, b, step);
        if (rc == 0)
            rc = peer_carry(b, a, step);
    }
    return rc;
}

/* --- frames by hand --- */

struct raw {
    struct buf b;
    struct buf_pool pool;
};

static inline void raw_bytes(struct raw *r, const void *p, size_t n)
{
    assert_int_equal(buf_append(&r->pool, &r->b, p, n), 0);
}

static inline void raw_frame(struct raw *r, uint8_t type, uint8_t flags, uint32_t id, const void *p,
                             size_t n)
{
    uint8_t head[H2_FRAME_HEAD] = {
        (uint8_t)(n >> 16),  (uint8_t)(n >> 8),   (uint8_t)n,         type,       flags,
        (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
    raw_bytes(r, head, sizeof(head));
    raw_bytes(r, p, n);
}

static inline void raw_begin(struct raw *r)
{
    raw_bytes(r, H2_PREFACE, H2_PREFACE_LEN);
    raw_frame(r, F_SETTINGS, 0, 0, "", 0);
}

static inline void raw_rst(struct raw *r, uint32_t id, uint8_t code)
{
    raw_frame(r, F_RST_STREAM, 0, id, (uint8_t[4]){0, 0, 0, code}, 4);
}

static inline void raw_window(struct raw *r, uint32_t id, uint32_t n)
{
    uint8_t p[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    raw_frame(r, F_WINDOW_UPDATE, 0, id, p, 4);
}

/* A literal without indexing (RFC 7541 §6.2.2), lengths of up to two more bytes. */
static inline size_t hpack_len(uint8_t *to, size_t n)
{
    if (n < 127) {
        to[0] = (uint8_t)n;
        return 1;
    }
    size_t at = 0, rest = n - 127;
    to[at++] = 127;
    for (; rest >= 128; rest /= 128)
        to[at++] = (uint8_t)(rest % 128 + 128);
    to[at++] = (uint8_t)rest;
    return at;
}

/* `fields`: "name=value\n" lines. Returns the block's length. */
static inline size_t hpack_block(uint8_t *to, const char *fields)
{
    size_t at = 0;
    while (*fields) {
        const char *end = strchr(fields, '\n'), *eq = strchr(fields, '=');
        assert_true(end && eq && eq < end);
        to[at++] = 0;
        at += hpack_len(to + at, (size_t)(eq - fields));
        memcpy(to + at, fields, (size_t)(eq - fields));
        at += (size_t)(eq - fields);
        at += hpack_len(to + at, (size_t)(end - eq - 1));
        memcpy(to + at, eq + 1, (size_t)(end - eq - 1));
        at += (size_t)(end - eq - 1);
        fields = end + 1;
    }
    return at;
}

/* HEADERS, with CONTINUATIONs where it is large. */
static inline void raw_head(struct raw *r, uint32_t id, const char *fields, bool end)
{
    static uint8_t block[1 << 20];
    size_t n = hpack_block(block, fields), at = 0;
    do {
        size_t some = min_u64(n - at, 16000);
        uint8_t flags =
            (uint8_t)((end && at == 0 ? END_STREAM : 0) | (at + some == n ? END_HEADERS : 0));
        raw_frame(r, at == 0 ? F_HEADERS : F_CONTINUATION, flags, id, block + at, some);
        at += some;
    } while (at < n);
}

#define RAW_GET  ":method=GET\n:scheme=http\n:authority=a\n:path=/\n"
#define RAW_POST ":method=POST\n:scheme=http\n:authority=a\n:path=/\n"

static inline int raw_feed(struct raw *r, struct peer *to)
{
    size_t n = buf_len(&r->b);
    char *copy = malloc(n + 1);
    assert_non_null(copy);
    memcpy(copy, buf_data(&r->b), n);
    int rc = peer_feed(to, copy, n);
    free(copy);
    buf_clear(&r->pool, &r->b);
    return rc;
}

static inline void raw_free(struct raw *r)
{
    buf_clear(&r->pool, &r->b);
    buf_pool_free(&r->pool);
}

struct frame {
    uint32_t length, id;
    uint8_t type, flags;
    const uint8_t *p;
};

static inline uint32_t u32_of(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Frame number `at` of what the peer has said; false: there are no more. */
static inline bool frame_at(const struct peer *p, size_t at, struct frame *ret)
{
    const uint8_t *b = (const uint8_t *)buf_data(&p->out);
    size_t left = buf_len(&p->out);
    for (;; at--) {
        if (left < H2_FRAME_HEAD)
            return false;
        *ret = (struct frame){.length = u32_of(b) >> 8,
                              .type = b[3],
                              .flags = b[4],
                              .id = u32_of(b + 5),
                              .p = b + H2_FRAME_HEAD};
        assert_true(left >= H2_FRAME_HEAD + ret->length);
        if (at == 0)
            return true;
        b += H2_FRAME_HEAD + ret->length;
        left -= H2_FRAME_HEAD + ret->length;
    }
}

/* How many of this type (and, unless it is 0, this stream) were said. */
static inline unsigned frames_of(const struct peer *p, uint8_t type, uint32_t id,
                                 struct frame *ret_last)
{
    struct frame f;
    unsigned n = 0;
    for (size_t i = 0; frame_at(p, i, &f); i++) {
        if (f.type == type && (id == 0 || f.id == id)) {
            n++;
            if (ret_last)
                *ret_last = f;
        }
    }
    return n;
}

/* The code of its RST_STREAM on that stream; -1: none. */
static inline int rst_of(const struct peer *p, uint32_t id)
{
    struct frame f;
    return frames_of(p, F_RST_STREAM, id, &f) ? (int)u32_of(f.p) : -1;
}

/* The code of its GOAWAY; -1: none. */
static inline int goaway_of(const struct peer *p)
{
    struct frame f;
    return frames_of(p, F_GOAWAY, 0, &f) ? (int)u32_of(f.p + 4) : -1;
}

/* --- messages --- */

static inline void set_text(struct message *m, struct text *t, const char *s)
{
    assert_int_equal(message_append(m, s, strlen(s), t), 0);
}

/* Building them needs no memory that could be short. At most eight at once. */
static inline struct message_room *next_room(void)
{
    static struct message_room rooms[8];
    static unsigned n;
    return &rooms[n++ % 8];
}

static inline void make_request(struct message *m, const char *method, const char *path,
                                enum body_kind body, uint64_t length)
{
    message_init_in(m, true, next_room());
    set_text(m, &m->method_text, method);
    m->method = (uint8_t)http_method_of(str_of(method));
    set_text(m, &m->path, path);
    set_text(m, &m->authority, "a.example");
    m->body = (uint8_t)body;
    m->content_length = length;
    m->version_minor = 1;
}

static inline void make_response(struct message *m, uint16_t status, enum body_kind body,
                                 uint64_t length)
{
    message_init_in(m, false, next_room());
    m->status = status;
    m->body = (uint8_t)body;
    m->content_length = length;
    m->version_minor = 1;
}

static inline void add_field(struct message *m, const char *name, const char *value)
{
    struct str n = str_of(name);
    assert_int_equal(message_add(m, field_id_of(n), n, str_of(value)), 0);
}

/* The first field's value; "" where there is none. */
static inline bool field_is(const struct message *m, const char *name, const char *value)
{
    const struct field *f = message_find_name(m, str_of(name));
    return f ? str_eq(field_value(m, f), str_of(value)) : !*value;
}

#endif
