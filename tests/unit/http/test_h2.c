/* test_h2.c - the HTTP/2 codec: two of them back to back, and one against frames by hand. */
#include "h2_peer.h"

#include "base/check.h"

#include <errno.h>
#include <stdio.h>

struct pair {
    struct peer client, server;
};

static void pair_begin(struct pair *p, const struct h2_settings *server)
{
    assert_int_equal(peer_init(&p->client, H2_CLIENT, NULL), 0);
    assert_int_equal(peer_init(&p->server, H2_SERVER, server), 0);
    assert_int_equal(peers_talk(&p->client, &p->server, 0), 0);
    assert_int_equal(p->client.settings, 1);
    assert_int_equal(p->server.settings, 1);
}

static void pair_end(struct pair *p)
{
    peer_free(&p->client);
    peer_free(&p->server);
}

static void talk(struct pair *p)
{
    assert_int_equal(peers_talk(&p->client, &p->server, 0), 0);
}

/* A request that is only a head; its stream at the client. */
static struct told *ask(struct pair *p, const char *method, enum body_kind body, uint64_t length,
                        bool end)
{
    struct told *t = peer_new_stream(&p->client, false);
    struct message m;
    make_request(&m, method, "/a/b?c=d", body, length);
    assert_int_equal(h2_request(&p->client.h2, &t->st, &m, STR("http"), end), 0);
    message_free(&m);
    return t;
}

static void answer(struct told *t, uint16_t status, enum body_kind body, uint64_t length, bool end)
{
    struct message m;
    make_response(&m, status, body, length);
    add_field(&m, "Server", "x");
    assert_int_equal(h2_respond(&t->st, &m, end), 0);
    message_free(&m);
}

static void say(struct told *t, const char *s)
{
    assert_int_equal(h2_send(&t->st, s, strlen(s)), 0);
}

static void assert_body(const struct told *t, const char *want)
{
    assert_int_equal(buf_len(&t->body), strlen(want));
    if (*want)
        assert_memory_equal(buf_data(&t->body), want, strlen(want));
}

static void assert_over(const struct told *t)
{
    assert_int_equal(t->closes, 1);
    assert_int_equal(t->code, H2_NO_ERROR);
    assert_null(t->st.h2);
}

/* --- messages --- */

static void exchange(size_t step)
{
    struct pair p;
    struct message m;
    pair_begin(&p, NULL);

    struct told *c = peer_new_stream(&p.client, false);
    make_request(&m, "POST", "/up", BODY_CHUNKED, 0);
    add_field(&m, "X-One", "1");
    add_field(&m, "Connection", "close");
    add_field(&m, "Transfer-Encoding", "chunked");
    m.te_trailers = 1;
    assert_int_equal(h2_request(&p.client.h2, &c->st, &m, STR("http"), false), 0);
    message_free(&m);
    say(c, "hello ");
    say(c, "world");
    message_init(&m, true);
    add_field(&m, "X-Sum", "7");
    assert_int_equal(h2_send_end(&c->st, &m), 0);
    message_free(&m);
    assert_int_equal(peers_talk(&p.client, &p.server, step), 0);

    struct told *s = p.server.streams[0];
    assert_int_equal(s->heads, 1);
    assert_int_equal(s->ends, 1);
    assert_int_equal(s->head.method, METHOD_POST);
    assert_int_equal(s->head.body, BODY_CHUNKED);
    assert_true(str_eq(message_str(&s->head, s->head.path), STR("/up")));
    assert_true(str_eq(message_str(&s->head, s->head.authority), STR("a.example")));
    assert_true(field_is(&s->head, "x-one", "1") && field_is(&s->head, "connection", ""));
    assert_true(field_is(&s->head, "transfer-encoding", "") && s->head.te_trailers);
    assert_true(field_is(&s->trailers, "x-sum", "7"));
    assert_true(s->head.http2 && s->head.version_minor == 1 && s->head.is_request);
    assert_body(s, "hello world");
    assert_true(s->st.recv_ended && c->st.end_sent);

    make_response(&m, 103, BODY_NONE, 0);
    add_field(&m, "Link", "</a>");
    assert_int_equal(h2_interim(&s->st, &m), 0);
    message_free(&m);
    answer(s, 200, BODY_CHUNKED, 0, false);
    say(s, "answer");
    assert_int_equal(peers_talk(&p.client, &p.server, step), 0);
    assert_int_equal(c->interims, 1);
    assert_int_equal(c->interim_status, 103);
    assert_int_equal(c->heads, 1);
    assert_int_equal(c->ends, 0);
    message_init(&m, false);
    add_field(&m, "grpc-status", "0");
    assert_int_equal(h2_send_end(&s->st, &m), 0);
    message_free(&m);
    assert_int_equal(peers_talk(&p.client, &p.server, step), 0);
    assert_int_equal(c->head.status, 200);
    assert_int_equal(c->head.body, BODY_CHUNKED);
    assert_body(c, "answer");
    assert_int_equal(c->ends, 1);
    assert_true(field_is(&c->trailers, "grpc-status", "0") && field_is(&c->head, "server", "x"));
    assert_over(c);
    assert_over(s);
    assert_int_equal(p.client.h2.n_streams + p.server.h2.n_streams, 0);
    pair_end(&p);
}

static void test_exchange(UNUSED void **state)
{
    for (size_t step = 0; step < 20; step++)
        exchange(step);
}

