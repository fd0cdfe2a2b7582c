/* test_deadline.c - X-Request-Deadline, read and written. */
#include "policies/deadline.h"

#include "base/check.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_values(UNUSED void **state)
{
    static const struct {
        const char *text;
        usec_t wall;
    } good[] = {
        {"0", 0},
        {"1767225600", UINT64_C(1767225600000000)},
        {"1767225600.25", UINT64_C(1767225600250000)},
        {"1767225600.000001", UINT64_C(1767225600000001)},
        {"1767225600.123456789", UINT64_C(1767225600123456)},
        {"9999999999.999999999", UINT64_C(9999999999999999)},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        usec_t wall = 7;
        assert_int_equal(deadline_parse(str_of(good[i].text), &wall), 0);
        assert_true(wall == good[i].wall);
    }
}

static void test_what_is_none(UNUSED void **state)
{
    static const char *const bad[] = {
        "",   "-1", "+1",           ".5",          "1.",   "1.x",  "1,5",  "1e3",
        "1 ", " 1", "1.1234567890", "10000000000", "soon", "0x10", "1.5s", "2026-01-01T00:00:00Z",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        usec_t wall = 7;
        assert_int_equal(deadline_parse(str_of(bad[i]), &wall), -EINVAL);
        assert_int_equal(wall, 7);
    }
}

static void test_there_and_back(UNUSED void **state)
{
    struct rng rng;
    char text[DEADLINE_LEN];
    rng_init(&rng, 5);
    for (int i = 0; i < 10000; i++) {
        usec_t wall = rng_next(&rng) % (UINT64_C(10000000000) * USEC_PER_SEC), back = 0;
        assert_int_equal(deadline_parse(deadline_format(wall, text), &back), 0);
        assert_true(back == wall);
    }
}

static void test_on_the_other_clock(UNUSED void **state)
{
    assert_int_equal(deadline_mono(1500, 1000, 70), 570);
    assert_int_equal(deadline_mono(1000, 1000, 70), 70);
    assert_int_equal(deadline_mono(990, 1000, 70), 60);
    assert_int_equal(deadline_mono(0, 1000, 70), 1); /* long past, and still a deadline */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_on_the_other_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
