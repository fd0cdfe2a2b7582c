/* test_hop.c - what a message loses and gains at this hop. */
#include "feed.h"

#include "base/mem.h"
#include "http/hop.h"

#include <errno.h>

static const struct h1_limits limits = {8192, 32768, 100};
static struct message m;
static struct rng rng;

static struct hop_request usual(void)
{
    rng_init(&rng, 7);
    return (struct hop_request){
        .peer = STR("192.0.2.1"),
        .scheme = STR("http"),
        .via = STR("sluice"),
        .rng = &rng,
    };
}

static void parse(bool is_request, const char *fields)
{
    static char text[16384];
    struct h1_head h;
    size_t taken;
    int n =
        snprintf(text, sizeof(text), "%s%s\r\n",
                 is_request ? "GET /x HTTP/1.1\r\nHost: shop\r\n" : "HTTP/1.1 200 OK\r\n", fields);
    message_init(&m, is_request);
    h1_head_init(&h, &limits, METHOD_GET);
    assert_int_equal(h1_head_feed(&h, &m, text, (size_t)n, &taken), H1_DONE);
}

static void through(const char *fields, const struct hop_request *h)
{
    parse(true, fields);
    assert_int_equal(hop_request(&m, h), 0);
}

/* All fields of that name that are forwarded, joined by '|'; "-" when there is none. */
static const char *forwarded(const char *name)
{
    static char text[4096];
    size_t n = 0;
    (void)snprintf(text, sizeof(text), "-");
    for (unsigned i = 0; i < m.n_fields; i++) {
        const struct field *f = &m.fields[i];
        if (!f->dropped && str_ieq(field_name(&m, f), str_of(name)))
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s", n ? "|" : "",
                                  STR_FMT(field_value(&m, f)));
    }
    return text;
}

#define FORWARDED(name, value) assert_string_equal(forwarded(name), value)

static void what_is_added(void **state)
{
    struct hop_request h = usual();
    (void)state;
    through("Accept: */*\r\n", &h);
    FORWARDED("Accept", "*/*");
    FORWARDED("Host", "-");
    FORWARDED("Via", "1.1 sluice");
    FORWARDED("X-Forwarded-For", "192.0.2.1");
    FORWARDED("X-Forwarded-Proto", "http");
    FORWARDED("X-Forwarded-Host", "shop");
    FORWARDED("Forwarded", "-");
    const char *id = forwarded("X-Request-Id");
    assert_int_equal(strlen(id), 36);
    assert_int_equal(id[14], '4');
    assert_non_null(strchr("89ab", id[19]));
    assert_int_equal(strspn(id, "0123456789abcdef-"), 36);
    const char *trace = forwarded("traceparent");
    assert_int_equal(strlen(trace), 55);
    assert_memory_equal(trace, "00-", 3);
    assert_string_equal(trace + 52, "-01");
    struct str trace_id = hop_trace_id(&m);
    assert_int_equal(trace_id.n, 32);
    assert_memory_equal(trace_id.p, trace + 3, 32);
    message_free(&m);
    h.via = STR("");
    through("Via: 1.0 other\r\n", &h);
    FORWARDED("Via", "1.0 other");
    message_free(&m);
    h.via = STR("me");
    parse(true, "");
    m.version_minor = 0;
    m.authority.len = 0;
    assert_int_equal(hop_request(&m, &h), 0);
    FORWARDED("Via", "1.0 me");
    FORWARDED("X-Forwarded-Host", "-");
    message_free(&m);
}

static void hop_by_hop_fields_go(void **state)
{
    struct hop_request h = usual();
    (void)state;
    through(
        "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nTE: gzip\r\n"
        "Proxy-Authorization: x\r\nProxy-Authenticate: x\r\nTrailer: x\r\nUpgrade: websocket\r\n"
        "Content-Length: 0\r\nX-Own: 1\r\n",
        &h);
    static const char *const gone[] = {"Connection",
                                       "Keep-Alive",
                                       "Proxy-Connection",
                                       "TE",
                                       "Proxy-Authorization",
                                       "Proxy-Authenticate",
                                       "Trailer",
                                       "Upgrade",
                                       "Content-Length",
                                       "Host"};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        FORWARDED(gone[i], "-");
    FORWARDED("X-Own", "1");
    message_free(&m);
    through("Transfer-Encoding: chunked\r\nTrailer: x\r\nExpect: 100-continue\r\n", &h);
    FORWARDED("Transfer-Encoding", "-");
    FORWARDED("Trailer", "x");
    FORWARDED("Expect", "100-continue");
    message_free(&m);
    parse(true, "Upgrade: websocket\r\nConnection: upgrade\r\nExpect: 100-continue\r\n");
    m.version_minor = 0;
    h.keep_upgrade = true;
    assert_int_equal(hop_request(&m, &h), 0);
    FORWARDED("Upgrade", "-");
    FORWARDED("Expect", "-");
    message_free(&m);
}

