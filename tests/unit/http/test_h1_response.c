/* test_h1_response.c - responses: what an upstream may say, and what a hostile one may not. */
#include "feed.h"

static struct message m;
static struct reading got;
static const struct h1_limits limits = {8192, 32768, 100};

static void response_to(enum http_method method, const char *in, size_t n)
{
    read_every_way(&m, false, method, &limits, in, n, &got);
}

#define RESPONSE(method, literal) response_to(METHOD_##method, (literal), sizeof(literal) - 1)

#define REFUSED(literal)                                                                           \
    do {                                                                                           \
        RESPONSE(GET, literal);                                                                    \
        assert_int_equal(got.result, H1_ERROR);                                                    \
        assert_int_equal(got.reason, REASON_UPSTREAM_PROTOCOL);                                    \
        message_free(&m);                                                                          \
    } while (0)

#define BODY_IS(kind, method, literal)                                                             \
    do {                                                                                           \
        RESPONSE(method, literal);                                                                 \
        assert_string_equal(got.detail, "");                                                       \
        assert_int_equal(got.result, H1_DONE);                                                     \
        assert_int_equal(m.body, kind);                                                            \
        message_free(&m);                                                                          \
    } while (0)

#define OK_LINE "HTTP/1.1 200 OK\r\n"

static void usual_response(void **state)
{
    (void)state;
    RESPONSE(GET, OK_LINE "Content-Length: 12\r\nContent-Type: text/plain\r\n\r\nhello, world");
    assert_int_equal(got.result, H1_DONE);
    assert_int_equal(m.status, 200);
    assert_true(str_eq(message_str(&m, m.reason), STR("OK")));
    assert_int_equal(m.body, BODY_LENGTH);
    assert_int_equal(m.content_length, 12);
    assert_int_equal(m.n_fields, 2);
    assert_false(m.connection_close);
    message_free(&m);
}

static void phrases(void **state)
{
    (void)state;
    BODY_IS(BODY_CLOSE, GET, "HTTP/1.1 200 \r\n\r\n");
    BODY_IS(BODY_CLOSE, GET, "HTTP/1.1 200\r\n\r\n");
    BODY_IS(BODY_CLOSE, GET, "HTTP/1.0 299 d\xc3\xa9j\xc3\xa0 vu\t!\r\n\r\n");
    BODY_IS(BODY_CLOSE, GET, "HTTP/1.1 999 X\r\n\r\n");
}