static void test_body_kinds(UNUSED void **state)
{
    struct pair p;
    pair_begin(&p, NULL);
    struct told *get = ask(&p, "GET", BODY_NONE, 0, true);
    struct told *post = ask(&p, "POST", BODY_LENGTH, 3, false);
    struct told *none = ask(&p, "POST", BODY_NONE, 0, true);
    struct told *late = ask(&p, "PUT", BODY_CHUNKED, 0, false);
    say(post, "abc");
    assert_int_equal(h2_send_end(&post->st, NULL), 0);
    talk(&p);
    assert_int_equal(p.server.n, 4);
    struct told **s = p.server.streams;
    assert_int_equal(s[0]->head.body, BODY_NONE);
    assert_true(s[0]->st.recv_ended && s[0]->ends == 0 && s[0]->head.has_query);
    assert_true(str_eq(message_str(&s[0]->head, s[0]->head.query), STR("c=d")));
    assert_int_equal(s[1]->head.body, BODY_LENGTH);
    assert_int_equal(s[1]->head.content_length, 3);
    assert_true(s[1]->ends == 1);
    assert_body(s[1], "abc");
    /* RFC 9110 §8.6: a method that has content says that there is none. */
    assert_int_equal(s[2]->head.body, BODY_LENGTH);
    assert_int_equal(s[2]->head.content_length, 0);
    assert_int_equal(s[3]->head.body, BODY_CHUNKED);
    assert_false(s[3]->st.recv_ended);
    assert_int_equal(h2_send_end(&late->st, NULL), 0);
    talk(&p);
    assert_true(s[3]->st.recv_ended && s[3]->ends == 1);
    assert_body(s[3], "");

    answer(s[0], 200, BODY_LENGTH, 2, false);
    say(s[0], "ok");
    assert_int_equal(h2_send_end(&s[0]->st, NULL), 0);
    answer(s[1], 204, BODY_NONE, 0, true);
    answer(s[2], 304, BODY_NONE, 0, true);
    answer(s[3], 200, BODY_LENGTH, 0, true);
    talk(&p);
    assert_int_equal(get->head.body, BODY_LENGTH);
    assert_int_equal(get->head.content_length, 2);
    assert_body(get, "ok");
    assert_true(post->head.status == 204 && post->heads == 1 && post->ends == 0);
    assert_true(none->head.status == 304 && late->head.status == 200);
    for (int i = 0; i < 4; i++)
        assert_over(s[i]);
    pair_end(&p);
}

/* A route has rewritten the path: the query stands elsewhere. */
static void test_target_in_pieces(UNUSED void **state)
{
    static const struct {
        const char *path, *query;
    } targets[] = {{"/new", "c=d"}, {"/new", ""}, {"/", "a=much&longer=query"}, {"/new", NULL}};
    struct pair p;
    pair_begin(&p, NULL);
    for (int i = 0; i < (int)ARRAY_LEN(targets); i++) {
        struct message m;
        struct told *c = peer_new_stream(&p.client, false);
        make_request(&m, "GET", "/a/much/longer/path", BODY_NONE, 0);
        const char *path = targets[i].path, *query = targets[i].query;
        m.has_query = query != NULL;
        if (query)
            assert_int_equal(message_append(&m, query, strlen(query), &m.query), 0);
        assert_int_equal(message_append(&m, path, strlen(path), &m.path), 0);
        add_field(&m, "X-Upper", "Stays");
        assert_int_equal(h2_request(&p.client.h2, &c->st, &m, STR("http"), true), 0);
        memset(m.buf, '!', m.len); /* it is not looked at again */
        message_free(&m);
        talk(&p);
        const struct message *got = &p.server.streams[i]->head;
        assert_true(str_eq(message_str(got, got->path), (struct str){path, strlen(path)}));
        assert_int_equal(got->has_query, query != NULL);
        if (query)
            assert_true(str_eq(message_str(got, got->query), (struct str){query, strlen(query)}));
        assert_true(field_is(got, "x-upper", "Stays"));
    }
    pair_end(&p);
}

static void test_head_method(UNUSED void **state)
{
    struct pair p;
    pair_begin(&p, NULL);
    struct told *c = ask(&p, "HEAD", BODY_NONE, 0, true);
    talk(&p);
    answer(p.server.streams[0], 200, BODY_LENGTH, 12345, true);
    talk(&p);
    assert_true(field_is(&c->head, "content-length", "12345"));
    assert_int_equal(c->head.content_length, 12345);
    assert_true(c->st.recv_ended && c->ends == 0);
    assert_over(c);
    pair_end(&p);
}

static void server_begin(struct peer *s, struct raw *r, const struct h2_settings *settings)
{
    *r = (struct raw){0};
    assert_int_equal(peer_init(s, H2_SERVER, settings), 0);
    raw_begin(r);
}

static void server_end(struct peer *s, struct raw *r)
{
    raw_free(r);
    peer_free(s);
}

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

/* --- windows --- */

static void fill(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + i % 23);
}

static void test_uncredited_stalls_alone(UNUSED void **state)
{
    enum { WINDOW = 65536, MUCH = 400000 };
    static char much[MUCH];
    struct pair p;
    fill(much, MUCH);
    pair_begin(&p, NULL);
    p.server.no_credit = true;
    struct told *slow = ask(&p, "POST", BODY_CHUNKED, 0, false);
    assert_int_equal(h2_send(&slow->st, much, MUCH), 0);
    assert_true(slow->st.blocked);
    talk(&p);
    struct told *s = p.server.streams[0];
    assert_int_equal(buf_len(&s->body), WINDOW);
    assert_int_equal(s->st.held, WINDOW);
    assert_int_equal(slow->st.sent, WINDOW);

    /* Three times the connection's window goes past it. */
    for (int i = 0; i < 8; i++) {
        p.server.no_credit = false;
        struct told *c = ask(&p, "POST", BODY_CHUNKED, 0, false);
        assert_int_equal(h2_send(&c->st, much, MUCH), 0);
        assert_int_equal(h2_send_end(&c->st, NULL), 0);
        talk(&p);
        assert_int_equal(buf_len(&p.server.streams[i + 1]->body), MUCH);
        assert_memory_equal(buf_data(&p.server.streams[i + 1]->body), much, MUCH);
        assert_int_equal(c->writables, 1);
    }
    assert_int_equal(slow->writables, 0);
    assert_true(slow->st.blocked);
    while (buf_len(&s->body) < MUCH) {
        size_t had = buf_len(&s->body);
        h2_credit(&s->st, s->st.held + 1000); /* more than there is does no harm */
        talk(&p);
        assert_true(buf_len(&s->body) > had);
    }
    assert_memory_equal(buf_data(&s->body), much, MUCH);
    assert_int_equal(slow->writables, 1);
    pair_end(&p);
}

