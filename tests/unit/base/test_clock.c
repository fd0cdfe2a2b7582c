/* test_clock.c - times as people and HTTP write them. */
#include "base/clock.h"

#include "base/check.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_rfc3339(UNUSED void **state)
{
    char out[CLOCK_RFC3339_LEN];
    clock_format_rfc3339(0, out);
    assert_string_equal(out, "1970-01-01T00:00:00.000Z");
    clock_format_rfc3339(1709210096987654, out);
    assert_string_equal(out, "2024-02-29T12:34:56.987Z");
    clock_format_rfc3339(USEC_PER_SEC - 1, out);
    assert_string_equal(out, "1970-01-01T00:00:00.999Z");
}

static void test_http(UNUSED void **state)
{
    char out[CLOCK_HTTP_LEN];
    clock_format_http(784111777 * USEC_PER_SEC, out); /* the example of RFC 9110 §5.6.7 */
    assert_string_equal(out, "Sun, 06 Nov 1994 08:49:37 GMT");
    clock_format_http(1709210096 * USEC_PER_SEC, out);
    assert_string_equal(out, "Thu, 29 Feb 2024 12:34:56 GMT");
}

/* Against strftime in the C locale. */
static void test_http_any_day(UNUSED void **state)
{
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 20000; i++) {
        char out[CLOCK_HTTP_LEN], want[64];
        time_t t = (time_t)rng_below(&rng, UINT32_MAX);
        struct tm tm;
        (void)gmtime_r(&t, &tm);
        (void)strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        clock_format_http((usec_t)t * USEC_PER_SEC + 999999, out);
        assert_string_equal(out, want);
    }
}

/* No time, however wrong, writes past its room. */
static void test_bounds(UNUSED void **state)
{
    static const usec_t times[] = {USEC_NEVER, USEC_NEVER / 2, 253402300800 * USEC_PER_SEC};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        char http[CLOCK_HTTP_LEN + 1], rfc[CLOCK_RFC3339_LEN + 1];
        http[CLOCK_HTTP_LEN] = rfc[CLOCK_RFC3339_LEN] = '#';
        clock_format_http(times[i], http);
        clock_format_rfc3339(times[i], rfc);
        assert_true(strlen(http) < CLOCK_HTTP_LEN && strlen(rfc) < CLOCK_RFC3339_LEN);
        assert_int_equal(http[CLOCK_HTTP_LEN], '#');
        assert_int_equal(rfc[CLOCK_RFC3339_LEN], '#');
    }
}

static void test_clocks(UNUSED void **state)
{
    usec_t a = clock_mono(), b = clock_mono();
    assert_true(a > 0 && b >= a);
    assert_true(clock_wall() > 1700000000 * USEC_PER_SEC);
    struct timespec ts = {.tv_sec = 3, .tv_nsec = 4999};
    assert_int_equal(clock_timespec_usec(&ts), 3000004);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc3339),      cmocka_unit_test(test_http),
        cmocka_unit_test(test_http_any_day), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
