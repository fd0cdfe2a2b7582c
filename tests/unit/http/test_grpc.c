/* test_grpc.c - gRPC's status, message and timeout. */
#include "http/grpc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOUR (3600 * USEC_PER_SEC)

static void test_content_type(void **state)
{
    (void)state;
    static const char *const yes[] = {"application/grpc", "application/grpc+proto",
                                      "Application/GRPC;charset=utf-8"};
    static const char *const no[] = {
        "",          "application/grp",  "application/grpc-web", "application/grpcx",
        "text/grpc", " application/grpc"};
    for (size_t i = 0; i < 3; i++)
        assert_true(grpc_is_content_type(str_of(yes[i])));
    for (size_t i = 0; i < 6; i++)
        assert_false(grpc_is_content_type(str_of(no[i])));
}

static void test_http(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        enum grpc_code code;
    } rows[] = {
        {400, GRPC_INTERNAL},      {401, GRPC_UNAUTHENTICATED}, {403, GRPC_PERMISSION_DENIED},
        {404, GRPC_UNIMPLEMENTED}, {429, GRPC_UNAVAILABLE},     {502, GRPC_UNAVAILABLE},
        {503, GRPC_UNAVAILABLE},   {504, GRPC_UNAVAILABLE},     {200, GRPC_UNKNOWN},
        {500, GRPC_UNKNOWN},       {0, GRPC_UNKNOWN},           {302, GRPC_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(grpc_code_of_http(rows[i].status), rows[i].code);
}

/* Those that are not listed break a protocol, or are the upstream's; none that sluice made is OK.
 */
static void test_reasons(void **state)
{
    (void)state;
    static const enum grpc_code expected[REASON_COUNT] = {
        [REASON_NONE] = GRPC_OK,
        [REASON_BAD_REQUEST] = GRPC_INTERNAL,
        [REASON_HEADERS_TOO_LARGE] = GRPC_RESOURCE_EXHAUSTED,
        [REASON_CLIENT_TIMEOUT] = GRPC_CANCELLED,
        [REASON_CLIENT_ABORT] = GRPC_CANCELLED,
        [REASON_JWT_MISSING] = GRPC_UNAUTHENTICATED,
        [REASON_JWT_INVALID] = GRPC_UNAUTHENTICATED,
        [REASON_JWT_EXPIRED] = GRPC_UNAUTHENTICATED,
        [REASON_FORBIDDEN] = GRPC_PERMISSION_DENIED,
        [REASON_NO_ROUTE] = GRPC_UNIMPLEMENTED,
        [REASON_CONNECTION_LIMIT] = GRPC_UNAVAILABLE,
        [REASON_REQUEST_LIMIT] = GRPC_UNAVAILABLE,
        [REASON_PENDING_OVERFLOW] = GRPC_UNAVAILABLE,
        [REASON_QUEUE_TIMEOUT] = GRPC_UNAVAILABLE,
        [REASON_NO_ENDPOINT] = GRPC_UNAVAILABLE,
        [REASON_DRAINING] = GRPC_UNAVAILABLE,
        [REASON_RATE_LIMITED] = GRPC_RESOURCE_EXHAUSTED,
        [REASON_OVERLOADED] = GRPC_UNAVAILABLE,
        [REASON_OUT_OF_MEMORY] = GRPC_RESOURCE_EXHAUSTED,
        [REASON_CONNECT_REFUSED] = GRPC_UNAVAILABLE,
        [REASON_CONNECT_FAILED] = GRPC_UNAVAILABLE,
        [REASON_CONNECT_TIMEOUT] = GRPC_UNAVAILABLE,
        [REASON_UPSTREAM_CLOSED] = GRPC_UNAVAILABLE,
        [REASON_UPSTREAM_RESET] = GRPC_UNAVAILABLE,
        [REASON_UPSTREAM_UNREACHABLE] = GRPC_UNAVAILABLE,
        [REASON_UPSTREAM_TLS] = GRPC_UNAVAILABLE,
        [REASON_UPSTREAM_CERTIFICATE] = GRPC_UNAVAILABLE,
        [REASON_UPSTREAM_TRUNCATED] = GRPC_UNAVAILABLE,
        [REASON_DEADLINE] = GRPC_DEADLINE_EXCEEDED,
        [REASON_FIRST_BYTE_TIMEOUT] = GRPC_DEADLINE_EXCEEDED,
        [REASON_TRY_TIMEOUT] = GRPC_DEADLINE_EXCEEDED,
        [REASON_IDLE_TIMEOUT] = GRPC_UNAVAILABLE,
        [REASON_LAST_CALL] = GRPC_UNAVAILABLE,
        [REASON_FORCED] = GRPC_UNAVAILABLE,
        [REASON_ROUTE_REMOVED] = GRPC_UNAVAILABLE,
    };
    for (int r = 0; r < REASON_COUNT; r++) {
        enum grpc_code got = grpc_code_of_reason((enum reason)r);
        bool listed = r == REASON_NONE || expected[r] != GRPC_OK;
        if (listed ? got != expected[r] : got != GRPC_INTERNAL && got != GRPC_UNAVAILABLE)
            fail_msg("%s: %s", reason_word((enum reason)r), grpc_code_word(got));
    }
}

static void test_status(void **state)
{
    (void)state;
    char text[16];
    for (int c = 0; c < GRPC_CODES; c++) {
        (void)snprintf(text, sizeof(text), "%d", c);
        assert_int_equal(grpc_code_parse(str_of(text)), c);
        assert_true(strlen(grpc_code_word((enum grpc_code)c)) >= 2);
    }
    static const char *const bad[] = {"", "17", "99", "-1", "1x", "007", "4294967296", " 0", "0 "};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(grpc_code_parse(str_of(bad[i])), GRPC_UNKNOWN);
}

static void test_timeout_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        usec_t t;
    } rows[] = {
        {"1H", HOUR},
        {"2M", 120 * USEC_PER_SEC},
        {"3S", 3 * USEC_PER_SEC},
        {"100m", 100 * USEC_PER_MSEC},
        {"5u", 5},
        {"5n", 0},
        {"999n", 0},
        {"1000n", 1},
        {"99999999n", 99999},
        {"0S", 0},
        {"00000001S", USEC_PER_SEC},
        {"99999999u", 99999999},
        {"99999999H", (usec_t)99999999 * HOUR},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        usec_t t = 77;
        assert_int_equal(grpc_timeout_parse(str_of(rows[i].text), &t), 0);
        assert_int_equal(t, rows[i].t);
    }
    static const char *const bad[] = {
        "",
        "S",
        "1",
        "100000000S",
        "000000001S",
        "-1S",
        "+1S",
        "1.5S",
        "1 S",
        "1s",
        "1SS",
        " 1S",
        "1S ",
        "1h",
        "1U",
        "0x1S",
        "18446744073709551616n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        usec_t t = 77;
        assert_int_equal(grpc_timeout_parse(str_of(bad[i]), &t), -EINVAL);
        assert_int_equal(t, 77);
    }
    usec_t t;
    assert_int_equal(grpc_timeout_parse((struct str){"1\0S", 3}, &t), -EINVAL);
}