/* Streams that are left or reset give the connection's window back. */
static void test_windows_of_dropped_streams(UNUSED void **state)
{
    static char much[300000];
    struct pair p;
    pair_begin(&p, NULL);
    p.server.no_credit = true;
    for (int i = 0; i < 60; i++) {
        struct told *c = ask(&p, "POST", BODY_CHUNKED, 0, false);
        assert_int_equal(h2_send(&c->st, much, 60000), 0);
        talk(&p);
        struct told *s = p.server.streams[p.server.n - 1];
        assert_int_equal(buf_len(&s->body), 60000);
        if (i % 3 == 0) {
            h2_reset(&s->st, H2_CANCEL);
        } else if (i % 3 == 1) {
            h2_reset(&c->st, H2_CANCEL);
        } else {
            answer(s, 200, BODY_NONE, 0, true);
            h2_leave(&s->st);
            assert_int_equal(h2_send(&c->st, much, sizeof(much)), 0); /* is discarded */
        }
        talk(&p);
        assert_null(c->st.h2);
        assert_null(s->st.h2);
        assert_int_equal(p.server.h2.n_streams + p.client.h2.n_streams, 0);
        assert_int_equal(p.server.h2.own_resets, 0);
    }
    pair_end(&p);
}

static void test_blocked_and_writable(UNUSED void **state)
{
    static char much[H2_STREAM_KEEPS + 1];
    struct pair p;
    pair_begin(&p, NULL);
    ask(&p, "GET", BODY_NONE, 0, true);
    talk(&p);
    struct told *s = p.server.streams[0];
    answer(s, 200, BODY_CHUNKED, 0, false);
    assert_int_equal(h2_send(&s->st, much, H2_STREAM_KEEPS), 0);
    assert_false(s->st.blocked);
    assert_int_equal(h2_send(&s->st, much, 1), 0);
    assert_true(s->st.blocked);
    /* 64 bytes at a time: a frame is made whole, and writable is told once. */
    while (h2_wants_pull(&p.server.h2)) {
        assert_int_equal(h2_pull(&p.server.h2, &p.server.out, 64), 0);
        assert_true(buf_len(&p.server.out) <= 64 + H2_FRAME_HEAD + 16384);
        assert_int_equal(peer_carry(&p.server, &p.client, 0), 0);
    }
    assert_int_equal(s->writables, 1);
    assert_int_equal(buf_len(&p.client.streams[0]->body), H2_STREAM_KEEPS + 1);
    pair_end(&p);
}

static void test_take_back(UNUSED void **state)
{
    struct pair p;
    struct message m;
    pair_begin(&p, NULL);
    struct told *c = ask(&p, "GET", BODY_NONE, 0, true);
    talk(&p);
    struct told *s = p.server.streams[0];
    say(s, "never seen");
    message_init(&m, false);
    add_field(&m, "a", "b");
    assert_int_equal(h2_send_end(&s->st, &m), 0);
    message_free(&m);
    h2_take_back(&s->st);
    assert_true(!s->st.send_ended && buf_len(&s->st.out) == 0);
    say(s, "seen");
    assert_int_equal(h2_send_end(&s->st, NULL), 0);
    answer(s, 502, BODY_CHUNKED, 0, false); /* the head may come last */
    talk(&p);
    assert_body(c, "seen");
    assert_int_equal(c->head.status, 502);
    assert_int_equal(c->trailers.n_fields, 0);
    assert_over(c);
    pair_end(&p);
}

/* --- ends --- */

static void test_leave(UNUSED void **state)
{
    struct pair p;
    pair_begin(&p, NULL);
    for (int order = 0; order < 2; order++) {
        struct told *c = ask(&p, "POST", BODY_CHUNKED, 0, false);
        say(c, "begin");
        talk(&p);
        struct told *s = p.server.streams[order];
        answer(s, 413, BODY_CHUNKED, 0, false);
        say(s, "too much");
        assert_int_equal(h2_send_end(&s->st, NULL), 0);
        if (order == 1) /* the end is out long before the owner lets go */
            talk(&p);
        h2_leave(&s->st);
        talk(&p);
        assert_true(s->closes == 1 && s->code == H2_NO_ERROR && !s->ours);
        assert_true(c->closes == 1 && c->code == H2_NO_ERROR && c->ends == 1);
        assert_body(c, "too much");
    }
    pair_end(&p);
}

/* Early answers are our choice: however many, they are no abuse of the client's. */
static void test_leave_is_no_abuse(UNUSED void **state)
{
    struct pair p;
    pair_begin(&p, NULL);
    for (int i = 0; i < 600; i++) {
        ask(&p, "POST", BODY_CHUNKED, 0, false);
        talk(&p);
        answer(p.server.streams[i], 401, BODY_NONE, 0, true);
        h2_leave(&p.server.streams[i]->st);
        talk(&p);
        assert_int_equal(p.server.streams[i]->closes, 1);
    }
    assert_int_equal(p.server.h2.failure_why, REASON_NONE);
    pair_end(&p);
}

/* The server answers while the end of the request waits to be written: who has left is told of its
 * stream's end only, not that it may write. */
static void test_left_is_not_writable(UNUSED void **state)
{
    static char much[2 * H2_STREAM_KEEPS - 1];
    struct message m;
    struct pair p;
    pair_begin(&p, NULL);
    struct told *c = ask(&p, "POST", BODY_CHUNKED, 0, false);
    assert_int_equal(h2_send(&c->st, much, sizeof(much)), 0);
    message_init(&m, true);
    add_field(&m, "x-sum", "1");
    assert_int_equal(h2_send_end(&c->st, &m), 0);
    message_free(&m);
    assert_int_equal(h2_pull(&p.client.h2, &p.client.out, 16384), 0);
    assert_true(c->st.blocked && c->st.end_sent);
    assert_int_equal(peer_carry(&p.client, &p.server, 0), 0);
    answer(p.server.streams[0], 403, BODY_NONE, 0, true);
    assert_int_equal(peer_pull(&p.server), 0);
    assert_int_equal(peer_carry(&p.server, &p.client, 0), 0);
    assert_true(c->st.recv_ended);
    h2_leave(&c->st);
    assert_int_equal(h2_pull(&p.client.h2, &p.client.out, 1), 0); /* room for one more frame */
    assert_int_equal(c->writables, 0);
    talk(&p);
    assert_int_equal(c->writables, 0);
    assert_over(c);
    pair_end(&p);
}