static void input_25_upgrade(void **state)
{
    struct hop_request h = usual();
    (void)state;
    h.keep_upgrade = true;
    through("Connection: Upgrade\r\nUpgrade: websocket\r\n", &h);
    FORWARDED("Upgrade", "websocket");
    FORWARDED("Connection", "-");
    assert_true(m.connection_upgrade);
    message_free(&m);
    through("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n", &h);
    FORWARDED("Upgrade", "-");
    FORWARDED("HTTP2-Settings", "-");
    assert_false(m.connection_upgrade);
    message_free(&m);
    through("Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n", &h);
    FORWARDED("Upgrade", "-");
    message_free(&m);
    through("Upgrade: websocket\r\n", &h);
    FORWARDED("Upgrade", "-");
    message_free(&m);
    h.keep_upgrade = false;
    through("Connection: Upgrade\r\nUpgrade: websocket\r\n", &h);
    FORWARDED("Upgrade", "-");
    assert_false(m.connection_upgrade);
    message_free(&m);
}

static void input_27_connection_names_fields(void **state)
{
    struct hop_request h = usual();
    (void)state;
    through("Connection: X-Forwarded-For, x-own, close\r\nX-Own: 1\r\nX-Other: 2\r\n"
            "X-Forwarded-For: 10.0.0.1\r\nclose: 3\r\n",
            &h);
    FORWARDED("X-Own", "-");
    FORWARDED("X-Other", "2");
    FORWARDED("close", "3");
    FORWARDED("X-Forwarded-For", "192.0.2.1");
    message_free(&m);
    h.peer_trusted = true;
    through("Connection: X-Forwarded-For, traceparent, Via, X-Request-Id, X-Forwarded-Proto\r\n"
            "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Request-Id: 1\r\n",
            &h);
    FORWARDED("X-Forwarded-For", "192.0.2.1");
    FORWARDED("X-Forwarded-Proto", "http");
    FORWARDED("Via", "1.1 sluice");
    assert_int_equal(strlen(forwarded("X-Request-Id")), 36);
    assert_int_equal(strlen(forwarded("traceparent")), 55);
    message_free(&m);
    through("Connection: Host, Content-Length\r\nContent-Length: 5\r\n", &h);
    assert_int_equal(m.authority.len, 4);
    assert_int_equal(m.body, BODY_LENGTH);
    assert_int_equal(m.content_length, 5);
    message_free(&m);
}

static void input_28_spoofed_forwarding_fields(void **state)
{
    struct hop_request h = usual();
    static const char spoofed[] =
        "X-Forwarded-For: 10.0.0.1\r\nx-forwarded-for: 10.0.0.2\r\nX-Forwarded-Proto: https\r\n"
        "X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nX-FORWARDED-PREFIX: /admin\r\n"
        "X-Real-IP: 10.0.0.3\r\nForwarded: for=10.0.0.4\r\nX-Request-Id: mine\r\n";
    (void)state;
    through(spoofed, &h);
    FORWARDED("X-Forwarded-For", "192.0.2.1");
    FORWARDED("X-Forwarded-Proto", "http");
    FORWARDED("X-Forwarded-Host", "shop");
    FORWARDED("X-Forwarded-Port", "-");
    FORWARDED("X-Forwarded-Prefix", "-");
    FORWARDED("X-Real-IP", "-");
    FORWARDED("Forwarded", "-");
    assert_int_equal(strlen(forwarded("X-Request-Id")), 36);
    message_free(&m);
    h.peer_trusted = true;
    through(spoofed, &h);
    FORWARDED("X-Forwarded-For", "10.0.0.1, 10.0.0.2, 192.0.2.1");
    FORWARDED("X-Forwarded-Proto", "https");
    FORWARDED("X-Forwarded-Host", "evil");
    FORWARDED("X-Forwarded-Port", "1");
    FORWARDED("X-Real-IP", "10.0.0.3");
    FORWARDED("Forwarded", "for=10.0.0.4|for=192.0.2.1;proto=http");
    FORWARDED("X-Request-Id", "mine");
    message_free(&m);
    h.peer = STR("2001:db8::1");
    through("Forwarded: for=a\r\nX-Forwarded-For: \r\nX-Request-Id:\r\n", &h);
    FORWARDED("Forwarded", "for=a|for=\"[2001:db8::1]\";proto=http");
    FORWARDED("X-Forwarded-For", "2001:db8::1");
    assert_int_equal(strlen(forwarded("X-Request-Id")), 36);
    message_free(&m);
    h.peer = STR("unix");
    through("Forwarded: for=a\r\n", &h);
    FORWARDED("Forwarded", "for=a|for=unknown;proto=http");
    message_free(&m);
}

