/* test_rng.c - same seed, same numbers; and evenly spread. */
#include "base/rng.h"

#include "base/check.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_reproducible(UNUSED void **state)
{
    struct rng a, b, c;
    rng_init(&a, 42);
    rng_init(&b, 42);
    rng_init(&c, 43);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t x = rng_next(&a);
        assert_true(x == rng_next(&b));
        same += x == rng_next(&c);
    }
    assert_int_equal(same, 0);
}

/* The first numbers of splitmix64 and xoshiro256** as their authors publish them. */
static void test_known(UNUSED void **state)
{
    struct rng r = {{1, 2, 3, 4}};
    assert_true(rng_next(&r) == 11520);
    assert_true(rng_next(&r) == 0);
    assert_true(rng_next(&r) == 1509978240);
    assert_true(rng_next(&r) == UINT64_C(1215971899390074240));
    rng_init(&r, 1234567);
    assert_true(r.s[0] == UINT64_C(6457827717110365317));
    assert_true(r.s[1] == UINT64_C(3203168211198807973));
}

static void test_below(UNUSED void **state)
{
    struct rng r;
    rng_init(&r, 0); /* a seed of zero is as good */
    for (uint32_t n = 1; n <= 12; n++) {
        uint32_t got[12] = {0};
        for (int i = 0; i < 12000; i++) {
            uint32_t v = rng_below(&r, n);
            assert_true(v < n);
            got[v]++;
        }
        for (uint32_t v = 0; v < n; v++)
            assert_in_range(got[v], 12000 / n - 350, 12000 / n + 350);
    }
    for (int i = 0; i < 1000; i++)
        assert_true(rng_below(&r, UINT32_MAX) < UINT32_MAX);
}

static void test_random_seed(UNUSED void **state)
{
    struct rng a, b;
    rng_init_random(&a);
    rng_init_random(&b);
    assert_true(rng_next(&a) != rng_next(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reproducible),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_random_seed),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
