/* test_histogram.c - does every latency land in its bucket, and only there? */
#include "base/histogram.h"

#include "base/check.h"
#include "base/rng.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_buckets_tile(UNUSED void **state)
{
    usec_t lower = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        usec_t upper = histogram_upper(i);
        assert_true(upper > lower);
        assert_int_equal(histogram_bucket(lower), i);
        assert_int_equal(histogram_bucket(upper - 1), i);
        assert_int_equal(histogram_bucket((lower + upper) / 2), i);
        if (lower >= HISTOGRAM_SUB) /* within 12.5 % */
            assert_true((upper - lower) * 8 <= lower);
        lower = upper;
    }
    assert_int_equal(lower, (usec_t)UINT32_MAX + 1);
}

static void test_last_takes_the_rest(UNUSED void **state)
{
    assert_int_equal(histogram_bucket(UINT32_MAX), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket((usec_t)UINT32_MAX + 1), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(USEC_NEVER), HISTOGRAM_BUCKETS - 1);
}

static void test_monotonic(UNUSED void **state)
{
    uint32_t last = 0;
    for (usec_t v = 0; v < 300000; v++) {
        uint32_t i = histogram_bucket(v);
        assert_true(i == last || i == last + 1);
        last = i;
    }
}

static void test_collect(UNUSED void **state)
{
    static struct histogram a, b;
    uint64_t counts[HISTOGRAM_BUCKETS] = {0}, sum = 0, n = 0;
    histogram_add(&a, 0);
    histogram_add(&a, 100);
    histogram_add(&b, 100);
    histogram_add(&b, 3000000);
    histogram_collect(&a, counts, &sum);
    histogram_collect(&b, counts, &sum);
    assert_int_equal(sum, 3000200);
    assert_int_equal(counts[0], 1);
    assert_int_equal(counts[histogram_bucket(100)], 2);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        n += counts[i];
    assert_int_equal(n, 4);
}

static int compare(const void *a, const void *b)
{
    usec_t x = *(const usec_t *)a, y = *(const usec_t *)b;
    return (x > y) - (x < y);
}

/* Against the sorted values: the true quantile lies in the bucket whose bound is answered. */
static void test_quantile(UNUSED void **state)
{
    static const uint32_t ppm[] = {0, 1, 250000, 500000, 900000, 990000, 999000, 999999, 1000000};
    enum { VALUES = 1000 };
    struct rng rng;
    rng_init(&rng, 1);
    for (int round = 0; round < 100; round++) {
        static usec_t values[VALUES];
        uint64_t counts[HISTOGRAM_BUCKETS] = {0};
        uint32_t n = 1 + rng_below(&rng, VALUES);
        for (uint32_t i = 0; i < n; i++) {
            values[i] = rng_next(&rng) >> (32 + rng_below(&rng, 32));
            counts[histogram_bucket(values[i])]++;
        }
        qsort(values, n, sizeof(values[0]), compare);
        for (size_t q = 0; q < ARRAY_LEN(ppm); q++) {
            uint64_t rank = ((uint64_t)n * ppm[q] + 999999) / 1000000;
            usec_t true_value = values[rank > 0 ? rank - 1 : 0];
            assert_int_equal(histogram_quantile(counts, ppm[q]),
                             histogram_upper(histogram_bucket(true_value)));
        }
    }
}

static void test_quantile_edges(UNUSED void **state)
{
    uint64_t counts[HISTOGRAM_BUCKETS] = {0};
    assert_int_equal(histogram_quantile(counts, 500000), 0);
    counts[HISTOGRAM_BUCKETS - 1] = 1;
    assert_int_equal(histogram_quantile(counts, 1), (usec_t)1 << 32);
    counts[HISTOGRAM_BUCKETS - 1] = UINT64_MAX / 2;
    counts[3] = UINT64_MAX / 2;
    assert_int_equal(histogram_quantile(counts, 400000), 4);
    assert_int_equal(histogram_quantile(counts, 999999), (usec_t)1 << 32);
    assert_int_equal(histogram_quantile(counts, 4000000), (usec_t)1 << 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_tile), cmocka_unit_test(test_last_takes_the_rest),
        cmocka_unit_test(test_monotonic),    cmocka_unit_test(test_collect),
        cmocka_unit_test(test_quantile),     cmocka_unit_test(test_quantile_edges),
    };
    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