static void which_body(void **state)
{
    (void)state;
    BODY_IS(BODY_NONE, HEAD, OK_LINE "Content-Length: 12\r\n\r\n");
    BODY_IS(BODY_NONE, HEAD, OK_LINE "Transfer-Encoding: chunked\r\n\r\n");
    BODY_IS(BODY_NONE, HEAD, OK_LINE "\r\n");
    BODY_IS(BODY_NONE, GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n");
    BODY_IS(BODY_NONE, GET, "HTTP/1.1 204 No Content\r\n\r\n");
    BODY_IS(BODY_NONE, GET, "HTTP/1.1 100 Continue\r\n\r\n");
    BODY_IS(BODY_NONE, GET, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n");
    BODY_IS(BODY_CHUNKED, GET, OK_LINE "Transfer-Encoding: chunked\r\n\r\n");
    BODY_IS(BODY_CLOSE, GET, OK_LINE "\r\n");
    BODY_IS(BODY_LENGTH, GET, OK_LINE "Content-Length: 0\r\n\r\n");
    RESPONSE(HEAD, OK_LINE "Content-Length: 12\r\n\r\n");
    assert_int_equal(m.content_length, 12);
    message_free(&m);
    RESPONSE(GET, "HTTP/1.1 204 No Content\r\nContent-Length: 12\r\n\r\n");
    assert_int_equal(m.body, BODY_NONE);
    assert_int_equal(m.content_length, 0);
    message_free(&m);
}

static void connection_of_a_response(void **state)
{
    (void)state;
    RESPONSE(GET, "HTTP/1.0 200 OK\r\n\r\n");
    assert_true(m.connection_close);
    message_free(&m);
    RESPONSE(GET, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n");
    assert_false(m.connection_close);
    message_free(&m);
    RESPONSE(GET, OK_LINE "Connection: close\r\n\r\n");
    assert_true(m.connection_close);
    message_free(&m);
    RESPONSE(GET, "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_true(m.connection_upgrade);
    message_free(&m);
}

static void input_43_two_lengths(void **state)
{
    (void)state;
    REFUSED(OK_LINE "Content-Length: 1\r\nContent-Length: 2\r\n\r\n");
    REFUSED(OK_LINE "Content-Length: 1\r\nContent-Length: 1\r\n\r\n");
    REFUSED(OK_LINE "Content-Length: 1, 1\r\n\r\n");
    REFUSED(OK_LINE "Content-Length: -1\r\n\r\n");
    REFUSED(OK_LINE "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSED(OK_LINE "Transfer-Encoding: gzip\r\n\r\n");
    REFUSED(OK_LINE "Transfer-Encoding: chunked, chunked\r\n\r\n");
    REFUSED("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSED("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSED("HTTP/1.1 101 X\r\nTransfer-Encoding: chunked\r\n\r\n");
}

static void input_43_status_lines(void **state)
{
    (void)state;
    REFUSED("HTTP/1.1 20 OK\r\n\r\n");
    REFUSED("HTTP/1.1 2000 OK\r\n\r\n");
    REFUSED("HTTP/1.1 20x OK\r\n\r\n");
    REFUSED("HTTP/1.1 099 OK\r\n\r\n");
    REFUSED("HTTP/1.1 -10 OK\r\n\r\n");
    REFUSED("HTTP/1.1  200 OK\r\n\r\n");
    REFUSED("HTTP/1.1\t200 OK\r\n\r\n");
    REFUSED("HTTP/1.1\r\n\r\n");
    REFUSED("HTTP/1.2 200 OK\r\n\r\n");
    REFUSED("HTTP/2.0 200 OK\r\n\r\n");
    REFUSED("HTTP/0.9 200 OK\r\n\r\n");
    REFUSED("http/1.1 200 OK\r\n\r\n");
    REFUSED("HTTP/1.1 200 O\0K\r\n\r\n");
    REFUSED("HTTP/1.1 200 O\rK\r\n\r\n");
    REFUSED("HTTP/1.1 200 OK\n\n");
    REFUSED("\r\nHTTP/1.1 200 OK\r\n\r\n");
    REFUSED("ICY 200 OK\r\n\r\n");
    REFUSED("<html>");
}

static void input_43_splitting_and_bad_fields(void **state)
{
    (void)state;
    REFUSED(OK_LINE "X: a\rSet-Cookie: b\r\n\r\n");
    REFUSED(OK_LINE "X: a\nSet-Cookie: b\r\n\r\n");
    REFUSED(OK_LINE "X: a\r\n folded\r\n\r\n");
    REFUSED(OK_LINE "Content-Length : 1\r\n\r\n");
    REFUSED(OK_LINE "X: \0\r\n\r\n");
    REFUSED(OK_LINE "nocolon\r\n\r\n");
}

static void input_43_huge_fields(void **state)
{
    static char text[40000];
    (void)state;
    int n = snprintf(text, sizeof(text), OK_LINE "X: %033000d\r\n\r\n", 1);
    response_to(METHOD_GET, text, (size_t)n);
    assert_int_equal(got.reason, REASON_UPSTREAM_HEADERS_TOO_LARGE);
    message_free(&m);
    n = snprintf(text, sizeof(text), "HTTP/1.1 200 %09000d\r\n\r\n", 1);
    response_to(METHOD_GET, text, (size_t)n);
    assert_int_equal(got.reason, REASON_UPSTREAM_HEADERS_TOO_LARGE);
    message_free(&m);
    n = snprintf(text, sizeof(text), OK_LINE);
    for (int i = 0; i < 101; i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "X: y\r\n");
    n += snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
    response_to(METHOD_GET, text, (size_t)n);
    assert_int_equal(got.reason, REASON_UPSTREAM_HEADERS_TOO_LARGE);
    message_free(&m);
}

/* What a response may carry without its meaning anything to us. */
static void fields_of_requests_do_not_count(void **state)
{
    (void)state;
    BODY_IS(BODY_CLOSE, GET,
            OK_LINE "Host: a\r\nHost: b c\r\nExpect: what\r\nX_Request_Id: 1\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_response),
        cmocka_unit_test(phrases),
        cmocka_unit_test(which_body),
        cmocka_unit_test(connection_of_a_response),
        cmocka_unit_test(input_43_two_lengths),
        cmocka_unit_test(input_43_status_lines),
        cmocka_unit_test(input_43_splitting_and_bad_fields),
        cmocka_unit_test(input_43_huge_fields),
        cmocka_unit_test(fields_of_requests_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
