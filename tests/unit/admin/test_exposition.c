/* test_exposition.c - how many series are told, and which are left out. */
#include "admin/exposition.h"

#include "base/histogram.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { OF_A_HISTOGRAM = 23 };

static uint32_t count_lines(const struct exposition *t, bool comments)
{
    uint32_t n = 0;
    for (const char *p = t->p; p && *p; p = strchr(p, '\n') + 1)
        n += (*p == '#') == comments;
    return n;
}

static void put_histogram(struct exposition *t)
{
    uint64_t counts[HISTOGRAM_BUCKETS] = {[3] = 2, [HISTOGRAM_BUCKETS - 1] = 1};
    metric_histogram(t, "h_seconds", "route=\"r\"", counts, 1500000);
}

static void test_no_bound(void **state)
{
    struct exposition t = {0};
    (void)state;
    metric_family(&t, "a", "gauge", "What it is.");
    for (int i = 0; i < 10000; i++)
        metric_put(&t, "sluice_a{n=\"%d\"} 1\n", i);
    assert_int_equal(t.series, 10000);
    assert_int_equal(t.dropped, 0);
    assert_int_equal(count_lines(&t, false), 10000);
    assert_memory_equal(t.p, "# HELP sluice_a What it is.\n# TYPE sluice_a gauge\n", 50);
    free(t.p);
}

/* Lines come out as printf(3) has them, whichever way they are made. */
static void test_lines(void **state)
{
    struct exposition t = {0};
    char whole[1024], label[600];
    (void)state;
    int n =
        snprintf(whole, sizeof(whole), "%s|%.*s|%.*s|%.*s|%llu|%llu|%u|%u|%d|%.6f|%%\n", "text", 2,
                 "cut", 9, "whole", 0, "", 0ULL, UINT64_MAX + 0ULL, 0U, UINT32_MAX, -1, 0.25);
    metric_put(&t, "%s|%.*s|%.*s|%.*s|%llu|", "text", 2, "cut", 9, "whole", 0, "", 0ULL);
    metric_put(&t, "%llu|%u|%u|", UINT64_MAX + 0ULL, 0U, UINT32_MAX);
    metric_put(&t, "%d|", -1);
    metric_put(&t, "%.6f|%%\n", 0.25);
    assert_int_equal(t.len, n);
    assert_memory_equal(t.p, whole, t.len + 1);
    /* A line is never more than 511 bytes. */
    memset(label, 'x', sizeof(label) - 1);
    label[sizeof(label) - 1] = '\0';
    for (int plain = 0; plain < 2; plain++) {
        size_t before = t.len;
        if (plain)
            metric_put(&t, "a%s%u", label, 7U);
        else
            metric_put(&t, "a%s%x", label, 7U);
        assert_int_equal(t.len - before, 511);
        assert_int_equal(strlen(t.p + before), 511);
    }
    free(t.p);
}

/* What comes first is told; families are told, and are no series. */
static void test_bound(void **state)
{
    struct exposition t = {.most = 3};
    (void)state;
    for (int i = 0; i < 5; i++) {
        metric_family(&t, "a", "gauge", "What it is.");
        metric_put(&t, "sluice_a{n=\"%d\"} 1\n", i);
    }
    assert_int_equal(t.series, 3);
    assert_int_equal(t.dropped, 2);
    assert_int_equal(count_lines(&t, false), 3);
    assert_int_equal(count_lines(&t, true), 10);
    assert_non_null(strstr(t.p, "n=\"2\""));
    assert_null(strstr(t.p, "n=\"3\""));
    free(t.p);
}

static void test_histogram(void **state)
{
    struct exposition t = {0};
    (void)state;
    put_histogram(&t);
    assert_int_equal(t.series, OF_A_HISTOGRAM);
    assert_int_equal(count_lines(&t, false), OF_A_HISTOGRAM);
    assert_non_null(strstr(t.p, "sluice_h_seconds_bucket{route=\"r\",le=\"0.000128\"} 2\n"));
    assert_non_null(strstr(t.p, "sluice_h_seconds_bucket{route=\"r\",le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(t.p, "sluice_h_seconds_sum{route=\"r\"} 1.500000\n"));
    assert_non_null(strstr(t.p, "sluice_h_seconds_count{route=\"r\"} 3\n"));
    free(t.p);
}

/* A histogram is told whole or not at all; what is smaller may still have room. */
static void test_histogram_at_the_bound(void **state)
{
    (void)state;
    for (uint32_t most = OF_A_HISTOGRAM; most < 2 * OF_A_HISTOGRAM + 2; most++) {
        struct exposition t = {.most = most};
        uint32_t whole = most / OF_A_HISTOGRAM;
        put_histogram(&t);
        put_histogram(&t);
        assert_int_equal(t.series, whole * OF_A_HISTOGRAM);
        assert_int_equal(t.dropped, (2 - whole) * OF_A_HISTOGRAM);
        metric_put(&t, "sluice_a 1\n");
        assert_int_equal(t.series, min_u64(whole * OF_A_HISTOGRAM + 1, most));
        free(t.p);
    }
}

static void test_memory_is_short(void **state)
{
    struct exposition t = {.most = 10};
    (void)state;
    mem_fail_at(1, false);
    metric_put(&t, "sluice_a 1\n");
    mem_fail_at(0, false);
    assert_true(t.failed);
    metric_put(&t, "sluice_a 1\n");
    assert_true(t.failed);
    free(t.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_bound),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_histogram_at_the_bound),
        cmocka_unit_test(test_memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
