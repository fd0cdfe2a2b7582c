/* fuzz_h1.h - reads a whole HTTP/1 message (head, body, trailers) in pieces that the input chooses,
 * and tells what was read, so that two readings can be compared. */
#ifndef SLUICE_TESTS_FUZZ_FUZZ_H1_H
#define SLUICE_TESTS_FUZZ_FUZZ_H1_H

#include "base/mem.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"

/* One reading of one message. */
struct fuzz_h1 {
    struct message m, trailers;
    enum h1_result head, body;
    enum reason reason;
    const char *detail;
    size_t taken;
    struct buf payload;
};

static struct buf_pool fuzz_pool;

/* The sizes of the pieces: all at once with seed 0, else small numbers that follow from it. */
static inline size_t fuzz_piece(uint32_t *seed, size_t left)
{
    if (*seed == 0)
        return left;
    *seed = *seed * 1664525 + 1013904223;
    *seed |= 1;
    size_t n = (*seed >> 24) % 3 == 0 ? (*seed >> 8) % 97 + 1 : (*seed >> 8) % 5 + 1;
    return n < left ? n : left;
}

/* in is read from its begin to the message's end, an error, or its own end. Every piece is an
 * allocation of its own, so that a sanitizer sees one byte too many. */
static inline void fuzz_read(struct fuzz_h1 *f, bool is_request, enum http_method method,
                             const struct h1_limits *limits, uint32_t seed, const char *in,
                             size_t n)
{
    struct h1_head h;
    struct h1_body b;
    bool body_begun = false;

    message_init(&f->m, is_request);
    message_init(&f->trailers, is_request);
    h1_head_init(&h, limits, method);
    f->head = f->body = H1_MORE;
    f->reason = REASON_NONE;
    f->detail = "";
    f->taken = 0;
    f->payload = (struct buf){0};
    for (size_t at = 0, step; at < n && f->head != H1_ERROR && f->body == H1_MORE; at += step) {
        step = fuzz_piece(&seed, n - at);
        char *piece = malloc(step);
        CHECK(piece);
        memcpy(piece, in + at, step);
        size_t used = 0, taken;
        if (f->head == H1_MORE) {
            f->head = h1_head_feed(&h, &f->m, piece, step, &taken);
            CHECK(taken <= step && (f->head != H1_MORE || taken == step));
            used = taken;
        }
        if (f->head == H1_DONE && !body_begun) {
            h1_body_init(&b, &f->m, &h);
            body_begun = true;
            f->body = b.done ? H1_DONE : H1_MORE;
        }
        while (body_begun && f->body == H1_MORE && used < step) {
            struct str data;
            f->body = h1_body_feed(&b, &f->trailers, piece + used, step - used, &taken, &data);
            CHECK(taken <= step - used && data.n <= taken);
            CHECK(f->body != H1_MORE || taken > 0);
            CHECK(data.n == 0 || (data.p >= piece + used && data.p + data.n <= piece + step));
            CHECK(buf_append(&fuzz_pool, &f->payload, data.p, data.n) == 0);
            used += taken;
        }
        f->taken += used;
        free(piece);
    }
    if (f->head == H1_ERROR) {
        f->reason = h.reason;
        f->detail = h.detail;
    } else if (f->body == H1_ERROR) {
        f->reason = b.reason;
        f->detail = b.detail;
    }
    bool failed = f->head == H1_ERROR || f->body == H1_ERROR;
    CHECK(failed == (f->reason != REASON_NONE) && f->detail);
}

static inline void fuzz_free(struct fuzz_h1 *f)
{
    message_free(&f->m);
    message_free(&f->trailers);
    buf_clear(&fuzz_pool, &f->payload);
}

static inline void fuzz_same_text(const struct message *a, struct text s, const struct message *b,
                                  struct text t)
{
    CHECK(str_eq(message_str(a, s), message_str(b, t)));
}

#define FUZZ_BIT(id) ((uint64_t)1 << (id))

