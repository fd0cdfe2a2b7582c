/* test_h1_write.c - heads, chunks and trailers to bytes; and back again. */
#include "feed.h"

#include "base/mem.h"
#include "http/h1_write.h"

#include <errno.h>

static struct buf_pool pool;
static struct buf out;
static const struct h1_limits limits = {8192, 32768, 100};

static void parse(struct message *m, bool is_request, const char *text)
{
    struct h1_head h;
    size_t taken;
    message_init(m, is_request);
    h1_head_init(&h, &limits, METHOD_GET);
    assert_int_equal(h1_head_feed(&h, m, text, strlen(text), &taken), H1_DONE);
    assert_int_equal(taken, strlen(text));
}

static void wrote(const char *text)
{
    assert_int_equal(buf_len(&out), strlen(text));
    assert_memory_equal(buf_data(&out), text, strlen(text));
    buf_clear(&pool, &out);
}

static void requests(void **state)
{
    struct message m;
    struct h1_framing f = {.body = BODY_NONE};
    (void)state;
    parse(&m, true,
          "GET http://a:1/b?c HTTP/1.1\r\nHost: a:1\r\nConnection: x\r\nAccept:*/*\r\nX:\t y \r\n"
          "Content-Length: 3\r\nEmpty:\r\nTE: trailers\r\nZ: z\r\n\r\n");
    assert_int_equal(h1_write_request(&pool, &out, &m, &f), 0);
    wrote("GET /b?c HTTP/1.1\r\nHost: a:1\r\nAccept: */*\r\nX: y\r\nEmpty: \r\nZ: z\r\n\r\n");
    f = (struct h1_framing){.body = BODY_LENGTH, .content_length = UINT64_MAX, .te_trailers = true};
    message_find_name(&m, STR("x"))->dropped = 1;
    m.query.len = 0;
    assert_int_equal(h1_write_request(&pool, &out, &m, &f), 0);
    wrote("GET /b? HTTP/1.1\r\nHost: a:1\r\nAccept: */*\r\nEmpty: \r\nZ: z\r\n"
          "Content-Length: 18446744073709551615\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    f = (struct h1_framing){
        .body = BODY_CHUNKED, .connection_close = true, .upgrade = true, .te_trailers = true};
    m.has_query = 0;
    m.n_fields = 0;
    assert_int_equal(h1_write_request(&pool, &out, &m, &f), 0);
    wrote("GET /b HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n"
          "Connection: close, upgrade, TE\r\n\r\n");
    message_free(&m);
    parse(&m, true, "OPTIONS * HTTP/1.0\r\n\r\n");
    f = (struct h1_framing){.declare_length = true, .connection_keep_alive = true};
    assert_int_equal(h1_write_request(&pool, &out, &m, &f), 0);
    wrote("OPTIONS * HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n");
    message_free(&m);
}