static void formats(usec_t t, const char *expected)
{
    char out[GRPC_TIMEOUT_LEN];
    struct str s = grpc_timeout_format(t, out);
    assert_true(str_eq(s, str_of(expected)));
    assert_string_equal(s.p, expected);
}

static void test_timeout_format(void **state)
{
    (void)state;
    formats(0, "0u");
    formats(1, "1u");
    formats(USEC_PER_SEC, "1000000u");
    formats(99999999, "99999999u");
    formats(100000000, "100000m");
    formats(100000999, "100000m"); /* down */
    formats(99999999 * USEC_PER_MSEC + 999, "99999999m");
    formats(100000000 * USEC_PER_MSEC, "100000S");
    formats(99999999 * USEC_PER_SEC, "99999999S");
    formats(100000000 * USEC_PER_SEC, "1666666M");
    formats((usec_t)99999999 * 60 * USEC_PER_SEC, "99999999M");
    formats((usec_t)100000000 * 60 * USEC_PER_SEC, "1666666H");
    formats((usec_t)99999999 * HOUR, "99999999H");
    formats(USEC_NEVER, "99999999H");
}

/* What is passed on is never longer than what came, and loses less than a thousandth. */
static void test_timeout_round(void **state)
{
    (void)state;
    for (usec_t t = 1; t < (usec_t)99999999 * HOUR; t += t / 7 + 1) {
        char out[GRPC_TIMEOUT_LEN];
        usec_t again = 0;
        assert_int_equal(grpc_timeout_parse(grpc_timeout_format(t, out), &again), 0);
        assert_true(again <= t);
        assert_true(t - again <= t / 1000);
    }
}

static void encodes(struct str text, size_t cap, const char *expected)
{
    char out[64];
    struct str s = grpc_message_encode(text, out, cap);
    assert_true(str_eq(s, str_of(expected)));
}

static void test_message(void **state)
{
    (void)state;
    encodes(STR(""), 64, "");
    encodes(STR("deadline: ~ ok"), 64, "deadline: ~ ok");
    encodes(STR("100%"), 64, "100%25");
    encodes(STR("a\r\nb\x7f\xc3\xa4"), 64, "a%0D%0Ab%7F%C3%A4");
    encodes((struct str){"\0", 1}, 64, "%00");
    encodes(STR("ab%cd"), 4, "ab"); /* never a part of an escape */
    encodes(STR("ab%cd"), 5, "ab%25");
    encodes(STR("abc"), 2, "ab");
    encodes(STR("abc"), 0, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content_type),  cmocka_unit_test(test_http),
        cmocka_unit_test(test_reasons),       cmocka_unit_test(test_status),
        cmocka_unit_test(test_timeout_parse), cmocka_unit_test(test_timeout_format),
        cmocka_unit_test(test_timeout_round), cmocka_unit_test(test_message),
    };
    return cmocka_run_group_tests_name("grpc", tests, NULL, NULL);
}
