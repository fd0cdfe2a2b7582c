/* test_h1_body.c - where a body ends: lengths, chunks, trailers, however they are cut. */
#include "feed.h"

#include "base/mem.h"

static const struct h1_limits limits = {8192, 32768, 100};
static const struct h1_limits small = {64, 64, 4};

struct body_reading {
    enum h1_result result;
    enum reason reason;
    size_t taken;
    size_t n;
    unsigned trailers;
    char data[8192];
};

/* As a caller does: every piece is fed until it is used up. */
static void read_body(const struct message *m, const struct h1_limits *l, const char *in, size_t n,
                      size_t first, size_t piece, struct message *trailers,
                      struct body_reading *ret)
{
    struct h1_head head;
    struct h1_body b;
    h1_head_init(&head, l, METHOD_OTHER);
    h1_body_init(&b, m, &head);
    message_init(trailers, m->is_request);
    ret->result = b.done ? H1_DONE : H1_MORE;
    ret->taken = ret->n = 0;
    ret->reason = REASON_NONE;
    for (size_t at = 0, step; at < n && ret->result == H1_MORE; at += step) {
        step = at == 0 ? first : piece;
        if (step > n - at)
            step = n - at;
        char *copy = malloc(step);
        assert_non_null(copy);
        memcpy(copy, in + at, step);
        size_t used = 0;
        while (used < step && ret->result == H1_MORE) {
            size_t taken;
            struct str data;
            ret->result = h1_body_feed(&b, trailers, copy + used, step - used, &taken, &data);
            if (ret->result == H1_MORE)
                assert_true(taken > 0);
            assert_true(taken <= step - used && data.n <= taken);
            assert_true(ret->n + data.n <= sizeof(ret->data));
            memcpy(ret->data + ret->n, data.p, data.n);
            ret->n += data.n;
            used += taken;
        }
        ret->taken += used;
        free(copy);
    }
    if (ret->result == H1_ERROR) {
        ret->reason = b.reason;
        assert_non_null(b.detail);
    }
    assert_int_equal(b.done, ret->result == H1_DONE);
    ret->trailers = trailers->n_fields;
}

static void read_every_cut(const struct message *m, const struct h1_limits *l, const char *in,
                           size_t n, struct message *trailers, struct body_reading *ret)
{
    static struct body_reading other;
    read_body(m, l, in, n, n, n, trailers, ret);
    for (size_t cut = 1; cut <= n; cut++) {
        struct message t;
        /* The last round goes byte by byte. */
        read_body(m, l, in, n, cut < n ? cut : 1, cut < n ? n : 1, &t, &other);
        assert_int_equal(other.result, ret->result);
        assert_int_equal(other.reason, ret->reason);
        assert_int_equal(other.n, ret->n);
        assert_memory_equal(other.data, ret->data, ret->n);
        assert_int_equal(other.trailers, ret->trailers);
        if (ret->result == H1_DONE)
            assert_int_equal(other.taken, ret->taken);
        message_free(&t);
    }
}

static struct message trailers;
static struct body_reading got;

static void chunked_with(const struct h1_limits *l, bool is_request, const char *in, size_t n)
{
    struct message m;
    message_init(&m, is_request);
    m.body = BODY_CHUNKED;
    read_every_cut(&m, l, in, n, &trailers, &got);
    message_free(&m);
}

#define CHUNKED(literal) chunked_with(&limits, true, (literal), sizeof(literal) - 1)

#define REFUSED(literal)                                                                           \
    do {                                                                                           \
        CHUNKED(literal);                                                                          \
        assert_int_equal(got.result, H1_ERROR);                                                    \
        assert_int_equal(got.reason, REASON_BAD_REQUEST);                                          \
        message_free(&trailers);                                                                   \
        chunked_with(&limits, false, (literal), sizeof(literal) - 1);                              \
        assert_int_equal(got.reason, REASON_UPSTREAM_PROTOCOL);                                    \
        message_free(&trailers);                                                                   \
    } while (0)