static void responses(void **state)
{
    struct message m;
    struct h1_framing f = {.body = BODY_CLOSE, .connection_close = true};
    (void)state;
    parse(&m, false, "HTTP/1.0 200 Fine\r\nServer: x\r\nHost: y\r\nTransfer-Encoding_: z\r\n\r\n");
    assert_int_equal(h1_write_response(&pool, &out, &m, &f), 0);
    wrote("HTTP/1.1 200 Fine\r\nServer: x\r\nHost: y\r\nTransfer-Encoding_: z\r\n"
          "Connection: close\r\n\r\n");
    m.reason.len = 0;
    m.n_fields = 0;
    f = (struct h1_framing){.body = BODY_NONE};
    assert_int_equal(h1_write_response(&pool, &out, &m, &f), 0);
    wrote("HTTP/1.1 200 OK\r\n\r\n");
    m.status = 299;
    f = (struct h1_framing){.body = BODY_NONE,
                            .declare_length = true,
                            .content_length = 10,
                            .connection_keep_alive = true};
    assert_int_equal(h1_write_response(&pool, &out, &m, &f), 0);
    wrote("HTTP/1.1 299 \r\nContent-Length: 10\r\nConnection: keep-alive\r\n\r\n");
    m.status = 101;
    f = (struct h1_framing){.body = BODY_NONE, .upgrade = true};
    assert_int_equal(message_add_known(&m, FIELD_UPGRADE, STR("websocket")), 0);
    assert_int_equal(h1_write_response(&pool, &out, &m, &f), 0);
    wrote("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    message_free(&m);
}

/* As another protocol leaves them: names and values anywhere in the buffer, sharing bytes. */
static void fields_that_do_not_lie_as_lines(void **state)
{
    struct message m;
    struct text t;
    struct h1_framing f = {.body = BODY_NONE};
    (void)state;
    message_init(&m, false);
    m.status = 200;
    assert_int_equal(message_append(&m, "name--valuename: v", 18, &t), 0);
    assert_int_equal(
        message_add_slice(&m, (struct field){.name = 0, .name_len = 4, .value = 6, .value_len = 5}),
        0);
    assert_int_equal(
        message_add_slice(&m, (struct field){.name = 6, .name_len = 5, .value = 0, .value_len = 4}),
        0);
    assert_int_equal(
        message_add_slice(&m,
                          (struct field){.name = 11, .name_len = 4, .value = 17, .value_len = 1}),
        0);
    assert_int_equal(h1_write_response(&pool, &out, &m, &f), 0);
    wrote("HTTP/1.1 200 OK\r\nname: value\r\nvalue: name\r\nname: v\r\n\r\n");
    message_free(&m);
}

static void chunk_heads(void **state)
{
    char text[H1_CHUNK_HEAD_MAX + 1];
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t n = ((uint64_t)1 << bit) + (uint64_t)(int64_t)delta;
            if (n == 0)
                continue;
            char want[32];
            int len = snprintf(want, sizeof(want), "%llx\r\n", (unsigned long long)n);
            assert_int_equal(h1_write_chunk_head(text, n), len);
            assert_memory_equal(text, want, (size_t)len);
        }
    }
}

static void last_chunks(void **state)
{
    struct message t;
    (void)state;
    assert_int_equal(h1_write_last_chunk(&pool, &out, NULL), 0);
    wrote("0\r\n\r\n");
    message_init(&t, false);
    assert_int_equal(message_add(&t, FIELD_OTHER, STR("grpc-status"), STR("0")), 0);
    assert_int_equal(message_add_known(&t, FIELD_CONTENT_LENGTH, STR("5")), 0);
    assert_int_equal(message_add(&t, FIELD_OTHER, STR("x"), STR("y")), 0);
    t.fields[2].dropped = 1;
    assert_int_equal(h1_write_last_chunk(&pool, &out, &t), 0);
    wrote("0\r\ngrpc-status: 0\r\n\r\n");
    message_free(&t);
}

static void phrases(void **state)
{
    (void)state;
    assert_true(str_eq(http_status_phrase(404), STR("Not Found")));
    assert_true(str_eq(http_status_phrase(503), STR("Service Unavailable")));
    assert_int_equal(http_status_phrase(599).n, 0);
    assert_int_equal(http_status_phrase(0).n, 0);
}

