/* test_failover.c - do shares add up, does a level that is well take all, and does nobody send to
 * where nothing is left? */
#include "policies/failover.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { ROUNDS = 20000 };

static const struct failover_rules rules = {.overprovisioning = 140, .panic_threshold = 50};

static uint64_t sum_of(const uint32_t *ppm, uint32_t n)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += ppm[i];
    return sum;
}

/* Of levels written as {there, usable} pairs. */
static void expect_levels(const struct failover_count *c, uint32_t n, bool panic,
                          const uint32_t *ppm)
{
    uint32_t got[FAILOVER_LEVELS_MAX];
    assert_int_equal(failover_levels(c, n, &rules, got), panic);
    for (uint32_t i = 0; i < n; i++)
        assert_in_range(got[i] + 1, ppm[i], ppm[i] + 2);
    assert_int_equal(sum_of(got, n), sum_of(ppm, n));
}

#define LEVELS(...)                                                                                \
    (const struct failover_count[]){__VA_ARGS__},                                                  \
        sizeof((const struct failover_count[]){__VA_ARGS__}) / sizeof(struct failover_count)
#define PPM(...)                                                                                   \
    (const uint32_t[])                                                                             \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* As Envoy's documentation has them, and at the edges. */
static void test_levels(void **state)
{
    (void)state;
    expect_levels(LEVELS({1, 1, 0}), false, PPM(1000000));
    expect_levels(LEVELS({100, 100, 0}, {100, 100, 0}), false, PPM(1000000, 0));
    expect_levels(LEVELS({100, 72, 0}, {100, 72, 0}), false, PPM(1000000, 0));
    expect_levels(LEVELS({100, 71, 0}, {100, 71, 0}), false, PPM(994000, 6000));
    expect_levels(LEVELS({100, 50, 0}, {100, 50, 0}), false, PPM(700000, 300000));
    expect_levels(LEVELS({100, 25, 0}, {100, 100, 0}), false, PPM(350000, 650000));
    expect_levels(LEVELS({100, 0, 0}, {100, 100, 0}), false, PPM(0, 1000000));
    expect_levels(LEVELS({100, 25, 0}, {100, 25, 0}, {100, 50, 0}), false,
                  PPM(350000, 350000, 300000));
    expect_levels(LEVELS({3, 0, 0}, {1, 1, 0}), false, PPM(0, 1000000));
    expect_levels(LEVELS({2, 1, 0}, {1, 1, 0}), false, PPM(700000, 300000));
    /* together for less than everything, and no panic: each in proportion */
    expect_levels(LEVELS({100, 60, 0}, {400, 0, 0}, {1, 0, 0}), false, PPM(1000000, 0, 0));
    expect_levels(LEVELS({100, 20, 0}, {100, 50, 0}, {1, 0, 0}), false, PPM(285715, 714285, 0));
    expect_levels(LEVELS({4, 0, 0}, {2, 1, 0}), false, PPM(0, 1000000));
    /* a level whose endpoints are all drained */
    expect_levels(LEVELS({0, 0, 0}, {2, 2, 0}), false, PPM(0, 1000000));
    expect_levels(LEVELS({0, 0, 0}, {0, 0, 0}), false, PPM(0, 0));
    /* panic: by their number */
    expect_levels(LEVELS({3, 0, 0}, {1, 0, 0}), true, PPM(750000, 250000));
    expect_levels(LEVELS({0, 0, 0}, {4, 1, 0}), true, PPM(0, 1000000));
    expect_levels(LEVELS({4, 1, 0}, {4, 1, 0}), true, PPM(500000, 500000));
    expect_levels(LEVELS({1, 0, 0}), true, PPM(1000000));
}

static void test_no_panic(void **state)
{
    const struct failover_rules never = {.overprovisioning = 140, .panic_threshold = 0};
    struct failover_count none[] = {{0, 0, 0}, {3, 0, 0}, {1, 0, 0}};
    struct failover_count one[] = {{3, 0, 0}, {9, 1, 0}};
    uint32_t ppm[3];
    (void)state;
    assert_false(failover_levels(none, 3, &never, ppm));
    assert_int_equal(ppm[1], FAILOVER_WHOLE);
    assert_int_equal(ppm[0] + ppm[2], 0);
    assert_false(failover_levels(one, 2, &never, ppm));
    assert_int_equal(ppm[1], FAILOVER_WHOLE);
}