#define PAYLOAD(literal, text, behind)                                                             \
    do {                                                                                           \
        CHUNKED(literal);                                                                          \
        assert_int_equal(got.result, H1_DONE);                                                     \
        assert_int_equal(got.n, sizeof(text) - 1);                                                 \
        assert_memory_equal(got.data, text, got.n);                                                \
        assert_int_equal(got.taken, sizeof(literal) - 1 - (behind));                               \
        message_free(&trailers);                                                                   \
    } while (0)

static void with_kind(enum body_kind kind, uint64_t length, const char *in, size_t n)
{
    struct message m;
    message_init(&m, true);
    m.body = (uint8_t)kind;
    m.content_length = length;
    read_every_cut(&m, &limits, in, n, &trailers, &got);
    message_free(&trailers);
    message_free(&m);
}

static void lengths(void **state)
{
    (void)state;
    with_kind(BODY_LENGTH, 5, "helloNEXT", 9);
    assert_int_equal(got.result, H1_DONE);
    assert_int_equal(got.taken, 5);
    assert_memory_equal(got.data, "hello", 5);
    with_kind(BODY_LENGTH, 5, "hell", 4);
    assert_int_equal(got.result, H1_MORE);
    with_kind(BODY_LENGTH, UINT64_MAX, "hell", 4);
    assert_int_equal(got.result, H1_MORE);
    with_kind(BODY_LENGTH, 0, "NEXT", 4);
    assert_int_equal(got.result, H1_DONE);
    assert_int_equal(got.taken, 0);
    with_kind(BODY_NONE, 7, "NEXT", 4);
    assert_int_equal(got.result, H1_DONE);
    assert_int_equal(got.taken, 0);
    with_kind(BODY_CLOSE, 0, "all of it", 9);
    assert_int_equal(got.result, H1_MORE);
    assert_int_equal(got.n, 9);
}

static void chunks(void **state)
{
    (void)state;
    PAYLOAD("5\r\nhello\r\n0\r\n\r\n", "hello", 0);
    PAYLOAD("5\r\nhello\r\n0\r\n\r\nNEXT", "hello", 4);
    PAYLOAD("0\r\n\r\n", "", 0);
    PAYLOAD("000\r\n\r\n", "", 0);
    PAYLOAD("a\r\n0123456789\r\n00000000000000B\r\n0123456789a\r\n0\r\n\r\n",
            "01234567890123456789a", 0);
    PAYLOAD("2;a=b;c=\"d e\"\r\n\r\n\r\n1 \t;x\r\n!\r\n0;last\r\n\r\n", "\r\n!", 0);
}

static void input_09_chunk_sizes(void **state)
{
    (void)state;
    REFUSED("5\nhello\r\n0\r\n\r\n");
    REFUSED("5\r\nhello\n0\r\n\r\n");
    REFUSED("+1\r\nx\r\n0\r\n\r\n");
    REFUSED("-1\r\nx\r\n0\r\n\r\n");
    REFUSED("0x1\r\nx\r\n0\r\n\r\n");
    REFUSED("00000000000000001\r\nx\r\n0\r\n\r\n");
    REFUSED("\r\nx\r\n0\r\n\r\n");
    REFUSED(";a\r\nx\r\n0\r\n\r\n");
    REFUSED(" 1\r\nx\r\n0\r\n\r\n");
    REFUSED("1 \r\nx\r\n0\r\n\r\n");
    REFUSED("1 1\r\nx\r\n0\r\n\r\n");
    REFUSED("1g\r\nx\r\n0\r\n\r\n");
    REFUSED("1\rx\r\n0\r\n\r\n");
    REFUSED("1\r\nx\r\n0\r\n\rx\r\n");
    CHUNKED("ffffffffffffffff\r\nx");
    assert_int_equal(got.result, H1_MORE);
    message_free(&trailers);
}

static void input_10_chunk_extensions(void **state)
{
    static char text[16384];
    (void)state;
    REFUSED("1;a\nb\r\nx\r\n0\r\n\r\n");
    REFUSED("1;a\rb\r\nx\r\n0\r\n\r\n");
    REFUSED("1;a\0b\r\nx\r\n0\r\n\r\n");
    REFUSED("1;a\x7f\r\nx\r\n0\r\n\r\n");
    /* 4 KiB in all, however they are spread. */
    for (int extra = 0; extra <= 1; extra++) {
        size_t n = 0;
        for (int i = 0; i < 4; i++) {
            int w = 1024 + (i == 3 ? extra : 0);
            n += (size_t)snprintf(text + n, sizeof(text) - n, "1;%0*d\r\nx\r\n", w, 1);
        }
        n += (size_t)snprintf(text + n, sizeof(text) - n, "0\r\n\r\n");
        chunked_with(&limits, true, text, n);
        assert_int_equal(got.result, extra ? H1_ERROR : H1_DONE);
        message_free(&trailers);
    }
}