static void test_reset_at_every_point(UNUSED void **state)
{
    for (int point = 0; point < 8; point++) {
        struct pair p;
        pair_begin(&p, NULL);
        p.server.reset_in_head = point == 0;
        p.server.reset_in_body = point == 1;
        struct told *c = ask(&p, "POST", BODY_CHUNKED, 0, false);
        if (point == 2) { /* before it was on the wire */
            h2_reset(&c->st, H2_CANCEL);
            talk(&p);
            assert_int_equal(p.server.n, 0);
            pair_end(&p);
            continue;
        }
        say(c, "some");
        assert_int_equal(peer_pull(&p.client), 0);
        say(c, "more");
        assert_int_equal(peer_pull(&p.client), 0);
        talk(&p);
        struct told *s = p.server.streams[0];
        if (point >= 3)
            answer(s, 200, BODY_CHUNKED, 0, false);
        if (point == 4)
            say(s, "body");
        if (point == 5)
            talk(&p);
        if (point >= 3)
            h2_reset(point == 7 ? &c->st : &s->st, H2_INTERNAL_ERROR);
        h2_reset(&s->st, H2_CANCEL); /* harmless when it is over */
        talk(&p);
        assert_null(s->st.h2);
        assert_null(c->st.h2);
        if (point != 7)
            assert_true(c->closes == 1 && !c->ours && !c->unprocessed);
        assert_int_equal(p.server.h2.own_resets, 0);
        assert_int_equal(p.server.h2.n_streams + p.client.h2.n_streams, 0);
        /* Calls on a stream that is gone do nothing. */
        say(s, "x");
        h2_credit(&s->st, 1);
        h2_leave(&s->st);
        h2_take_back(&s->st);
        assert_int_equal(h2_send_end(&s->st, NULL), 0);
        answer(s, 200, BODY_NONE, 0, true);
        pair_end(&p);
    }
}