/* All of the first come back at once: it grows with them, and slow start is no panic. */
static void test_slow_start(void **state)
{
    uint32_t ppm[2], before = 0;
    (void)state;
    for (uint32_t percent = 10; percent <= 100; percent += 10) {
        struct failover_count c[] = {{3, 3, 3 * (100 - percent)}, {2, 2, 0}};
        assert_false(failover_levels(c, 2, &rules, ppm));
        assert_int_equal(ppm[0],
                         percent * 14000 < FAILOVER_WHOLE ? percent * 14000 : FAILOVER_WHOLE);
        assert_true(ppm[0] >= before);
        before = ppm[0];
    }
    /* nobody else is there: the first takes all of it, however young */
    struct failover_count alone[] = {{3, 3, 3 * 99}, {2, 0, 0}};
    assert_false(failover_levels(alone, 2, &rules, ppm));
    assert_int_equal(ppm[0], FAILOVER_WHOLE);
}

static void make_counts(struct rng *rng, struct failover_count *c, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        c[i].there = rng_below(rng, rng_below(rng, 10) == 0 ? 1 << 20 : 12);
        c[i].usable = rng_below(rng, 3) == 0 ? 0 : rng_below(rng, c[i].there + 1);
        c[i].missing = rng_below(rng, 2) == 0 || c[i].usable == 0
                           ? 0
                           : (uint32_t)((uint64_t)c[i].usable * rng_below(rng, 100));
    }
}

static void check_levels(struct rng *rng, struct failover_count *c, uint32_t n)
{
    struct failover_rules r = {100 + rng_below(rng, 300), rng_below(rng, 101)};
    uint32_t ppm[FAILOVER_LEVELS_MAX], more[FAILOVER_LEVELS_MAX], k = rng_below(rng, n);
    uint64_t there = 0, usable = 0;
    for (uint32_t i = 0; i < n; i++) {
        there += c[i].there;
        usable += c[i].usable;
    }
    bool panic = failover_levels(c, n, &r, ppm);
    assert_int_equal(sum_of(ppm, n), there > 0 ? FAILOVER_WHOLE : 0);
    assert_true(!panic || usable * 100 < there * r.panic_threshold);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(c[i].there > 0 || ppm[i] == 0);
        assert_true(panic || usable == 0 || c[i].usable > 0 || ppm[i] == 0);
    }
    if (!panic && c[0].there > 0 && c[0].usable == c[0].there && c[0].missing == 0)
        assert_int_equal(ppm[0], FAILOVER_WHOLE);
    /* One more that is well: no less for its level. */
    if (panic || usable == 0 || c[k].usable == c[k].there)
        return;
    c[k].usable++;
    assert_false(failover_levels(c, n, &r, more));
    assert_true(more[k] >= ppm[k]);
}

static void test_property_levels(void **state)
{
    struct failover_count c[FAILOVER_LEVELS_MAX];
    struct rng rng;
    (void)state;
    rng_init(&rng, 11);
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t n = 1 + rng_below(&rng, FAILOVER_LEVELS_MAX);
        make_counts(&rng, c, n);
        check_levels(&rng, c, n);
    }
}

/* --- zones --- */

static void expect_zones(const struct failover_count *c, uint32_t n, uint32_t own,
                         const uint32_t *ppm)
{
    uint32_t got[FAILOVER_PARTS_MAX];
    failover_zones(c, n, own, got);
    for (uint32_t i = 0; i < n; i++)
        assert_in_range(got[i] + 1, ppm[i], ppm[i] + 2);
    assert_int_equal(sum_of(got, n), FAILOVER_WHOLE);
}

