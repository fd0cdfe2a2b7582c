/* test_h2_heads.c - HTTP/2: what the fields of a message say, and which no message may have. */
#include "h2_pair.h"

#include <stdio.h>

static void test_cookies(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    raw_head(&r, 1, RAW_GET "cookie=a=1\nx-y=z\ncookie=b=2\ncookie=\ncookie=c=3\n", true);
    assert_int_equal(raw_feed(&r, &s), 0);
    struct message *m = &s.streams[0]->head;
    assert_true(field_is(m, "cookie", "a=1; b=2; ; c=3") && field_is(m, "x-y", "z"));
    assert_int_equal(m->n_fields, 2);
    server_end(&s, &r);
}

static bool no_index(const struct message *m, const char *name)
{
    const struct field *f = message_find_name(m, str_of(name));
    assert_non_null(f);
    return f->no_index;
}

/* What may be in no table may not be in that of the next hop (RFC 7541 §7.1.3). */
static void test_never_indexed(UNUSED void **state)
{
    static const uint8_t block[] = "\x82\x86\x84\x41\x01"
                                   "a"
                                   "\x10\x01x\x01y"
                                   "\x00\x01z\x01y"
                                   "\x0f\x11\x03"
                                   "a=b"
                                   "\x1f\x11\x03"
                                   "c=d"
                                   "\x1f\x27\x01w"
                                   "\x0f\x11\x03"
                                   "e=f";
    for (int apart = 0; apart < 2; apart++) {
        struct peer s;
        struct raw r;
        struct pair p;
        struct message m;
        server_begin(&s, &r, NULL);
        /* The last crumb of the cookie stands by itself, or is not there. */
        raw_frame(&r, F_HEADERS, END_HEADERS, 1, block, sizeof(block) - 1 - (apart ? 0 : 10));
        raw_frame(&r, F_HEADERS, END_HEADERS | END_STREAM, 1, "\x10\x01t\x01u\x00\x01v\x01u", 10);
        assert_int_equal(raw_feed(&r, &s), 0);
        const struct told *in = s.streams[0];
        assert_true(no_index(&in->head, "x") && !no_index(&in->head, "z"));
        assert_true(no_index(&in->head, "cookie"));
        assert_true(field_is(&in->head, "cookie", apart ? "a=b; c=d; e=f" : "a=b; c=d"));
        assert_true(no_index(&in->trailers, "t") && !no_index(&in->trailers, "v"));

        pair_begin(&p, NULL);
        struct told *c = peer_new_stream(&p.client, false);
        make_request(&m, "POST", "/", BODY_CHUNKED, 0);
        for (uint32_t i = 0; i < in->head.n_fields; i++) {
            const struct field *f = &in->head.fields[i];
            assert_int_equal(message_add(&m, (enum field_id)f->id, field_name(&in->head, f),
                                         field_value(&in->head, f)),
                             0);
            m.fields[m.n_fields - 1].no_index = f->no_index;
        }
        assert_int_equal(h2_request(&p.client.h2, &c->st, &m, STR("http"), false), 0);
        assert_int_equal(h2_send_end(&c->st, &in->trailers), 0);
        message_free(&m);
        talk(&p);
        const struct told *out = p.server.streams[0];
        assert_true(no_index(&out->head, "x") && !no_index(&out->head, "z"));
        assert_true(no_index(&out->head, "cookie"));
        assert_true(no_index(&out->trailers, "t") && !no_index(&out->trailers, "v"));
        pair_end(&p);
        server_end(&s, &r);
    }
}