/* The same fields in the same order, but for those in `aside` and, in a, those dropped. */
static inline void fuzz_same_fields(const struct message *a, const struct message *b,
                                    uint64_t aside)
{
    unsigned j = 0;
    for (unsigned i = 0; i < a->n_fields; i++) {
        const struct field *f = &a->fields[i];
        if (f->dropped || (aside & FUZZ_BIT(f->id)))
            continue;
        while (j < b->n_fields && (aside & FUZZ_BIT(b->fields[j].id)))
            j++;
        CHECK(j < b->n_fields && f->id == b->fields[j].id);
        CHECK(str_eq(field_name(a, f), field_name(b, &b->fields[j])));
        CHECK(str_eq(field_value(a, f), field_value(b, &b->fields[j])));
        j++;
    }
    for (; j < b->n_fields; j++)
        CHECK(aside & FUZZ_BIT(b->fields[j].id));
}

static inline void fuzz_same_payload(const struct fuzz_h1 *a, const struct fuzz_h1 *b)
{
    CHECK(buf_len(&a->payload) == buf_len(&b->payload));
    if (buf_len(&a->payload) > 0)
        CHECK(memcmp(buf_data(&a->payload), buf_data(&b->payload), buf_len(&a->payload)) == 0);
}

/* Two readings of the same bytes. */
static inline void fuzz_same(const struct fuzz_h1 *a, const struct fuzz_h1 *b)
{
    const struct message *m = &a->m, *n = &b->m;
    CHECK(a->head == b->head && a->body == b->body && a->reason == b->reason);
    CHECK(strcmp(a->detail, b->detail) == 0);
    fuzz_same_payload(a, b);
    if (a->head != H1_DONE)
        return;
    CHECK(m->method == n->method && m->status == n->status && m->body == n->body);
    CHECK(m->version_minor == n->version_minor && m->content_length == n->content_length);
    CHECK(m->connection_close == n->connection_close && m->has_query == n->has_query);
    CHECK(m->connection_upgrade == n->connection_upgrade && m->asterisk == n->asterisk);
    CHECK(m->connection_named == n->connection_named && m->te_trailers == n->te_trailers);
    CHECK(m->expect_continue == n->expect_continue);
    fuzz_same_text(m, m->method_text, n, n->method_text);
    fuzz_same_text(m, m->path, n, n->path);
    fuzz_same_text(m, m->query, n, n->query);
    fuzz_same_text(m, m->authority, n, n->authority);
    fuzz_same_text(m, m->reason, n, n->reason);
    fuzz_same_fields(m, n, 0);
    if (a->body == H1_DONE) {
        CHECK(a->taken == b->taken);
        fuzz_same_fields(&a->trailers, &b->trailers, 0);
    }
}

/* The body and trailers of f, framed as f->m.body says, in chunks of at most 7 bytes. */
static inline void fuzz_write_body(const struct fuzz_h1 *f, struct buf *out)
{
    const char *p = buf_data(&f->payload);
    size_t left = buf_len(&f->payload);
    char head[H1_CHUNK_HEAD_MAX];
    if (f->m.body != BODY_CHUNKED) {
        CHECK(buf_append(&fuzz_pool, out, p, left) == 0);
        return;
    }
    while (left > 0) {
        size_t n = left < 7 ? left : 7, h = h1_write_chunk_head(head, n);
        CHECK(buf_append(&fuzz_pool, out, head, h) == 0);
        CHECK(buf_append(&fuzz_pool, out, p, n) == 0);
        CHECK(buf_append(&fuzz_pool, out, "\r\n", 2) == 0);
        p += n;
        left -= n;
    }
    CHECK(h1_write_last_chunk(&fuzz_pool, out, &f->trailers) == 0);
}

/* The input's first bytes choose how the rest is read. */
struct fuzz_choice {
    uint32_t seed;
    struct h1_limits limits;
    enum http_method method;
};

static inline bool fuzz_choose(const uint8_t **data, size_t *size, struct fuzz_choice *ret)
{
    if (*size < 2)
        return false;
    ret->seed = (*data)[0] * 2654435761u | 1;
    ret->limits = (*data)[1] & 1 ? (struct h1_limits){64, 128, 5} : H1_LIMITS_DEFAULT;
    ret->method = (*data)[1] & 2 ? METHOD_HEAD : METHOD_GET;
    *data += 2;
    *size -= 2;
    return true;
}

/* Room for what the writer adds. */
static const struct h1_limits fuzz_large = {1 << 20, 1 << 20, 60000};

#endif
