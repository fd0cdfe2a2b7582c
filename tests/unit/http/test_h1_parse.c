/* test_h1_parse.c - requests: what is read, what is refused, and that no cut changes it. */
#include "feed.h"

#include "base/mem.h"

static struct message m;
static struct reading got;
static const struct h1_limits limits = {8192, 32768, 100};

static void request_with(const struct h1_limits *l, const char *in, size_t n)
{
    read_every_way(&m, true, METHOD_OTHER, l, in, n, &got);
}

#define REQUEST(literal) request_with(&limits, (literal), sizeof(literal) - 1)

#define REFUSED(why, literal)                                                                      \
    do {                                                                                           \
        REQUEST(literal);                                                                          \
        assert_int_equal(got.result, H1_ERROR);                                                    \
        assert_string_equal(reason_word(got.reason), reason_word(REASON_##why));                   \
        message_free(&m);                                                                          \
    } while (0)

#define ACCEPTED(literal)                                                                          \
    do {                                                                                           \
        REQUEST(literal);                                                                          \
        assert_string_equal(got.detail, "");                                                       \
        assert_int_equal(got.result, H1_DONE);                                                     \
    } while (0)

#define IS(text, literal) assert_true(str_eq(message_str(&m, text), STR(literal)))
#define GET               "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST              "POST / HTTP/1.1\r\nHost: a\r\n"

static void usual_request(void **state)
{
    (void)state;
    ACCEPTED("GET /a/b?c=d&e HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent:curl/7.88.1\r\n"
             "Accept: \t */* \t\r\nX-Empty:\r\nX-Obs: caf\xc3\xa9\ttab\r\n\r\nNEXT");
    assert_int_equal(m.method, METHOD_GET);
    IS(m.method_text, "GET");
    IS(m.path, "/a/b");
    IS(m.query, "c=d&e");
    assert_true(m.has_query);
    IS(m.authority, "shop.example:8080");
    assert_int_equal(m.version_minor, 1);
    assert_int_equal(m.body, BODY_NONE);
    assert_false(m.connection_close);
    assert_int_equal(m.n_fields, 5);
    assert_int_equal(m.fields[0].id, FIELD_HOST);
    assert_int_equal(m.fields[1].id, FIELD_USER_AGENT);
    assert_true(str_eq(field_value(&m, &m.fields[2]), STR("*/*")));
    assert_true(str_eq(field_value(&m, &m.fields[3]), STR("")));
    assert_true(str_eq(field_value(&m, &m.fields[4]), STR("caf\xc3\xa9\ttab")));
    assert_int_equal(got.taken + 4, strlen("GET /a/b?c=d&e HTTP/1.1\r\nHost: shop.example:8080\r\n"
                                           "User-Agent:curl/7.88.1\r\nAccept: \t */* \t\r\n"
                                           "X-Empty:\r\nX-Obs: caf\xc3\xa9\ttab\r\n\r\nNEXT"));
    message_free(&m);
}

static void methods(void **state)
{
    static const struct {
        const char *name;
        enum http_method id;
    } all[] = {
        {"GET", METHOD_GET},
        {"HEAD", METHOD_HEAD},
        {"POST", METHOD_POST},
        {"PUT", METHOD_PUT},
        {"DELETE", METHOD_DELETE},
        {"PATCH", METHOD_PATCH},
        {"OPTIONS", METHOD_OPTIONS},
        {"get", METHOD_OTHER},
        {"PROPFIND", METHOD_OTHER},
        {"M-SEARCH", METHOD_OTHER},
        {"X!#$%&'*+-.^_`|~9", METHOD_OTHER},
        {"12345678901234567890123456789012", METHOD_OTHER},
    };
    char text[128];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        int n = snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: a\r\n\r\n", all[i].name);
        request_with(&limits, text, (size_t)n);
        assert_int_equal(got.result, H1_DONE);
        assert_int_equal(m.method, all[i].id);
        message_free(&m);
    }
    REFUSED(BAD_REQUEST, "123456789012345678901234567890123 / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, " GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void what_is_not_http_is_seen_at_its_first_byte(void **state)
{
    static const char hello[] = "\x16\x03\x01", other[] = "\x7f", space[] = " ";
    const char *all[] = {hello, other, space, ":", "(", "\r\r", "\n", "\r\n\r"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        read_pieces(&m, true, METHOD_OTHER, &limits, all[i], strlen(all[i]), 1, 1, &got);
        assert_int_equal(got.result, H1_ERROR);
        assert_int_equal(got.reason, REASON_BAD_REQUEST);
        message_free(&m);
    }
}

static void one_empty_line_before_a_request_is_forgiven(void **state)
{
    struct h1_head h;
    size_t taken;
    (void)state;
    ACCEPTED("\r\n" GET "\r\n");
    message_free(&m);
    REFUSED(BAD_REQUEST, "\r\n\r\n" GET "\r\n");
    REFUSED(BAD_REQUEST, "\n" GET "\r\n");
    message_init(&m, true);
    h1_head_init(&h, &limits, METHOD_OTHER);
    assert_int_equal(h1_head_feed(&h, &m, "\r\n", 2, &taken), H1_MORE);
    assert_false(h1_head_begun(&h, &m));
    assert_int_equal(h1_head_feed(&h, &m, "G", 1, &taken), H1_MORE);
    assert_true(h1_head_begun(&h, &m));
    message_free(&m);
}

static void input_01_length_and_coding_together(void **state)
{
    (void)state;
    REFUSED(BAD_REQUEST, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n");
}

static void input_02_differing_lengths(void **state)
{
    (void)state;
    REFUSED(BAD_REQUEST, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Content-Length: 5\r\nX: y\r\ncontent-length: 6\r\n\r\n");
}

static void input_03_repeated_length(void **state)
{
    (void)state;
    REFUSED(BAD_REQUEST, POST "Content-Length: 5, 5\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n");
}

static void input_04_lengths_that_are_no_numbers(void **state)
{
    static const char *const bad[] = {
        "+5", "-1",  "0x5", "",      "5 5", "18446744073709551616", "99999999999999999999999",
        "5a", "1e3", "5;",  "\"5\"", "5.0"};
    char text[256];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int n = snprintf(text, sizeof(text), POST "Content-Length: %s\r\n\r\n", bad[i]);
        request_with(&limits, text, (size_t)n);
        assert_int_equal(got.result, H1_ERROR);
        assert_int_equal(got.reason, REASON_BAD_REQUEST);
        message_free(&m);
    }
    ACCEPTED(POST "Content-Length: 18446744073709551615\r\n\r\n");
    assert_int_equal(m.body, BODY_LENGTH);
    assert_true(m.content_length == UINT64_MAX);
    message_free(&m);
    ACCEPTED(POST "Content-Length: 0\r\n\r\n");
    assert_int_equal(m.body, BODY_LENGTH);
    assert_int_equal(m.content_length, 0);
    message_free(&m);
}

static void input_05_transfer_codings(void **state)
{
    (void)state;
    ACCEPTED(POST "Transfer-Encoding: Chunked\r\n\r\n");
    assert_int_equal(m.body, BODY_CHUNKED);
    message_free(&m);
    REFUSED(CODING_NOT_IMPLEMENTED, POST "Transfer-Encoding: gzip\r\n\r\n");
    REFUSED(CODING_NOT_IMPLEMENTED, POST "Transfer-Encoding: gzip, chunked\r\n\r\n");
    REFUSED(CODING_NOT_IMPLEMENTED,
            POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSED(CODING_NOT_IMPLEMENTED, POST "Transfer-Encoding: gzip;level=9\r\n\r\n");
    REFUSED(CODING_NOT_IMPLEMENTED, POST "Transfer-Encoding: identity\r\n\r\n");
    REFUSED(CODING_NOT_IMPLEMENTED, POST "Transfer-Encoding: xchunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: chunked, gzip\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: chunked, chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding:\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: ,chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: chunked,\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: chunked;q=1\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: \"chunked\"\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: chunked chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: \x0b"
                              "chunked\r\n\r\n");
}

static void input_06_coding_in_http_1_0(void **state)
{
    (void)state;
    REFUSED(BAD_REQUEST, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, "POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n");
}

static void input_07_space_around_the_name_and_folding(void **state)
{
    (void)state;
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding : chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding\t: chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST " Transfer-Encoding: chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "\x0bTransfer-Encoding: chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding\x0b: chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding\0: chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: chunked\0\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Transfer-Encoding: chunked\x0c\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "X: a\r\n b\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "X: a\r\n\tb: c\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\n Host: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n");
}

static void input_08_underscore_doubles(void **state)
{
    (void)state;
    REFUSED(BAD_REQUEST, POST "Transfer_Encoding: chunked\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "content_length: 5\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "X_Forwarded_For: 127.0.0.1\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "X-Forwarded_Proto: https\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "X_FORWARDED-HOST: b\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "Proxy_Authorization: b\r\n\r\n");
    ACCEPTED(POST "X_Own: 1\r\n_: 2\r\n__cfduid_: 3\r\nsession_id_of_a_very_long_name_of_theirs: 4"
                  "\r\n\r\n");
    assert_int_equal(m.n_fields, 5);
    message_free(&m);
}

static void input_13_host(void **state)
{
    (void)state;
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost:\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.0\r\nHost: \r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: me@a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: :80\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: 2001:db8::1\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: [2001:db8::1\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: [::1]80\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: a%2\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\r\nHost: caf\xc3\xa9\r\n\r\n");
    ACCEPTED("GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n");
    IS(m.authority, "[2001:db8::1]:8080");
    message_free(&m);
    ACCEPTED("GET / HTTP/1.1\r\nHost: a_b-c.example%2E:\r\n\r\n");
    message_free(&m);
    ACCEPTED("GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(m.authority.len, 0);
    assert_true(m.connection_close);
    message_free(&m);
}

static void input_14_absolute_form(void **state)
{
    (void)state;
    REFUSED(BAD_REQUEST, "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET http://me@a/ HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET a/ HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET http://a/ HTTP/1.1\r\n\r\n");
    ACCEPTED("GET HTTP://A.example:80/p/q?r HTTP/1.1\r\nHost: a.Example:80\r\n\r\n");
    IS(m.path, "/p/q");
    IS(m.query, "r");
    IS(m.authority, "a.Example:80");
    message_free(&m);
    ACCEPTED("GET https://a HTTP/1.1\r\nHost: a\r\n\r\n");
    IS(m.path, "/");
    assert_false(m.has_query);
    message_free(&m);
    ACCEPTED("GET http://a?x/y HTTP/1.1\r\nHost: a\r\n\r\n");
    IS(m.path, "/");
    IS(m.query, "x/y");
    message_free(&m);
    ACCEPTED("GET http://a/x HTTP/1.0\r\n\r\n");
    IS(m.authority, "a");
    message_free(&m);
    ACCEPTED("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(m.asterisk);
    IS(m.path, "*");
    message_free(&m);
    ACCEPTED("OPTIONS http://a? HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_false(m.asterisk);
    IS(m.path, "/");
    message_free(&m);
}

static void asterisk_form(void **state)
{
    (void)state;
    ACCEPTED("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(m.asterisk);
    IS(m.path, "*");
    message_free(&m);
    REFUSED(BAD_REQUEST, "GET * HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "OPTIONS *? HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void input_15_control_bytes_in_a_value(void **state)
{
    char text[] = POST "X: a?b\r\n\r\n";
    char *at = strchr(text, '?');
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool allowed = c == '\t' || (c >= ' ' && c != 0x7f);
        *at = (char)c;
        request_with(&limits, text, sizeof(text) - 1);
        assert_int_equal(got.result, allowed ? H1_DONE : H1_ERROR);
        message_free(&m);
    }
    REFUSED(BAD_REQUEST, POST "X: a\rY: b\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "X: a\r\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "X: a\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.1\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "\n");
    REFUSED(BAD_REQUEST, POST "\rX: y\r\n\r\n");
}

static void input_16_names(void **state)
{
    char text[] = POST "X?Y: b\r\n\r\n";
    char *at = strchr(text, '?');
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool token = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c && strchr("!#$%&'*+-.^_`|~", c));
        *at = (char)c;
        request_with(&limits, text, sizeof(text) - 1);
        assert_int_equal(got.result, token || c == ':' ? H1_DONE : H1_ERROR);
        message_free(&m);
    }
    REFUSED(BAD_REQUEST, POST "no colon here\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "nocolon\r\n\r\n");
    REFUSED(BAD_REQUEST, POST ": empty\r\n\r\n");
    REFUSED(BAD_REQUEST, POST "(x): y\r\n\r\n");
}

static void input_17_bytes_of_the_target(void **state)
{
    char text[] = "GET /a@b HTTP/1.1\r\nHost: a\r\n\r\n";
    char query[] = "GET /?a@b HTTP/1.1\r\nHost: a\r\n\r\n";
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool allowed = c > ' ' && c < 0x7f && c != '#';
        text[6] = query[7] = (char)c;
        request_with(&limits, text, sizeof(text) - 1);
        assert_int_equal(got.result, allowed ? H1_DONE : H1_ERROR);
        message_free(&m);
        request_with(&limits, query, sizeof(query) - 1);
        assert_int_equal(got.result, allowed ? H1_DONE : H1_ERROR);
        message_free(&m);
    }
}

static void input_19_versions(void **state)
{
    (void)state;
    REFUSED(BAD_REQUEST, "GET /\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/0.9\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.10\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.2\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/1.\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/11\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / http/1.1\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / HTTP/20.0\r\nHost: a\r\n\r\n");
    REFUSED(BAD_REQUEST, "GET / ICY/1.1\r\nHost: a\r\n\r\n");
    REFUSED(VERSION_NOT_SUPPORTED, "GET / HTTP/2.0\r\nHost: a\r\n\r\n");
    REFUSED(VERSION_NOT_SUPPORTED, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

static void input_20_limits(void **state)
{
    static char text[40000];
    static const struct h1_limits small = {64, 100, 4};
    (void)state;
    int n = snprintf(text, sizeof(text), "GET /%08000d HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    request_with(&limits, text, (size_t)n);
    assert_int_equal(got.result, H1_DONE);
    message_free(&m);
    n = snprintf(text, sizeof(text), "GET /%08200d HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    request_with(&limits, text, (size_t)n);
    assert_int_equal(got.reason, REASON_TARGET_TOO_LONG);
    message_free(&m);
    n = snprintf(text, sizeof(text), POST "X: %032740d\r\n\r\n", 1);
    request_with(&limits, text, (size_t)n);
    assert_int_equal(got.result, H1_DONE);
    message_free(&m);
    n = snprintf(text, sizeof(text), POST "X: %032760d\r\n\r\n", 1);
    request_with(&limits, text, (size_t)n);
    assert_int_equal(got.reason, REASON_HEADERS_TOO_LARGE);
    message_free(&m);
    /* At a limit and one above it; and what is both malformed and too large is too large. */
    for (int extra = -3; extra <= 3; extra++) {
        n = snprintf(text, sizeof(text), "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", 50 + extra, 1);
        request_with(&small, text, (size_t)n);
        assert_int_equal(got.reason, extra > 0 ? REASON_TARGET_TOO_LONG : REASON_NONE);
        message_free(&m);
        n = snprintf(text, sizeof(text), POST "X: %0*d\r\n\r\n", 88 + extra, 1);
        request_with(&small, text, (size_t)n);
        assert_int_equal(got.reason, extra > 0 ? REASON_HEADERS_TOO_LARGE : REASON_NONE);
        message_free(&m);
        n = snprintf(text, sizeof(text), POST "X : %0*d\r\n\r\n", 87 + extra, 1);
        request_with(&small, text, (size_t)n);
        assert_int_equal(got.reason, extra > 0 ? REASON_HEADERS_TOO_LARGE : REASON_BAD_REQUEST);
        message_free(&m);
    }
    request_with(&small, POST "A: 1\r\nB: 2\r\nC: 3\r\n\r\n", strlen(POST) + 20);
    assert_int_equal(got.result, H1_DONE);
    message_free(&m);
    request_with(&small, POST "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n", strlen(POST) + 26);
    assert_int_equal(got.reason, REASON_HEADERS_TOO_LARGE);
    message_free(&m);
    /* Without an end of line in sight, too. */
    memset(text, 'a', sizeof(text));
    request_with(&limits, text, sizeof(text));
    assert_int_equal(got.reason, REASON_TARGET_TOO_LONG);
    message_free(&m);
}

static void input_21_methods_that_are_not_served(void **state)
{
    (void)state;
    REFUSED(METHOD_NOT_ALLOWED, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED(METHOD_NOT_ALLOWED, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
}

static void input_22_expect(void **state)
{
    (void)state;
    REFUSED(EXPECTATION_FAILED, POST "Expect: 200-maybe\r\n\r\n");
    REFUSED(EXPECTATION_FAILED, POST "Expect:\r\n\r\n");
    REFUSED(EXPECTATION_FAILED, POST "Expect: 100-continue, x\r\n\r\n");
    ACCEPTED(POST "Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n");
    assert_true(m.expect_continue);
    message_free(&m);
    ACCEPTED("POST / HTTP/1.0\r\nExpect: nonsense\r\n\r\n");
    assert_false(m.expect_continue);
    message_free(&m);
}

static void connection_options(void **state)
{
    (void)state;
    ACCEPTED(GET "Connection: Keep-Alive\r\n\r\n");
    assert_false(m.connection_close);
    assert_false(m.connection_named);
    message_free(&m);
    ACCEPTED(GET "Connection: , upgrade ,\tCLOSE\r\nTE: gzip, Trailers\r\n\r\n");
    assert_true(m.connection_close);
    assert_true(m.connection_upgrade);
    assert_false(m.connection_named);
    assert_true(m.te_trailers);
    message_free(&m);
    ACCEPTED(GET "Connection: keep-alive\r\nConnection: X-Foo\r\n\r\n");
    assert_true(m.connection_named);
    message_free(&m);
    ACCEPTED("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_false(m.connection_close);
    message_free(&m);
}

static void memory_short(void **state)
{
    static char text[20000];
    int n = snprintf(text, sizeof(text), POST "X: %06000d\r\n", 1);
    (void)state;
    for (int i = 0; i < 60; i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "X%d: y\r\n", i);
    n += snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
    bool done = false;
    for (uint64_t nth = 1; !done; nth++) {
        mem_fail_at(nth, false);
        read_pieces(&m, true, METHOD_OTHER, &limits, text, (size_t)n, 700, 700, &got);
        mem_fail_at(0, false);
        done = got.result == H1_DONE;
        if (!done)
            assert_int_equal(got.reason, REASON_OUT_OF_MEMORY);
        message_free(&m);
        assert_true(nth < 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_request),
        cmocka_unit_test(methods),
        cmocka_unit_test(what_is_not_http_is_seen_at_its_first_byte),
        cmocka_unit_test(one_empty_line_before_a_request_is_forgiven),
        cmocka_unit_test(input_01_length_and_coding_together),
        cmocka_unit_test(input_02_differing_lengths),
        cmocka_unit_test(input_03_repeated_length),
        cmocka_unit_test(input_04_lengths_that_are_no_numbers),
        cmocka_unit_test(input_05_transfer_codings),
        cmocka_unit_test(input_06_coding_in_http_1_0),
        cmocka_unit_test(input_07_space_around_the_name_and_folding),
        cmocka_unit_test(input_08_underscore_doubles),
        cmocka_unit_test(input_13_host),
        cmocka_unit_test(input_14_absolute_form),
        cmocka_unit_test(asterisk_form),
        cmocka_unit_test(input_15_control_bytes_in_a_value),
        cmocka_unit_test(input_16_names),
        cmocka_unit_test(input_17_bytes_of_the_target),
        cmocka_unit_test(input_19_versions),
        cmocka_unit_test(input_20_limits),
        cmocka_unit_test(input_21_methods_that_are_not_served),
        cmocka_unit_test(input_22_expect),
        cmocka_unit_test(connection_options),
        cmocka_unit_test(memory_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