static void test_zones(void **state)
{
    (void)state;
    expect_zones(LEVELS({3, 3, 0}, {3, 3, 0}, {3, 3, 0}), 0, PPM(1000000, 0, 0));
    /* one of ours is ill: a quarter goes out, to both alike */
    expect_zones(LEVELS({3, 2, 0}, {3, 3, 0}, {3, 3, 0}), 0, PPM(750000, 125000, 125000));
    /* ours is too small, and so is the second: what is left goes to the third */
    expect_zones(LEVELS({1, 1, 0}, {1, 1, 0}, {8, 8, 0}), 0, PPM(300000, 0, 700000));
    expect_zones(LEVELS({1, 1, 0}, {1, 1, 0}, {8, 8, 0}), 2, PPM(0, 0, 1000000));
    /* ours has nothing */
    expect_zones(LEVELS({3, 0, 0}, {3, 3, 0}, {1, 1, 0}), 0, PPM(0, 1000000, 0));
    expect_zones(LEVELS({2, 2, 0}, {2, 2, 0}), 2, PPM(500000, 500000));
    expect_zones(LEVELS({2, 2, 0}), 1, PPM(1000000));
    expect_zones(LEVELS({2, 1, 0}), 0, PPM(1000000));
    /* nobody has */
    expect_zones(LEVELS({3, 0, 0}, {1, 0, 0}), 0, PPM(750000, 250000));
}

/* When each zone's callers bring the same and go by their shares, no endpoint has more to do than
 * another; and what stays is as much as can. */
static void check_zones(const struct failover_count *c, uint32_t n)
{
    uint64_t load[FAILOVER_PARTS_MAX] = {0}, strength = 0;
    uint32_t ppm[FAILOVER_PARTS_MAX];
    for (uint32_t i = 0; i < n; i++)
        strength += (uint64_t)c[i].usable * 100 - c[i].missing;
    for (uint32_t own = 0; own < n; own++) {
        failover_zones(c, n, own, ppm);
        assert_true(sum_of(ppm, n) == FAILOVER_WHOLE || strength == 0);
        for (uint32_t i = 0; i < n; i++) {
            load[i] += ppm[i];
            assert_true(strength == 0 || c[i].usable > 0 || ppm[i] == 0);
        }
    }
    for (uint32_t i = 0; i < n && strength > 0; i++) {
        uint64_t fair =
            ((uint64_t)c[i].usable * 100 - c[i].missing) * n * FAILOVER_WHOLE / strength;
        assert_in_range(load[i] + n * n, fair, fair + 2 * n * n);
    }
}

static void test_property_zones(void **state)
{
    struct failover_count c[FAILOVER_PARTS_MAX];
    uint32_t ppm[FAILOVER_PARTS_MAX];
    struct rng rng;
    (void)state;
    rng_init(&rng, 12);
    for (int i = 0; i < ROUNDS / 10; i++) {
        uint32_t n = 1 + rng_below(&rng, i % 8 == 0 ? FAILOVER_PARTS_MAX : 5);
        make_counts(&rng, c, n);
        check_zones(c, n);
        failover_zones(c, n, n, ppm);
        uint64_t there = 0;
        for (uint32_t k = 0; k < n; k++)
            there += c[k].there;
        assert_int_equal(sum_of(ppm, n), there > 0 ? FAILOVER_WHOLE : 0);
    }
}

static void test_pick(void **state)
{
    static const uint32_t ppm[] = {0, 250000, 0, 750000, 0};
    static const uint32_t nothing[] = {0, 0};
    uint32_t picked[5] = {0};
    struct rng rng;
    (void)state;
    rng_init(&rng, 13);
    for (int i = 0; i < 100000; i++)
        picked[failover_pick(ppm, 5, rng_below(&rng, FAILOVER_WHOLE))]++;
    assert_int_equal(picked[0] + picked[2] + picked[4], 0);
    assert_in_range(picked[1], 24000, 26000);
    assert_int_equal(failover_pick(ppm, 5, 0), 1);
    assert_int_equal(failover_pick(ppm, 5, 249999), 1);
    assert_int_equal(failover_pick(ppm, 5, 250000), 3);
    assert_int_equal(failover_pick(ppm, 5, FAILOVER_WHOLE - 1), 3);
    assert_int_equal(failover_pick(ppm, 5, FAILOVER_WHOLE), 3); /* out of range: one with a share */
    assert_int_equal(failover_pick(nothing, 2, 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),     cmocka_unit_test(test_no_panic),
        cmocka_unit_test(test_slow_start), cmocka_unit_test(test_property_levels),
        cmocka_unit_test(test_zones),      cmocka_unit_test(test_property_zones),
        cmocka_unit_test(test_pick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
