/* test_h2_messages.c - HTTP/2: messages from one codec to another, whatever memory there is. */
#include "h2_pair.h"

#include <errno.h>

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
        cmocka_unit_test(test_exchange),         cmocka_unit_test(test_body_kinds),
        cmocka_unit_test(test_target_in_pieces), cmocka_unit_test(test_head_method),
        cmocka_unit_test(test_websocket),        cmocka_unit_test(test_head_too_large_to_write),
        cmocka_unit_test(test_memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
