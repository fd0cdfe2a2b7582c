/* test_quiet.c - does nobody come any more? With simulated time. */
#include "lifecycle/quiet.h"

#include "base/check.h"
#include "sim_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* `a_second` arrive in each of so many seconds before T0. Returns how many in all. */
static uint64_t usual(struct quiet *q, unsigned seconds, uint64_t a_second)
{
    *q = (struct quiet){0};
    for (unsigned i = seconds; i > 0; i--)
        quiet_sample(q, (seconds - i) * a_second, T0 - SEC(i));
    return seconds * a_second;
}

static void test_two_seconds_at_least(UNUSED void **state)
{
    struct quiet q;
    usec_t at;
    uint64_t n = usual(&q, 100, 50);
    quiet_begin(&q, n, T0);
    assert_false(quiet_enough(&q, n, T0, &at));
    assert_true(at > T0 && at <= T0 + MSEC(50));
    assert_false(quiet_enough(&q, n, T0 + SEC(2) - 1, &at));
    assert_int_equal(at, T0 + SEC(2));
    assert_true(quiet_enough(&q, n, T0 + SEC(2), &at));
}

static void test_an_arrival_begins_anew(UNUSED void **state)
{
    struct quiet q;
    usec_t at;
    uint64_t n = usual(&q, 100, 50);
    quiet_begin(&q, n, T0);
    assert_false(quiet_enough(&q, ++n, T0 + MSEC(1900), &at));
    assert_false(quiet_enough(&q, n, T0 + MSEC(3899), &at));
    assert_true(quiet_enough(&q, n, T0 + MSEC(3900), &at));
}

/* One every 3 s: 9 s of silence. */
static void test_three_mean_gaps(UNUSED void **state)
{
    struct quiet q = {0};
    usec_t at;
    for (unsigned i = 0; i < 100; i++)
        quiet_sample(&q, i / 3, T0 - SEC(100 - i));
    quiet_begin(&q, 33, T0);
    assert_false(quiet_enough(&q, 33, T0 + SEC(8), &at));
    assert_true(quiet_enough(&q, 33, T0 + SEC(10), &at));
}

/* Silence is what is usual. */
static void test_where_nobody_came(UNUSED void **state)
{
    struct quiet q;
    usec_t at;
    uint64_t n = usual(&q, 100, 0);
    quiet_begin(&q, n, T0);
    assert_false(quiet_enough(&q, n, T0 + SEC(1000), &at));
    assert_int_equal(at, USEC_NEVER);
    quiet_begin(&q, 1, T0); /* one is no gap */
    assert_false(quiet_enough(&q, 1, T0 + SEC(1000), &at));
    q = (struct quiet){0}; /* not a second old */
    quiet_begin(&q, 1000, T0);
    assert_false(quiet_enough(&q, 1000, T0 + SEC(1000), &at));
}

/* Only the last half minute counts. */
static void test_what_was_long_ago(UNUSED void **state)
{
    struct quiet q;
    usec_t at;
    uint64_t n = usual(&q, 60, 50);
    for (unsigned i = 0; i < QUIET_SAMPLES; i++)
        quiet_sample(&q, n, T0 + SEC(i));
    quiet_begin(&q, n, T0 + SEC(30));
    assert_false(quiet_enough(&q, n, T0 + SEC(3000), &at));
}

/* DRAIN's end, where listeners stay open: whoever has just been answered may come again. */
static void test_lull(UNUSED void **state)
{
    struct quiet q = {0};
    usec_t at;
    assert_true(quiet_lull(&q, 0, T0, &at)); /* nobody ever came */
    assert_int_equal(at, USEC_NEVER);
    for (unsigned i = 1; i <= 20; i++) {
        assert_false(quiet_lull(&q, i, T0 + i * MSEC(200), &at));
        assert_int_equal(at, T0 + i * MSEC(200) + MSEC(50));
    }
    assert_false(quiet_lull(&q, 20, T0 + MSEC(4780), &at));
    assert_int_equal(at, T0 + SEC(4) + QUIET_LULL); /* not later, for the deadline's sake */
    assert_false(quiet_lull(&q, 20, T0 + MSEC(4799), &at));
    assert_true(quiet_lull(&q, 20, T0 + MSEC(4800), &at));
    assert_int_equal(at, USEC_NEVER);
    assert_false(quiet_lull(&q, 21, T0 + SEC(60), &at));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_seconds_at_least), cmocka_unit_test(test_an_arrival_begins_anew),
        cmocka_unit_test(test_three_mean_gaps),      cmocka_unit_test(test_where_nobody_came),
        cmocka_unit_test(test_what_was_long_ago),    cmocka_unit_test(test_lull),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
