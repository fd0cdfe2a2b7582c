/* feed.h - reads one head in every way that a network can cut it, for the tests of the parser. */
#ifndef SLUICE_TESTS_UNIT_HTTP_FEED_H
#define SLUICE_TESTS_UNIT_HTTP_FEED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/h1_parse.h"

enum { TEXT_MAX = 1 << 17 };

/* What a head was read as. */
struct reading {
    enum h1_result result;
    enum reason reason;
    const char *detail;
    size_t taken;
    char text[TEXT_MAX]; /* the message, told in full */
};

static inline void tell(char *out, size_t *at, const char *name, struct str s)
{
    int n = snprintf(out + *at, TEXT_MAX - *at, "%s[%.*s] ", name, STR_FMT(s));
    assert_in_range(n, 0, TEXT_MAX - *at - 1);
    *at += (size_t)n;
}

static inline void tell_number(char *out, size_t *at, const char *name, uint64_t v)
{
    char digits[32];
    (void)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v);
    tell(out, at, name, str_of(digits));
}

/* Everything that the parser says about m, as text. */
static inline void tell_message(const struct message *m, char *out)
{
    size_t at = 0;
    tell(out, &at, "method", message_str(m, m->method_text));
    tell_number(out, &at, "id", m->method);
    tell(out, &at, "path", message_str(m, m->path));
    if (m->has_query)
        tell(out, &at, "query", message_str(m, m->query));
    tell(out, &at, "authority", message_str(m, m->authority));
    tell_number(out, &at, "minor", m->version_minor);
    tell_number(out, &at, "status", m->status);
    tell(out, &at, "reason", message_str(m, m->reason));
    tell_number(out, &at, "body", m->body);
    tell_number(out, &at, "length", m->content_length);
    tell_number(out, &at, "close", m->connection_close);
    tell_number(out, &at, "upgrade", m->connection_upgrade);
    tell_number(out, &at, "named", m->connection_named);
    tell_number(out, &at, "expect", m->expect_continue);
    tell_number(out, &at, "te", m->te_trailers);
    tell_number(out, &at, "asterisk", m->asterisk);
    for (unsigned i = 0; i < m->n_fields; i++) {
        const struct field *f = &m->fields[i];
        tell_number(out, &at, "\n ", f->id);
        tell(out, &at, "", field_name(m, f));
        tell(out, &at, "", field_value(m, f));
    }
    out[at] = '\0';
}

/* Reads [in, in + n) in pieces: first_piece bytes, then piece bytes each. m is left to the
 * caller, who frees it. */
static inline void read_pieces(struct message *m, bool is_request, enum http_method method,
                               const struct h1_limits *limits, const char *in, size_t n,
                               size_t first_piece, size_t piece, struct reading *ret)
{
    struct h1_head h;
    size_t at = 0;
    message_init(m, is_request);
    h1_head_init(&h, limits, method);
    ret->result = H1_MORE;
    ret->taken = 0;
    while (at < n && ret->result == H1_MORE) {
        size_t step = at == 0 ? first_piece : piece, taken;
        if (step > n - at)
            step = n - at;
        /* A copy of exactly that size, so that a sanitizer sees one byte read too many. */
        char *copy = malloc(step ? step : 1);
        assert_non_null(copy);
        memcpy(copy, in + at, step);
        ret->result = h1_head_feed(&h, m, copy, step, &taken);
        free(copy);
        assert_true(taken <= step);
        if (ret->result == H1_MORE)
            assert_int_equal(taken, step);
        ret->taken += taken;
        at += step;
    }
    ret->reason = ret->result == H1_ERROR ? h.reason : REASON_NONE;
    ret->detail = ret->result == H1_ERROR ? h.detail : "";
    ret->text[0] = '\0';
    if (ret->result == H1_DONE)
        tell_message(m, ret->text);
}

static inline void same_reading(const struct reading *a, const struct reading *b)
{
    assert_int_equal(a->result, b->result);
    assert_int_equal(a->reason, b->reason);
    assert_string_equal(a->detail, b->detail);
    assert_string_equal(a->text, b->text);
    if (a->result == H1_DONE)
        assert_int_equal(a->taken, b->taken);
}

/* Whole, cut in two at every byte, and byte by byte: one answer. Left in m and ret. */
static inline void read_every_way(struct message *m, bool is_request, enum http_method method,
                                  const struct h1_limits *limits, const char *in, size_t n,
                                  struct reading *ret)
{
    static struct reading other;
    struct message again;
    for (size_t cut = 1; cut < n; cut++) {
        if (n > 4096 && cut % 61 != 0 && cut + 32 < n)
            continue;
        read_pieces(m, is_request, method, limits, in, n, n, n, ret);
        read_pieces(&again, is_request, method, limits, in, n, cut, n, &other);
        same_reading(ret, &other);
        message_free(&again);
        message_free(m);
    }
    read_pieces(&again, is_request, method, limits, in, n, 1, 1, &other);
    read_pieces(m, is_request, method, limits, in, n, n, n, ret);
    same_reading(ret, &other);
    message_free(&again);
}

#endif