static void input_11_missing_crlf_after_a_chunk(void **state)
{
    (void)state;
    REFUSED("5\r\nhello0\r\n\r\n");
    REFUSED("5\r\nhello!\r\n0\r\n\r\n");
    REFUSED("4\r\nhello\r\n0\r\n\r\n");
    REFUSED("5\r\nhello\r0\r\n\r\n");
}

static void input_12_trailers(void **state)
{
    (void)state;
    CHUNKED("1\r\nx\r\n0\r\ngrpc-status: 0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
            "Host: evil\r\nAuthorization: x\r\nConnection: close\r\nX-Forwarded-For: 1\r\n"
            "Cookie: a\r\nSet-Cookie: b\r\nContent-Type: c\r\nTE: d\r\nTrailer: e\r\nExpect: f\r\n"
            "Content_Length: 5\r\nX-Real-IP: 1\r\nUpgrade: h2c\r\nWWW-Authenticate: g\r\n"
            "Proxy-Status: sluice\r\nX-Sum:  abc \r\n\r\nNEXT");
    assert_int_equal(got.result, H1_DONE);
    assert_int_equal(trailers.n_fields, 3);
    assert_true(str_eq(field_name(&trailers, &trailers.fields[0]), STR("grpc-status")));
    assert_int_equal(trailers.fields[1].id, FIELD_PROXY_STATUS);
    assert_true(str_eq(field_value(&trailers, &trailers.fields[2]), STR("abc")));
    message_free(&trailers);
    REFUSED("0\r\n folded: x\r\n\r\n");
    REFUSED("0\r\nname : x\r\n\r\n");
    REFUSED("0\r\nname: x\n\r\n");
    REFUSED("0\r\nnocolon\r\n\r\n");
    REFUSED("0\r\n\n");
    REFUSED("0\r\nx: \0\r\n\r\n");
}

static void trailers_have_limits(void **state)
{
    static const char many[] = "0\r\na:1\r\nb:2\r\nc:3\r\nd:4\r\ne:5\r\n\r\n";
    static const char large[] = "0\r\na: 0123456789012345678901234567890123456789012345678901234567"
                                "8901234567890123456789\r\n\r\n";
    (void)state;
    chunked_with(&small, true, many, sizeof(many) - 1);
    assert_int_equal(got.reason, REASON_HEADERS_TOO_LARGE);
    message_free(&trailers);
    chunked_with(&small, true, large, sizeof(large) - 1);
    assert_int_equal(got.reason, REASON_HEADERS_TOO_LARGE);
    message_free(&trailers);
    chunked_with(&small, false, large, sizeof(large) - 1);
    assert_int_equal(got.reason, REASON_UPSTREAM_HEADERS_TOO_LARGE);
    message_free(&trailers);
}

static void memory_short_in_trailers(void **state)
{
    static char text[4096];
    struct message m;
    int n = snprintf(text, sizeof(text), "0\r\na: %02000d\r\n\r\n", 1);
    (void)state;
    message_init(&m, true);
    m.body = BODY_CHUNKED;
    mem_fail_at(1, false);
    read_body(&m, &limits, text, (size_t)n, (size_t)n, (size_t)n, &trailers, &got);
    mem_fail_at(0, false);
    assert_int_equal(got.reason, REASON_OUT_OF_MEMORY);
    message_free(&trailers);
    message_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths),
        cmocka_unit_test(chunks),
        cmocka_unit_test(input_09_chunk_sizes),
        cmocka_unit_test(input_10_chunk_extensions),
        cmocka_unit_test(input_11_missing_crlf_after_a_chunk),
        cmocka_unit_test(input_12_trailers),
        cmocka_unit_test(trailers_have_limits),
        cmocka_unit_test(memory_short_in_trailers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