static void memory_short(void **state)
{
    struct message m;
    struct h1_framing f = {.body = BODY_NONE};
    struct buf_pool empty = {0};
    struct buf b = {0};
    (void)state;
    parse(&m, true, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    mem_fail_at(1, true);
    assert_int_equal(h1_write_request(&empty, &b, &m, &f), -ENOMEM);
    assert_int_equal(h1_write_last_chunk(&empty, &b, NULL), -ENOMEM);
    m.status = 200;
    assert_int_equal(h1_write_response(&empty, &b, &m, &f), -ENOMEM);
    mem_fail_at(0, false);
    assert_int_equal(buf_len(&b), 0);
    message_free(&m);
}

/* ---- parse, write, parse: the same message, for messages made at random ---- */

static uint32_t seed = 1;

static uint32_t below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static const char *pick(const char *const *all, size_t n)
{
    return all[below((uint32_t)n)];
}

#define PICK(...)                                                                                  \
    pick((const char *const[]){__VA_ARGS__}, ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

static size_t random_fields(char *text, size_t cap)
{
    size_t n = 0;
    for (uint32_t i = below(30); i > 0; i--) {
        const char *space = PICK("", " ", "\t", "  \t ");
        n += (size_t)snprintf(text + n, cap - n, "%s:%s%s%s\r\n",
                              PICK("Accept", "x", "X-Long-Name-Of-A-Field", "cookie", "User-Agent",
                                   "te", "Via", "connection", "set-cookie", "!#$%&'*+-.^_`|~"),
                              space,
                              PICK("", "a", "a b", "a: b", "\xff\x80",
                                   "0123456789012345678901234567890123", "trailers", "x-foo, close",
                                   ": "),
                              PICK("", " ", "\t "));
    }
    return n;
}

/* The second reading, with what the writer puts first and last taken out of both. */
static void compare(const struct message *a, const struct message *b, uint64_t written)
{
    unsigned j = 0;
    assert_true(str_eq(message_str(a, a->path), message_str(b, b->path)));
    assert_true(str_eq(message_str(a, a->query), message_str(b, b->query)));
    assert_int_equal(a->has_query, b->has_query);
    assert_true(str_eq(message_str(a, a->method_text), message_str(b, b->method_text)));
    assert_true(str_eq(message_str(a, a->authority), message_str(b, b->authority)));
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->body, b->body);
    assert_true(a->content_length == b->content_length);
    for (unsigned i = 0; i < a->n_fields; i++) {
        const struct field *f = &a->fields[i];
        if (written >> f->id & 1)
            continue;
        while (j < b->n_fields && written >> b->fields[j].id & 1)
            j++;
        assert_true(j < b->n_fields);
        assert_int_equal(f->id, b->fields[j].id);
        assert_true(str_eq(field_name(a, f), field_name(b, &b->fields[j])));
        assert_true(str_eq(field_value(a, f), field_value(b, &b->fields[j])));
        j++;
    }
    while (j < b->n_fields)
        assert_true(written >> b->fields[j++].id & 1);
}

static void round_trips(void **state)
{
    static char text[8192];
    const uint64_t response_written = 1u << FIELD_CONTENT_LENGTH | 1u << FIELD_TRANSFER_ENCODING |
                                      1u << FIELD_CONNECTION | 1u << FIELD_TE;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        bool is_request = below(2) == 0;
        struct message a, b;
        size_t n = 0;
        if (is_request)
            n = (size_t)snprintf(text, sizeof(text), "%s /%s HTTP/1.1\r\nHost: %s\r\n",
                                 PICK("GET", "POST", "OPTIONS", "X"),
                                 PICK("", "a", "a?b", "?", "a//b?c?d"),
                                 PICK("a", "b:80", "[::1]:1"));
        else
            n = (size_t)snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n",
                                 PICK("200 OK", "500 ", "404 \xff x", "206 Partial"));
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s",
                              PICK("", "Content-Length: 0\r\n", "content-length:77 \r\n",
                                   "Transfer-encoding: chunked\r\n"));
        n += random_fields(text + n, sizeof(text) - n - 2);
        n += (size_t)snprintf(text + n, sizeof(text) - n, "\r\n");
        assert_true(n < sizeof(text));
        parse(&a, is_request, text);
        struct h1_framing f = {.body = (enum body_kind)a.body, .content_length = a.content_length};
        if (is_request)
            assert_int_equal(h1_write_request(&pool, &out, &a, &f), 0);
        else
            assert_int_equal(h1_write_response(&pool, &out, &a, &f), 0);
        assert_true(buf_len(&out) < sizeof(text));
        memcpy(text, buf_data(&out), buf_len(&out));
        text[buf_len(&out)] = '\0';
        parse(&b, is_request, text);
        compare(&a, &b, response_written | (is_request ? 1u << FIELD_HOST : 0));
        buf_clear(&pool, &out);
        message_free(&a);
        message_free(&b);
    }
}

static int leave(void **state)
{
    (void)state;
    buf_clear(&pool, &out);
    buf_pool_free(&pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(responses),
        cmocka_unit_test(fields_that_do_not_lie_as_lines),
        cmocka_unit_test(chunk_heads),
        cmocka_unit_test(last_chunks),
        cmocka_unit_test(phrases),
        cmocka_unit_test(memory_short),
        cmocka_unit_test(round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, leave);
}