/* What crosses our RST_STREAM is no mistake, also while that waits for a transport that is full. */
static void test_data_behind_our_reset(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    s.reset_in_body = true;
    raw_head(&r, 1, RAW_POST, false);
    raw_frame(&r, F_DATA, 0, 1, "a", 1);
    raw_frame(&r, F_DATA, 0, 1, "b", 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    raw_frame(&r, F_DATA, 0, 1, "c", 1);
    raw_head(&r, 1, "t=1\n", true);
    assert_int_equal(raw_feed(&r, &s), 0);
    s.refuse_from = 1;
    raw_head(&r, 3, RAW_POST, false);
    raw_frame(&r, F_DATA, END_STREAM, 3, "d", 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_int_equal(peer_pull(&s), 0);
    assert_int_equal(rst_of(&s, 1), H2_CANCEL);
    assert_int_equal(rst_of(&s, 3), H2_REFUSED_STREAM);
    assert_int_equal(goaway_of(&s), -1);
    assert_int_equal(s.h2.own_resets, 0);
    server_end(&s, &r);
}

/* More streams at once than the SETTINGS allow, which the client has not seen yet: those beyond are
 * refused, and what they carry behind that is no mistake. */
static void test_too_many_before_settings(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    struct h2_settings settings = H2_SETTINGS_DEFAULT;
    settings.max_concurrent_streams = 2;
    server_begin(&s, &r, &settings);
    for (uint32_t id = 1; id <= 9; id += 2)
        raw_head(&r, id, RAW_POST, false);
    raw_rst(&r, 1, H2_CANCEL);
    raw_head(&r, 11, RAW_POST, false);
    for (uint32_t id = 5; id <= 11; id += 2)
        raw_frame(&r, F_DATA, 0, id, "x", 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_int_equal(peer_pull(&s), 0);
    for (uint32_t id = 5; id <= 9; id += 2)
        assert_int_equal(rst_of(&s, id), H2_REFUSED_STREAM);
    assert_int_equal(s.n, 3);
    assert_body(s.streams[2], "x");
    raw_frame(&r, F_DATA, END_STREAM, 7, "x", 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    server_end(&s, &r);
}

static void test_mistakes_about_closed_streams(UNUSED void **state)
{
    for (int kind = 0; kind < 4; kind++) {
        struct peer s;
        struct raw r;
        server_begin(&s, &r, NULL);
        raw_head(&r, 5, RAW_POST, false);
        raw_rst(&r, 5, H2_CANCEL);
        if (kind == 0)
            raw_frame(&r, F_DATA, 0, 5, "x", 1);
        else if (kind == 1)
            raw_head(&r, 5, "a=1\n", true);
        else if (kind == 2)
            raw_head(&r, 3, RAW_GET, true);
        else
            raw_frame(&r, F_DATA, 0, 7, "x", 1);
        assert_int_equal(raw_feed(&r, &s), kind == 3 ? 0 : -EPROTO);
        assert_int_equal(peer_pull(&s), 0);
        assert_int_equal(goaway_of(&s), kind < 2 ? H2_STREAM_CLOSED : H2_PROTOCOL_ERROR);
        assert_true(h2_done(&s.h2));
        assert_true(s.streams[0]->closes == 1 && !s.streams[0]->ours);
        /* What comes behind a failure is not read. */
        raw_head(&r, 9, RAW_GET, true);
        assert_int_equal(raw_feed(&r, &s), -EPROTO);
        assert_int_equal(s.n, 1);
        server_end(&s, &r);
    }
}

static void test_goaway(UNUSED void **state)
{
    struct pair p;
    pair_begin(&p, NULL);
    struct told *first = ask(&p, "GET", BODY_NONE, 0, true);
    talk(&p);
    h2_goaway_notice(&p.server.h2);
    assert_int_equal(peer_pull(&p.server), 0);
    struct told *crossed = ask(&p, "GET", BODY_NONE, 0, true); /* before the notice is seen */
    assert_int_equal(peer_pull(&p.client), 0);
    assert_int_equal(peer_carry(&p.client, &p.server, 0), 0);
    assert_int_equal(p.server.streams[1]->heads, 1); /* is still served */
    h2_goaway_final(&p.server.h2, H2_NO_ERROR);
    h2_goaway_final(&p.server.h2, H2_NO_ERROR);
    assert_int_equal(peer_pull(&p.server), 0);
    assert_int_equal(frames_of(&p.server, F_GOAWAY, 0, NULL), 2);
    struct told *late = ask(&p, "POST", BODY_CHUNKED, 0, false);
    say(late, "x");
    assert_int_equal(peer_pull(&p.client), 0);
    assert_int_equal(peer_carry(&p.client, &p.server, 0), 0);
    assert_int_equal(p.server.n, 2); /* nobody was told of it */
    assert_int_equal(peer_pull(&p.server), 0);
    assert_int_equal(rst_of(&p.server, 5), H2_REFUSED_STREAM);
    assert_int_equal(peer_carry(&p.server, &p.client, 0), 0);
    assert_int_equal(p.client.goaways, 2);
    assert_true(p.client.h2.goaway_received);
    assert_true(late->closes == 1 && late->unprocessed);
    assert_int_equal(first->closes + crossed->closes, 0);
    assert_false(h2_done(&p.server.h2));
    struct told *never = peer_new_stream(&p.client, false);
    struct message m;
    make_request(&m, "GET", "/", BODY_NONE, 0);
    if (h2_request(&p.client.h2, &never->st, &m, STR("http"), true) == 0) {
        talk(&p);
        assert_true(never->closes == 1 && never->unprocessed);
    }
    message_free(&m);
    answer(p.server.streams[0], 204, BODY_NONE, 0, true);
    answer(p.server.streams[1], 204, BODY_NONE, 0, true);
    talk(&p);
    assert_over(first);
    assert_over(crossed);
    assert_true(h2_done(&p.server.h2));
    pair_end(&p);
}

static void test_ping(UNUSED void **state)
{
    struct pair p;
    pair_begin(&p, NULL);
    h2_ping(&p.server.h2);
    h2_ping(&p.client.h2);
    talk(&p);
    assert_int_equal(p.server.pings, 1);
    assert_int_equal(p.client.pings, 1);
    pair_end(&p);
}

static void test_websocket(UNUSED void **state)
{
    struct pair p;
    struct message m;
    pair_begin(&p, NULL);
    assert_true(p.client.h2.peer_connect_protocol);
    struct told *c = peer_new_stream(&p.client, false);
    make_request(&m, "GET", "/chat", BODY_NONE, 0);
    m.websocket = m.connection_upgrade = 1;
    add_field(&m, "Upgrade", "websocket");
    add_field(&m, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    add_field(&m, "Sec-WebSocket-Version", "13");
    assert_int_equal(h2_request(&p.client.h2, &c->st, &m, STR("http"), true), 0);
    message_free(&m);
    talk(&p);
    struct told *s = p.server.streams[0];
    assert_true(s->heads == 1 && s->head.websocket && s->head.method == METHOD_GET);
    assert_false(s->st.recv_ended);
    assert_true(field_is(&s->head, "sec-websocket-key", ""));
    assert_true(field_is(&s->head, "sec-websocket-version", "13"));
    assert_true(field_is(&s->head, "upgrade", "websocket"));
    make_response(&m, 101, BODY_NONE, 0);
    m.websocket = m.connection_upgrade = 1;
    add_field(&m, "Upgrade", "websocket");
    assert_int_equal(h2_respond(&s->st, &m, false), 0);
    message_free(&m);
    say(s, "from the server");
    talk(&p);
    assert_true(c->heads == 1 && c->head.websocket && c->head.status == 101);
    say(c, "from the client");
    talk(&p);
    assert_body(c, "from the server");
    assert_body(s, "from the client");
    assert_int_equal(h2_send_end(&s->st, NULL), 0);
    assert_int_equal(h2_send_end(&c->st, NULL), 0);
    talk(&p);
    assert_over(c);
    assert_over(s);
    pair_end(&p);
}

/* --- floods --- */

static void test_no_empty_data_before_trailers(UNUSED void **state)
{
    struct pair p;
    struct message m;
    pair_begin(&p, NULL);
    for (int i = 0; i < 600; i++) {
        struct told *c = ask(&p, "GET", BODY_NONE, 0, true);
        talk(&p);
        struct told *s = p.server.streams[i];
        answer(s, 200, BODY_CHUNKED, 0, false);
        say(s, "x");
        talk(&p); /* the trailers come later than the last byte */
        message_init(&m, false);
        add_field(&m, "grpc-status", "0");
        assert_int_equal(h2_send_end(&s->st, &m), 0);
        message_free(&m);
        assert_int_equal(peer_pull(&p.server), 0);
        assert_int_equal(frames_of(&p.server, F_DATA, 0, NULL), 0);
        talk(&p);
        assert_over(c);
        assert_over(s);
        assert_true(field_is(&c->trailers, "grpc-status", "0"));
    }
    pair_end(&p);
}

/* One empty DATA a stream is honest (many senders put it before the trailers), more are counted. */
static void test_empty_data(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    raw_head(&r, 1, RAW_POST, false);
    for (int i = 0; i < 1001; i++)
        raw_frame(&r, F_DATA, 0, 1, "", 0);
    assert_int_equal(raw_feed(&r, &s), 0);
    raw_head(&r, 3, RAW_POST, false);
    raw_frame(&r, F_DATA, 0, 3, "", 0);
    assert_int_equal(raw_feed(&r, &s), 0);
    raw_frame(&r, F_DATA, 0, 3, "", 0);
    assert_int_equal(raw_feed(&r, &s), -EPROTO);
    assert_int_equal(s.h2.failure_why, REASON_H2_EMPTY_DATA_FLOOD);
    assert_int_equal(peer_pull(&s), 0);
    assert_int_equal(goaway_of(&s), H2_ENHANCE_YOUR_CALM);
    server_end(&s, &r);
}

static void flood(void (*one)(struct raw *, uint32_t i), int allowed, bool streams,
                  enum reason reason)
{
    struct peer s;
    struct raw r;
    int i, rc = 0;
    server_begin(&s, &r, NULL);
    assert_int_equal(raw_feed(&r, &s), 0);
    for (i = 0; i <= allowed + 1 && rc == 0; i++) {
        if (streams)
            raw_head(&r, (uint32_t)i * 2 + 1, RAW_GET, true);
        one(&r, (uint32_t)i);
        rc = raw_feed(&r, &s);
        if (rc == 0)
            rc = peer_pull(&s);
    }
    if (rc == 0)
        print_error("%s\n", reason_word(reason));
    assert_int_equal(rc, -EPROTO);
    assert_in_range(i, allowed - 1, allowed + 1);
    assert_int_equal(s.h2.failure_why, reason);
    assert_int_equal(peer_pull(&s), 0);
    assert_int_equal(goaway_of(&s), H2_ENHANCE_YOUR_CALM);
    server_end(&s, &r);
}

static void one_reset(struct raw *r, uint32_t i)
{
    raw_rst(r, i * 2 + 1, H2_CANCEL);
}

/* MadeYouReset: a frame for which we must reset the stream. */
static void one_large_window(struct raw *r, uint32_t i)
{
    raw_window(r, i * 2 + 1, INT32_MAX);
}

static void one_ping(struct raw *r, uint32_t i)
{
    (void)i;
    raw_frame(r, F_PING, 0, 0, "12345678", 8);
}

static void one_settings(struct raw *r, uint32_t i)
{
    (void)i;
    raw_frame(r, F_SETTINGS, 0, 0, "", 0);
}

static void one_priority(struct raw *r, uint32_t i)
{
    raw_frame(r, F_PRIORITY, 0, i * 2 + 1, (char[5]){0, 0, 0, 0, 16}, 5);
}

static void one_unknown(struct raw *r, uint32_t i)
{
    (void)i;
    raw_frame(r, 0x77, 0, 0, "", 0);
}

static void one_window(struct raw *r, uint32_t i)
{
    (void)i;
    raw_window(r, 0, 1);
}

static void test_floods(UNUSED void **state)
{
    flood(one_reset, 500, true, REASON_H2_RESET_FLOOD);
    flood(one_large_window, 501, true, REASON_H2_RESET_FLOOD);
    flood(one_ping, 1000, false, REASON_H2_PING_FLOOD);
    flood(one_settings, 1000, false, REASON_H2_PING_FLOOD);
    flood(one_priority, 1000, false, REASON_H2_PRIORITY_FLOOD);
    flood(one_unknown, 1000, false, REASON_H2_PRIORITY_FLOOD);
    flood(one_window, 1001, false, REASON_H2_WINDOW_UPDATE_FLOOD);
}

/* A peer that reads nothing, and makes us answer: what waits for it has a bound. */
static void test_answers_that_nobody_reads(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    uint32_t id;
    int rc = 0;
    server_begin(&s, &r, NULL);
    s.refuse_from = 1;
    raw_head(&r, 1, RAW_GET, true);
    for (id = 3; id < 100000 && rc == 0; id += 2) {
        raw_head(&r, id, RAW_GET, true);
        rc = raw_feed(&r, &s);
    }
    assert_int_equal(rc, -EPROTO);
    assert_true(id < 3 * 2 * 2000);
    server_end(&s, &r);
}

static void test_header_flood(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    raw_frame(&r, F_HEADERS, END_STREAM, 1, "", 0);
    for (int i = 0; i < H2_CONTINUATIONS_MAX; i++)
        raw_frame(&r, F_CONTINUATION, 0, 1, "", 0);
    assert_int_equal(raw_feed(&r, &s), 0);
    raw_frame(&r, F_CONTINUATION, 0, 1, "", 0);
    assert_int_equal(raw_feed(&r, &s), -EPROTO);
    assert_int_equal(s.h2.failure_why, REASON_H2_HEADER_FLOOD);
    server_end(&s, &r);
}

/* --- header blocks --- */

enum { PADDED = 8, PRIORITY = 32 };

/* A request and its trailers, each in pieces, with all that may stand around them. */
static void wrapped(struct raw *r)
{
    uint8_t block[512], payload[600] = {7};
    size_t n = hpack_block(block, RAW_POST "x-one=1\ncookie=a=b\n");
    raw_begin(r);
    payload[1 + 3] = 99; /* depends on stream 99, which is as good as none */
    memcpy(payload + 6, block, 20);
    raw_frame(r, F_HEADERS, PADDED | PRIORITY, 1, payload, 6 + 20 + 7);
    raw_frame(r, F_CONTINUATION, 0, 1, "", 0);
    raw_frame(r, F_CONTINUATION, 0, 1, block + 20, 1);
    raw_frame(r, F_CONTINUATION, END_HEADERS, 1, block + 21, n - 21);
    raw_frame(r, F_DATA, 0, 1, "abc", 3);
    n = hpack_block(block, "x-sum=7\n");
    raw_frame(r, F_HEADERS, END_STREAM, 1, block, n);
    raw_frame(r, F_CONTINUATION, END_HEADERS, 1, "", 0);
    payload[0] = 0;
    n = hpack_block(payload + 1, RAW_GET);
    raw_frame(r, F_HEADERS, PADDED | END_HEADERS | END_STREAM, 3, payload, 1 + n);
}

static void test_blocks_in_pieces(UNUSED void **state)
{
    for (size_t step = 1; step < 200; step++) {
        struct peer s;
        struct raw r = {0};
        assert_int_equal(peer_init(&s, H2_SERVER, NULL), 0);
        wrapped(&r);
        for (size_t at = 0, n = buf_len(&r.b); at < n; at += step) {
            size_t some = min_u64(step, n - at);
            char *piece = malloc(some);
            assert_non_null(piece);
            memcpy(piece, (const char *)buf_data(&r.b) + at, some);
            size_t taken;
            assert_int_equal(h2_feed(&s.h2, piece, some, s.now, &taken), 0);
            assert_int_equal(taken, some);
            free(piece);
            assert_int_equal(peer_pull(&s), 0);
        }
        struct told *t = s.streams[0];
        assert_true(s.n == 2 && t->heads == 1 && t->ends == 1 && s.streams[1]->heads == 1);
        assert_true(field_is(&t->head, "x-one", "1") && field_is(&t->head, "cookie", "a=b"));
        assert_true(field_is(&t->trailers, "x-sum", "7"));
        assert_body(t, "abc");
        assert_int_equal(goaway_of(&s), -1);
        server_end(&s, &r);
    }
}

/* Its time runs from the first byte of its head on. */
static void test_block_begins_a_stream(UNUSED void **state)
{
    struct peer s;
    struct raw r;
    uint8_t block[200];
    server_begin(&s, &r, NULL);
    size_t n = hpack_block(block, RAW_GET);
    const uint8_t head[] = {0, 0, (uint8_t)n, F_HEADERS, END_STREAM | END_HEADERS, 0, 0, 0, 1};
    raw_bytes(&r, head, sizeof(head));
    raw_bytes(&r, block, 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_true(s.n == 1 && s.streams[0]->heads == 0 && s.h2.n_streams == 1);
    raw_bytes(&r, block + 1, n - 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_true(s.n == 1 && s.streams[0]->heads == 1);
    server_end(&s, &r);
}

/* Frames of one header block that end the connection, and with which code. */
static void test_wrong_blocks(UNUSED void **state)
{
    static const uint8_t get[] = {0x82, 0x86, 0x84, 0x41, 1, 'a'};
    static const struct {
        struct {
            uint8_t type, flags, id, n, p[12];
        } frames[2];
        int code;
    } cases[] = {
        {{{F_HEADERS, PADDED | END_HEADERS, 1, 0, {0}}}, H2_FRAME_SIZE_ERROR},
        {{{F_HEADERS, PADDED | END_HEADERS, 1, 3, {3, 0x82, 0x86}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, PRIORITY | END_HEADERS, 1, 4, {0}}}, H2_FRAME_SIZE_ERROR},
        {{{F_HEADERS, PADDED | PRIORITY | END_HEADERS, 1, 5, {0}}}, H2_FRAME_SIZE_ERROR},
        {{{F_HEADERS, PRIORITY | END_HEADERS, 1, 6, {0, 0, 0, 1, 0, 0x82}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, PADDED, 1, 3, {3, 0x82, 0x86}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, END_HEADERS, 0, 1, {0x82}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, END_HEADERS, 2, 1, {0x82}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, END_HEADERS, 1, 1, {0x80}}}, H2_COMPRESSION_ERROR},
        {{{F_HEADERS, 0, 1, 1, {0x82}}, {F_CONTINUATION, END_HEADERS, 1, 1, {0xbe}}},
         H2_COMPRESSION_ERROR},
        {{{F_HEADERS, 0, 1, 1, {0x82}}, {F_CONTINUATION, END_HEADERS, 3, 1, {0x86}}},
         H2_PROTOCOL_ERROR},
        {{{F_HEADERS, 0, 1, 1, {0x82}}, {F_DATA, 0, 1, 1, {0}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, 0, 1, 1, {0x82}}, {F_HEADERS, END_HEADERS, 3, 1, {0x82}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, 0, 1, 1, {0x82}}, {F_PING, 0, 0, 8, {0}}}, H2_PROTOCOL_ERROR},
        {{{F_HEADERS, 0, 1, 1, {0x82}}, {0x20, 0, 0, 1, {0}}}, H2_PROTOCOL_ERROR},
        {{{F_CONTINUATION, END_HEADERS, 1, 1, {0x82}}}, H2_PROTOCOL_ERROR},
        {{{5, END_HEADERS, 1, 5, {0, 0, 0, 2, 0x82}}}, H2_PROTOCOL_ERROR}, /* PUSH_PROMISE */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer s;
        struct raw r;
        server_begin(&s, &r, NULL);
        for (size_t k = 0; k < 2 && (k == 0 || cases[i].frames[k].n > 0); k++)
            raw_frame(&r, cases[i].frames[k].type, cases[i].frames[k].flags, cases[i].frames[k].id,
                      cases[i].frames[k].p, cases[i].frames[k].n);
        raw_frame(&r, F_HEADERS, END_STREAM | END_HEADERS, 5, get, sizeof(get));
        (void)raw_feed(&r, &s);
        assert_int_equal(peer_pull(&s), 0);
        if (goaway_of(&s) != cases[i].code)
            print_error("case %zu\n", i);
        assert_int_equal(goaway_of(&s), cases[i].code);
        for (uint32_t k = 0; k < s.n; k++)
            assert_int_equal(s.streams[k]->heads, 0);
        server_end(&s, &r);
    }
    struct peer s;
    struct raw r;
    static uint8_t large[16385];
    server_begin(&s, &r, NULL);
    raw_frame(&r, F_HEADERS, END_HEADERS, 1, large, sizeof(large));
    (void)raw_feed(&r, &s);
    assert_int_equal(peer_pull(&s), 0);
    assert_int_equal(goaway_of(&s), H2_FRAME_SIZE_ERROR);
    server_end(&s, &r);
}

/* What is refused or ignored has its place in the table all the same. */
static void test_table_of_what_is_refused(UNUSED void **state)
{
    static const char first[] = "\x82\x86\x84\x41\x01"
                                "a\x40\x03"
                                "x-a\x01"
                                "1";
    struct peer s;
    struct raw r;
    server_begin(&s, &r, NULL);
    s.refuse_from = 1;
    raw_frame(&r, F_HEADERS, END_STREAM | END_HEADERS, 1, "\x82\x86\x84\x41\x01z", 6);
    raw_frame(&r, F_HEADERS, END_STREAM | END_HEADERS, 3, first, sizeof(first) - 1);
    assert_int_equal(raw_feed(&r, &s), 0);
    s.refuse_from = 0;
    raw_frame(&r, F_HEADERS, END_STREAM | END_HEADERS, 5, "\x82\x86\x84\xbf\xbe", 5);
    assert_int_equal(raw_feed(&r, &s), 0);
    assert_int_equal(peer_pull(&s), 0);
    assert_int_equal(rst_of(&s, 3), H2_REFUSED_STREAM);
    assert_int_equal(s.n, 2);
    assert_true(field_is(&s.streams[1]->head, "x-a", "1"));
    assert_true(str_eq(message_str(&s.streams[1]->head, s.streams[1]->head.authority), STR("a")));
    server_end(&s, &r);
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

/* --- the rest --- */

/* A head that cannot be written ends its stream: nobody waits for it. */
static void test_head_too_large_to_write(UNUSED void **state)
{
    enum { MUCH = 5 << 20 };
    static char value[MUCH + 1];
    struct pair p;
    struct message m;
    pair_begin(&p, NULL);
    struct told *c = ask(&p, "GET", BODY_NONE, 0, true);
    talk(&p);
    struct told *s = p.server.streams[0];
    memset(value, '~', MUCH);
    make_response(&m, 200, BODY_NONE, 0);
    add_field(&m, "a", value);
    assert_int_equal(h2_respond(&s->st, &m, true), 0);
    message_free(&m);
    talk(&p);
    assert_true(c->closes == 1 && c->code == H2_INTERNAL_ERROR && c->heads == 0);
    assert_int_equal(s->closes, 1);
    assert_int_equal(p.server.h2.failure_why, REASON_NONE);
    pair_end(&p);
}

static void test_free_with_open_streams(UNUSED void **state)
{
    struct pair p;
    pair_begin(&p, NULL);
    for (int i = 0; i < 5; i++) {
        struct told *c = ask(&p, "POST", BODY_CHUNKED, 0, false);
        say(c, "abc");
    }
    talk(&p);
    say(p.client.streams[2], "waits");
    answer(p.server.streams[1], 200, BODY_CHUNKED, 0, false);
    say(p.server.streams[1], "waits");
    h2_leave(&p.server.streams[3]->st);
    h2_reset(&p.client.streams[4]->st, H2_CANCEL);
    pair_end(&p); /* checks that each stream is let go of */
}

/* A byte that stands for 4,000: what they come to may not be a few times what has come in, and a
 * server is fed no more until its owner has passed some of them on. Heads are never cut for it. */
static void test_crowded(UNUSED void **state)
{
    enum { REQUESTS = 20, REFERENCES = 6 };
    static uint8_t block[8192];
    struct raw r = {0};
    struct peer s;
    uint64_t most = 0;
    assert_int_equal(peer_init(&s, H2_SERVER, NULL), 0);
    raw_begin(&r);
    size_t plain = hpack_block(block, RAW_GET), n = plain;
    block[n++] = 0x40; /* goes into the table (RFC 7541 §6.2.1) */
    block[n++] = 1;
    block[n++] = 'x';
    n += hpack_len(block + n, 3900);
    memset(block + n, 'v', 3900);
    n += 3900;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        memset(block + n, 0x80 | 62, REFERENCES);
        raw_frame(&r, F_HEADERS, 0x5, 2 * i + 1, block, n + REFERENCES);
        n = plain;
    }
    assert_int_equal(raw_feed(&r, &s), 0);
    most = s.h2.head_bytes;
    assert_true(s.crowded >= REQUESTS / 3 && s.crowded < REQUESTS);
    assert_true(most < 3 * (uint64_t)s.h2.settings.max_field_bytes);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        assert_int_equal(s.streams[i]->heads, 1);
        assert_int_equal(s.streams[i]->head.n_fields, REFERENCES + (i == 0));
        h2_reset(&s.streams[i]->st, H2_CANCEL);
    }
    assert_true(s.h2.head_bytes == 0 && !h2_crowded(&s.h2));
    raw_free(&r);
    peer_free(&s);
}

static void test_wrong_preface(UNUSED void **state)
{
    struct peer s;
    assert_int_equal(peer_init(&s, H2_SERVER, NULL), 0);
    assert_int_equal(peer_feed(&s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", 24), -EPROTO);
    assert_int_equal(peer_feed(&s, "x", 1), -EPROTO);
    assert_int_equal(peer_pull(&s), 0);
    assert_true(h2_done(&s.h2));
    peer_free(&s);
}

static int small_exchange(struct pair *p)
{
    struct message m;
    int rc = peers_talk(&p->client, &p->server, 0);
    struct told *c = peer_new_stream(&p->client, false);
    make_request(&m, "POST", "/a?b", BODY_CHUNKED, 0);
    add_field(&m, "cookie", "a=b");
    if (rc == 0)
        rc = h2_request(&p->client.h2, &c->st, &m, STR("http"), false);
    if (rc == 0)
        rc = h2_send(&c->st, "abc", 3);
    if (rc == 0)
        rc = h2_send_end(&c->st, &m);
    message_free(&m);
    if (rc == 0)
        rc = peers_talk(&p->client, &p->server, 7);
    if (rc != 0 || p->server.n == 0 || !p->server.streams[0]->st.h2)
        return rc != 0 ? rc : -ENOMEM;
    struct told *s = p->server.streams[0];
    make_response(&m, 103, BODY_CHUNKED, 0);
    add_field(&m, "x", "y");
    rc = h2_interim(&s->st, &m);
    m.status = 200;
    if (rc == 0)
        rc = h2_respond(&s->st, &m, false);
    if (rc == 0)
        rc = h2_send(&s->st, "abc", 3);
    if (rc == 0)
        rc = h2_send_end(&s->st, &m);
    message_free(&m);
    return rc == 0 ? peers_talk(&p->client, &p->server, 0) : rc;
}

/* Each allocation once: nothing leaks, nothing is used that is not there, and what went through
 * went through whole. */
static void test_memory_is_short(UNUSED void **state)
{
    uint64_t nth = 1, failures;
    do {
        struct pair p;
        failures = mem_failures();
        mem_fail_at(nth++, false);
        int rc = peer_init(&p.client, H2_CLIENT, NULL);
        int rc2 = peer_init(&p.server, H2_SERVER, NULL);
        int rc3 = rc == 0 && rc2 == 0 ? small_exchange(&p) : -ENOMEM;
        mem_fail_at(0, false);
        failures = mem_failures() - failures;
        if (failures == 0) {
            assert_int_equal(rc3, 0);
            assert_over(p.client.streams[0]);
            assert_body(p.client.streams[0], "abc");
        }
        pair_end(&p);
        assert_true(nth < 1000);
    } while (failures > 0);
    assert_true(nth > 30); /* nghttp2's are among them */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_body_kinds),
        cmocka_unit_test(test_target_in_pieces),
        cmocka_unit_test(test_head_method),
        cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_never_indexed),
        cmocka_unit_test(test_authority),
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_underscores_that_mean_nothing),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_behind_a_bad_head),
        cmocka_unit_test(test_bad_responses),
        cmocka_unit_test(test_uncredited_stalls_alone),
        cmocka_unit_test(test_windows_of_dropped_streams),
        cmocka_unit_test(test_blocked_and_writable),
        cmocka_unit_test(test_take_back),
        cmocka_unit_test(test_leave),
        cmocka_unit_test(test_leave_is_no_abuse),
        cmocka_unit_test(test_left_is_not_writable),
        cmocka_unit_test(test_reset_at_every_point),
        cmocka_unit_test(test_data_behind_our_reset),
        cmocka_unit_test(test_too_many_before_settings),
        cmocka_unit_test(test_mistakes_about_closed_streams),
        cmocka_unit_test(test_goaway),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_websocket),
        cmocka_unit_test(test_no_empty_data_before_trailers),
        cmocka_unit_test(test_empty_data),
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_answers_that_nobody_reads),
        cmocka_unit_test(test_header_flood),
        cmocka_unit_test(test_blocks_in_pieces),
        cmocka_unit_test(test_block_begins_a_stream),
        cmocka_unit_test(test_wrong_blocks),
        cmocka_unit_test(test_table_of_what_is_refused),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_wrong_trailers),
        cmocka_unit_test(test_head_too_large_to_write),
        cmocka_unit_test(test_free_with_open_streams),
        cmocka_unit_test(test_crowded),
        cmocka_unit_test(test_wrong_preface),
        cmocka_unit_test(test_memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
