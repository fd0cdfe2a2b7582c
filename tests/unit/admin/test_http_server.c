/* test_http_server.c - what the control server answers to which bytes. */
#include "http_rig.h"

static void test_get(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    const char *a = ask(f, "GET /v1/hello HTTP/1.1\r\n" END);
    assert_int_equal(0, strncmp(a, "HTTP/1.1 200 OK\r\n", 17));
    assert_in(a, "Content-Length: 5\r\n");
    assert_in(a, "X-Test: yes\r\n");
    assert_in(a, "Cache-Control: no-store\r\n");
    assert_in(a, "Connection: close\r\n");
    assert_in(a, "\r\n\r\nhello");

    a = ask(f, "HEAD /v1/hello HTTP/1.1\r\n" END);
    assert_in(a, "Content-Length: 5\r\n");
    assert_string_equal(strstr(a, "\r\n\r\n"), "\r\n\r\n");

    a = ask(f, "GET /v1/x/%2e%2e/echo/a?name=%41+b HTTP/1.1\r\nX-Token: t\r\n" END);
    assert_in(a, "/v1/echo/a|A b||t");
    a = ask(f, "GET /nothing HTTP/1.1\r\n" END);
    assert_in(a, "HTTP/1.1 404 Not Found\r\n");
    assert_in(a, "Content-Type: application/problem+json\r\n");
    assert_in(a, "\"code\":\"not_found\"");
    a = ask(f, "POST /v1/hello HTTP/1.1\r\nContent-Length: 0\r\n" END);
    assert_in(a, "HTTP/1.1 405");
    assert_in(a, "Allow: GET, HEAD\r\n");
    a = ask(f, "GET /v1/change HTTP/1.1\r\n" END);
    assert_in(a, "Allow: POST, DELETE\r\n");
    /* HTTP/1.0: closes by itself */
    a = ask(f, "GET /v1/hello HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert_in(a, "hello");
    finish(f);
}

static void test_bodies(void **state)
{
    (void)state;
    struct http_server_options o = tcp_options;
    char out[4096];
    o.max_body = 8;
    struct fixture *f = start(o);
    assert_in(ask(f, "POST /v1/echo/ HTTP/1.1\r\nContent-Length: 8\r\n" END "12345678"),
              "|-|12345678|");
    assert_in(ask(f, "POST /v1/echo/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END
                     "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
              "|-|abcde|");
    assert_in(ask(f, "POST /v1/echo/ HTTP/1.1\r\nContent-Length: 9\r\n" END "123456789"),
              "HTTP/1.1 413");
    assert_in(ask(f, "POST /v1/echo/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" END
                     "9\r\n123456789\r\n0\r\n\r\n"),
              "HTTP/1.1 413");
    /* Of GET it is read and not looked at. */
    assert_in(ask(f, "GET /v1/echo/ HTTP/1.1\r\nContent-Length: 4\r\n" END "1234"), "|-||");
    assert_in(ask(f, "GET /v1/echo/ HTTP/1.1\r\nContent-Length: 40\r\n" END), "HTTP/1.1 413");

    int fd = client(f);
    put(fd, "POST /v1/echo/ HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" END);
    assert_true(get(f, fd, "HTTP/1.1 100 Continue\r\n\r\n", out, sizeof(out)));
    put(fd, "hi");
    assert_true(get(f, fd, NULL, out, sizeof(out)));
    assert_in(out, "|-|hi|");
    (void)close(fd);
    finish(f);
}

static void test_any_cut(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    const char *text = "POST /v1/echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
                       "GET /v1/hello HTTP/1.1\r\n" END;
    char out[4096];
    int fd = client(f);
    for (const char *p = text; *p; p++) {
        char one[2] = {*p, '\0'};
        put(fd, one);
        turn(f);
    }
    assert_true(get(f, fd, NULL, out, sizeof(out)));
    assert_in(out, "/v1/echo/x|-|abc|");
    assert_in(out, "hello");
    (void)close(fd);
    finish(f);
}

static void test_pipelined_in_order(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    char out[8192];
    int fd = client(f);
    put(fd, "GET /v1/hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
            "GET /v1/keep HTTP/1.1\r\nHost: localhost\r\n\r\n"
            "GET /v1/echo/z HTTP/1.1\r\n" END);
    wait_for_kept(f);
    assert_true(get(f, fd, "hello", out, sizeof(out)));
    assert_null(strstr(out, "/v1/echo/z"));
    struct http_request *req = f->kept;
    f->kept = NULL;
    http_reply_text(req, 200, "late");
    assert_true(get(f, fd, NULL, out, sizeof(out)));
    const char *late = strstr(out, "late");
    assert_non_null(late);
    assert_in(late, "/v1/echo/z");
    assert_int_equal(0, f->gone);
    (void)close(fd);

    /* Who sends all and half-closes gets all that can be answered at once. */
    fd = client(f);
    put(fd, "GET /v1/hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
            "GET /v1/echo/y HTTP/1.1\r\nHost: localhost\r\n\r\n");
    (void)shutdown(fd, SHUT_WR);
    assert_true(get(f, fd, NULL, out, sizeof(out)));
    assert_in(out, "hello");
    assert_in(out, "/v1/echo/y");
    (void)close(fd);
    finish(f);
}

static void test_bad_requests(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    /* Bytes stay unread behind each: the answer must come whole, not be cut by a reset. */
    static const char *const bad[] = {
        "GET /v1/hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /v1/hello HTTP/1.1\r\n\r\n",
        "GET /v1/hello HTTP/1.1\r\n\r\nmore",
        "POST /v1/echo/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"
        "\r\n0\r\n\r\n",
        "nonsense\r\n\r\n more and more and more",
        "GET /v1/%00 HTTP/1.1\r\n" END,
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char out[4096];
        int fd = client(f);
        put(fd, bad[i]);
        turn(f);
        put(fd, "and still more");
        (void)shutdown(fd, SHUT_WR);
        assert_true(get(f, fd, NULL, out, sizeof(out)));
        assert_in(out, "HTTP/1.1 400");
        assert_in(out, "Connection: close");
        assert_null(strstr(out, "hello"));
        (void)close(fd);
    }
    wait_for_connections(f, 0);
    finish(f);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct fixture *f = start(tcp_options);
    char out[4096];
    unsigned answered = 0;
    for (uint64_t nth = 1; nth <= 12; nth++) {
        int fd = client(f);
        mem_fail_at(nth, false);
        put(fd, "POST /v1/echo/m HTTP/1.1\r\nContent-Length: 2\r\n" END "hi");
        /* Answered, refused or closed; never worse. */
        (void)get(f, fd, NULL, out, sizeof(out));
        answered += strstr(out, "|-|hi|") != NULL;
        mem_fail_at(0, false);
        (void)close(fd);
        assert_in(ask(f, "GET /v1/hello HTTP/1.1\r\n" END), "hello");
    }
    assert_true(answered > 0);
    finish(f);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),          cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_any_cut),      cmocka_unit_test(test_pipelined_in_order),
        cmocka_unit_test(test_bad_requests), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