static void trace_context(void **state)
{
    static const char *const bad[] = {
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "",
        "x",
    };
    static const char *const good[] = {
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
    };
    struct hop_request h = usual();
    char fields[512];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        (void)snprintf(fields, sizeof(fields), "tracestate: a=b\r\ntraceparent: %s\r\n", bad[i]);
        through(fields, &h);
        assert_int_equal(strlen(forwarded("traceparent")), 55);
        assert_string_not_equal(forwarded("traceparent"), bad[i]);
        FORWARDED("tracestate", "-");
        message_free(&m);
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        (void)snprintf(fields, sizeof(fields), "Traceparent: %s\r\ntracestate: a=b\r\n", good[i]);
        through(fields, &h);
        FORWARDED("traceparent", good[i]);
        FORWARDED("tracestate", "a=b");
        assert_true(str_eq(hop_trace_id(&m), STR("4bf92f3577b34da6a3ce929d0e0e4736")));
        message_free(&m);
    }
    (void)snprintf(fields, sizeof(fields), "traceparent: %s\r\ntraceparent: %s\r\n", good[0],
                   good[0]);
    through(fields, &h);
    assert_int_equal(strlen(forwarded("traceparent")), 55);
    assert_string_not_equal(forwarded("traceparent"), good[0]);
    message_free(&m);
    message_init(&m, true);
    assert_int_equal(hop_trace_id(&m).n, 0);
    message_free(&m);
}

static void responses(void **state)
{
    (void)state;
    parse(false, "Connection: x-own, keep-alive\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\n"
                 "Proxy-Authenticate: b\r\nUpgrade: h2c\r\nTrailer: t\r\nContent-Length: 3\r\n"
                 "Set-Cookie: a\r\nSet-Cookie: b\r\nVia: 1.1 app\r\nX-Forwarded-For: kept\r\n");
    assert_int_equal(hop_response(&m, STR("sluice"), false), 0);
    static const char *const gone[] = {"Connection",         "X-Own",   "Keep-Alive",
                                       "Proxy-Authenticate", "Upgrade", "Trailer",
                                       "Content-Length"};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        FORWARDED(gone[i], "-");
    FORWARDED("Set-Cookie", "a|b");
    FORWARDED("Via", "1.1 app|1.1 sluice");
    FORWARDED("X-Forwarded-For", "kept");
    message_free(&m);
    parse(false, "Upgrade: websocket\r\nTransfer-Encoding: chunked\r\nTrailer: t\r\n");
    m.version_minor = 0;
    assert_int_equal(hop_response(&m, STR(""), true), 0);
    FORWARDED("Upgrade", "websocket");
    FORWARDED("Trailer", "t");
    FORWARDED("Via", "-");
    message_free(&m);
}

#define CLIENT(hops, address)                                                                      \
    assert_true(str_eq(hop_client_address(&m, STR("192.0.2.1"), hops), STR(address)))

static void client_address(void **state)
{
    struct hop_request h = usual();
    (void)state;
    h.peer_trusted = true;
    parse(true, "X-Forwarded-For: 1.1.1.1, ,2.2.2.2 \r\nX-Forwarded-For: 3.3.3.3,4.4.4.4,\r\n");
    for (int round = 0; round < 2; round++) {
        CLIENT(0, "192.0.2.1");
        CLIENT(1, "4.4.4.4");
        CLIENT(2, "3.3.3.3");
        CLIENT(3, "2.2.2.2");
        CLIENT(4, "1.1.1.1");
        CLIENT(5, "192.0.2.1");
        assert_int_equal(hop_request(&m, &h), 0);
    }
    message_free(&m);
    parse(true, "");
    CLIENT(1, "192.0.2.1");
    assert_int_equal(hop_request(&m, &h), 0);
    CLIENT(1, "192.0.2.1");
    CLIENT(2, "192.0.2.1");
    message_free(&m);
}

static void memory_short(void **state)
{
    static char fields[4096];
    struct hop_request h = usual();
    size_t n = 0;
    (void)state;
    for (int i = 0; i < 45; i++)
        n +=
            (size_t)snprintf(fields + n, sizeof(fields) - n, "X-Field-%d: some value of it\r\n", i);
    for (uint64_t nth = 1; nth < 5; nth++) {
        parse(true, fields);
        mem_fail_at(nth, false);
        int r = hop_request(&m, &h);
        mem_fail_at(0, false);
        assert_true(r == 0 || r == -ENOMEM);
        message_free(&m);
    }
    parse(true, fields);
    m.len = m.cap; /* full */
    mem_fail_at(1, false);
    assert_int_equal(hop_request(&m, &h), -ENOMEM);
    mem_fail_at(1, false);
    assert_int_equal(hop_response(&m, h.via, false), -ENOMEM);
    mem_fail_at(0, false);
    message_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added),
        cmocka_unit_test(hop_by_hop_fields_go),
        cmocka_unit_test(input_25_upgrade),
        cmocka_unit_test(input_27_connection_names_fields),
        cmocka_unit_test(input_28_spoofed_forwarding_fields),
        cmocka_unit_test(trace_context),
        cmocka_unit_test(responses),
        cmocka_unit_test(client_address),
        cmocka_unit_test(memory_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