static void test_authority(UNUSED void **state)
{
    static const struct {
        const char *fields, *authority; /* NULL: refused */
    } cases[] = {
        {":authority=a.b:80\n:path=/\n", "a.b:80"},
        {":path=/\nhost=c.d\n", "c.d"},
        {":authority=a\n:path=/\nhost=A\n", "a"},
        {":authority=a\n:path=/\nhost=b\n", NULL},
        {":path=/\n", NULL},
        {":authority=u@a\n:path=/\n", NULL},
        {":authority=a b\n:path=/\n", NULL},
        {":authority=a/b\n:path=/\n", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer s;
        struct raw r;
        char fields[200];
        (void)snprintf(fields, sizeof(fields), ":method=GET\n:scheme=http\n%s", cases[i].fields);
        server_begin(&s, &r, NULL);
        raw_head(&r, 1, fields, true);
        assert_int_equal(raw_feed(&r, &s), 0);
        assert_int_equal(peer_pull(&s), 0);
        struct told *t = s.streams[0];
        if (cases[i].authority) {
            assert_int_equal(t->heads, 1);
            assert_true(
                str_eq(message_str(&t->head, t->head.authority), str_of(cases[i].authority)));
        } else {
            assert_int_equal(t->heads, 0);
            assert_true(t->reason == REASON_BAD_REQUEST || rst_of(&s, 1) == H2_PROTOCOL_ERROR);
        }
        server_end(&s, &r);
    }
}

/* Each is reset, or told as bad; none gets out. */
static void test_refused_requests(UNUSED void **state)
{
    static const struct {
        const char *fields;
        enum reason reason; /* REASON_NONE: RST_STREAM(PROTOCOL_ERROR) */
    } cases[] = {
        {":method=GET\n:scheme=http\n:authority=a\n", REASON_NONE},
        {":method=GET\n:authority=a\n:path=/\n", REASON_NONE},
        {":scheme=http\n:authority=a\n:path=/\n", REASON_NONE},
        {RAW_GET ":path=/\n", REASON_NONE},
        {RAW_GET ":status=200\n", REASON_NONE},
        {RAW_GET ":what=1\n", REASON_NONE},
        {RAW_GET "x=1\n:method=GET\n", REASON_NONE},
        {RAW_GET "Upper=1\n", REASON_NONE},
        {RAW_GET "na me=1\n", REASON_NONE},
        {RAW_GET "=1\n", REASON_NONE},
        {RAW_GET "x=a\rb\n", REASON_NONE},
        {RAW_GET "connection=close\n", REASON_NONE},
        {RAW_GET "keep-alive=1\n", REASON_NONE},
        {RAW_GET "proxy-connection=1\n", REASON_NONE},
        {RAW_GET "transfer-encoding=chunked\n", REASON_NONE},
        {RAW_GET "upgrade=x\n", REASON_NONE},
        {RAW_GET "te=gzip\n", REASON_NONE},
        {RAW_GET "content-length=5\n", REASON_NONE}, /* and it ends here */
        {RAW_GET "content-length=0\ncontent-length=0\n", REASON_NONE},
        {RAW_GET "content-length=+0\n", REASON_NONE},
        {RAW_GET "content-length=18446744073709551616\n", REASON_NONE},
        {RAW_GET "host=a\nhost=a\n", REASON_NONE},
        {":method=GET\n:scheme=ftp\n:authority=a\n:path=/\n", REASON_BAD_REQUEST},
        {":method=GET\n:scheme=http\n:authority=a\n:path=/a b\n", REASON_NONE},
        {":method=GET\n:scheme=http\n:authority=a\n:path=/a#b\n", REASON_BAD_REQUEST},
        {":method=GET\n:scheme=http\n:authority=a\n:path=/\x80\n", REASON_BAD_REQUEST},
        {":method=OPTIONS\n:scheme=http\n:authority=a\n:path=*?\n", REASON_NONE},
        {":method=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n:scheme=http\n:authority=a\n:path=/\n",
         REASON_BAD_REQUEST},
        {":method=TRACE\n:scheme=http\n:authority=a\n:path=/\n", REASON_METHOD_NOT_ALLOWED},
        {":method=CONNECT\n:authority=a:1\n", REASON_METHOD_NOT_ALLOWED},
        {":method=CONNECT\n:protocol=other\n:scheme=http\n:authority=a\n:path=/\n",
         REASON_METHOD_NOT_ALLOWED},
        {RAW_GET "expect=something\n", REASON_EXPECTATION_FAILED},
        {RAW_GET "content_length=1\n", REASON_BAD_REQUEST},
        {RAW_GET "x_forwarded_for=1\n", REASON_BAD_REQUEST},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer s;
        struct raw r;
        server_begin(&s, &r, NULL);
        raw_head(&r, 1, cases[i].fields, true);
        raw_head(&r, 3, RAW_GET, true); /* the connection lives on */
        assert_int_equal(raw_feed(&r, &s), 0);
        assert_int_equal(peer_pull(&s), 0);
        struct told *t = s.streams[0];
        if (t->heads != 0)
            print_error("case %zu was taken\n", i);
        if (t->reason != cases[i].reason)
            print_error("case %zu\n", i);
        assert_int_equal(t->heads, 0);
        assert_int_equal(t->reason, cases[i].reason);
        if (cases[i].reason == REASON_NONE) {
            assert_int_equal(rst_of(&s, 1), H2_PROTOCOL_ERROR);
            assert_true(t->closes == 1 && t->ours && t->code == H2_PROTOCOL_ERROR);
        } else {
            assert_int_equal(t->bads, 1);
            assert_int_equal(rst_of(&s, 1), -1);
            answer(t, 400, BODY_NONE, 0, true);
            assert_int_equal(peer_pull(&s), 0);
            assert_over(t);
        }
        assert_int_equal(s.streams[1]->heads, 1);
        assert_int_equal(goaway_of(&s), -1);
        server_end(&s, &r);
    }
}

static void test_underscores_that_mean_nothing(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    raw_head(&r, 1, RAW_GET "my_field=1\nexpect=100-Continue\n", true);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_true(s.streams[0]->heads == 1 && s.streams[0]->head.expect_continue);
    assert_true(field_is(&s.streams[0]->head, "my_field", "1"));
    server_end(&s, &r);
}

static void limit(uint32_t max_fields, uint32_t max_bytes, const char *fields, bool taken)
{
    struct peer s;
    struct raw r;
    struct h2_settings settings = H2_SETTINGS_DEFAULT;
    settings.max_fields = max_fields;
    settings.max_field_bytes = max_bytes;
    server_begin(&s, &r, &settings);
    raw_head(&r, 1, fields, true);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_int_equal(s.streams[0]->heads, taken);
    assert_int_equal(s.streams[0]->reason, taken ? REASON_NONE : REASON_HEADERS_TOO_LARGE);
    server_end(&s, &r);
}

static void test_limits(UNUSED void **state)
{
    limit(6, 10000, RAW_GET "a=1\nb=2\n", true);
    limit(5, 10000, RAW_GET "a=1\nb=2\n", false);
    limit(6, 10000, RAW_GET "cookie=1\ncookie=2\n", true);
    limit(5, 10000, RAW_GET "cookie=1\ncookie=2\n", false); /* each crumb counts */
    /* :method GET, :scheme http, :authority a, :path /: 10 + 11 + 11 + 6, and 32 each; a 1: 34. */
    uint32_t all = 10 + 11 + 11 + 6 + 4 * 32 + 34;
    limit(100, all, RAW_GET "a=1\n", true);
    limit(100, all - 1, RAW_GET "a=1\n", false);

    enum { LARGE = 40000, PREFIX = sizeof(RAW_GET "a=") - 1 };
    char large[PREFIX + LARGE + 2];
    memcpy(large, RAW_GET "a=", PREFIX);
    memset(large + PREFIX, 'v', LARGE);
    memcpy(large + PREFIX + LARGE, "\n", 2);
    limit(100, 32768, large, false);
    limit(100, 65536, large, true);
}

static void test_trailers(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    raw_head(&r, 1, RAW_POST, false);
    raw_frame(&r, F_DATA, 0, 1, "x", 1);
    raw_head(&r, 1, "a=1\ncontent-length=3\nhost=b\ntransfer_encoding=c\ngrpc-status=4\n", true);
    raw_head(&r, 3, RAW_POST, false);
    raw_head(&r, 3, "a=1\n", false); /* trailers are the end */
    raw_head(&r, 5, RAW_POST, false);
    raw_head(&r, 5, ":path=/\n", true);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_int_equal(peer_pull(&s), 0);
    struct told *t = s.streams[0];
    if (t->ends == 1) {
        assert_int_equal(t->trailers.n_fields, 2);
        assert_true(field_is(&t->trailers, "a", "1") && field_is(&t->trailers, "grpc-status", "4"));
    } else { /* nghttp2 reads content-length there, too, and finds it wrong */
        assert_int_equal(rst_of(&s, 1), H2_PROTOCOL_ERROR);
    }
    assert_int_equal(rst_of(&s, 3), H2_PROTOCOL_ERROR);
    assert_int_equal(rst_of(&s, 5), H2_PROTOCOL_ERROR);
    server_end(&s, &r);
}

/* A refused head's body is not told, and its trailers are not a second refusal. */
static void test_behind_a_bad_head(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    raw_head(&r, 1, RAW_POST "expect=x\n", false);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_int_equal(s.streams[0]->reason, REASON_EXPECTATION_FAILED);
    for (int i = 0; i < 50; i++)
        raw_frame(&r, F_DATA, 0, 1, (char[1000]){0}, 1000);
    raw_head(&r, 1, "a=1\n", true);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_int_equal(s.streams[0]->bads, 1);
    assert_body(s.streams[0], "");
    assert_int_equal(peer_pull(&s), 0);
    assert_true(frames_of(&s, F_WINDOW_UPDATE, 1, NULL) > 0); /* it can be sent to the end */
    answer(s.streams[0], 417, BODY_NONE, 0, true);
    assert_int_equal(peer_pull(&s), 0);
    assert_over(s.streams[0]);
    server_end(&s, &r);
}

static void test_bad_responses(UNUSED void **state)
{
    static const struct {
        const char *fields;
        bool end;
        enum reason reason;
    } cases[] = {
        {"x=1\n", true, REASON_NONE},
        {":status=20\n", true, REASON_NONE},
        {":status=2x0\n", true, REASON_NONE},
        {":status=099\n", true, REASON_UPSTREAM_PROTOCOL},
        {":status=101\n", false, REASON_NONE},
        {":status=100\n", true, REASON_NONE},
        {":status=200\nconnection=close\n", true, REASON_NONE},
        {":status=200\ncontent-length=1\ncontent-length=1\n", false, REASON_NONE},
        {":status=200\n:path=/\n", true, REASON_NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer c;
        struct raw r = {0};
        struct message m;
        assert_int_equal(peer_init(&c, H2_CLIENT, NULL), 0);
        struct told *t = peer_new_stream(&c, false);
        make_request(&m, "GET", "/", BODY_NONE, 0);
        assert_int_equal(h2_request(&c.h2, &t->st, &m, STR("http"), true), 0);
        message_free(&m);
        assert_int_equal(peer_pull(&c), 0);
        buf_clear(&c.pool, &c.out); /* the preface is no frame */
        raw_frame(&r, F_SETTINGS, 0, 0, "", 0);
        raw_head(&r, 1, cases[i].fields, cases[i].end);
        assert_int_equal(raw_feed(&r, &c), 0);
        assert_int_equal(peer_pull(&c), 0);
        assert_int_equal(t->heads + t->interims, 0);
        if (t->bads > 0)
            assert_int_equal(t->reason, REASON_UPSTREAM_PROTOCOL);
        else
            assert_true(t->closes == 1 && t->ours && rst_of(&c, 1) == H2_PROTOCOL_ERROR);
        raw_free(&r);
        peer_free(&c);
    }
}

/* RFC 9113 §8.1.1: Content-Length and DATA, in both roles. */
static void test_lengths(UNUSED void **state)
{
    static const struct {
        const char *fields;
        size_t data;
        bool good;
    } cases[] = {
        {RAW_POST "content-length=3\n", 3, true},
        {RAW_POST "content-length=3\n", 2, false},
        {RAW_POST "content-length=3\n", 4, false},
        {RAW_POST "content-length=0\n", 0, true},
        {RAW_POST "content-length=0\n", 1, false},
        {RAW_POST, 5, true},
        {":status=200\ncontent-length=3\n", 3, true},
        {":status=200\ncontent-length=3\n", 2, false},
        {":status=200\ncontent-length=3\n", 4, false},
        {":status=200\n", 4, true},
        {":status=204\n", 0, true},
        {":status=204\n", 1, false},
        {":status=204\ncontent-length=0\n", 0, true},
        {":status=204\ncontent-length=1\n", 0, false},
        {":status=304\ncontent-length=5\n", 0, true},
        {":status=304\ncontent-length=5\n", 5, false},
        {":status=103\n", 1, false},
        {":status=103\n", 0, false},
        {":status=103\ncontent-length=0\n", 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer p;
        struct raw r = {0};
        bool server = cases[i].fields[1] == 'm';
        assert_int_equal(peer_init(&p, server ? H2_SERVER : H2_CLIENT, NULL), 0);
        if (server) {
            raw_begin(&r);
        } else {
            struct message m;
            struct told *t = peer_new_stream(&p, false);
            make_request(&m, "GET", "/", BODY_NONE, 0);
            assert_int_equal(h2_request(&p.h2, &t->st, &m, STR("http"), true), 0);
            message_free(&m);
            assert_int_equal(peer_pull(&p), 0);
            buf_clear(&p.pool, &p.out);
            raw_frame(&r, F_SETTINGS, 0, 0, "", 0);
        }
        raw_head(&r, 1, cases[i].fields, false);
        raw_frame(&r, F_DATA, END_STREAM, 1, "abcdefgh", cases[i].data);
        assert_int_equal(raw_feed(&r, &p), 0);
        assert_int_equal(peer_pull(&p), 0);
        struct told *t = p.streams[0];
        if ((t->ends == 1) != cases[i].good)
            print_error("case %zu\n", i);
        assert_int_equal(t->ends, cases[i].good);
        assert_int_equal(rst_of(&p, 1), cases[i].good ? -1 : H2_PROTOCOL_ERROR);
        assert_true(cases[i].good || (t->closes == 1 && t->ours));
        assert_int_equal(goaway_of(&p), -1);
        raw_free(&r);
        peer_free(&p);
    }
}

/* RFC 9113 §8.1: behind a head only trailers, which are the end, and have no pseudo-fields. */
static void test_wrong_trailers(UNUSED void **state)
{
    static const struct {
        const char *fields;
        bool end;
    } cases[] = {
        {"x=1\n", false},         {":path=/\n", true}, {"X=1\n", true},
        {"connection=x\n", true}, {"te=gzip\n", true}, {"x= 1\n", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer s;
        struct raw r;
        server_begin(&s, &r, NULL);
        raw_head(&r, 1, RAW_POST, false);
        raw_head(&r, 1, cases[i].fields, cases[i].end);
        assert_int_equal(raw_feed(&r, &s), 0);
        assert_int_equal(peer_pull(&s), 0);
        struct told *t = s.streams[0];
        if (rst_of(&s, 1) != H2_PROTOCOL_ERROR)
            print_error("case %zu\n", i);
        assert_int_equal(rst_of(&s, 1), H2_PROTOCOL_ERROR);
        assert_true(t->heads == 1 && t->ends == 0 && t->closes == 1 && t->ours);
        server_end(&s, &r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_never_indexed),
        cmocka_unit_test(test_authority),
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_underscores_that_mean_nothing),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_behind_a_bad_head),
        cmocka_unit_test(test_bad_responses),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_wrong_trailers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
