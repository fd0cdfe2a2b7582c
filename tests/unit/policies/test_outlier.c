/* test_outlier.c - is the right endpoint ejected, at the right failure, for the right time? */
#include "policies/outlier.h"

#include "base/check.h"
#include "base/rng.h"
#include "base/str.h"
#include "policies/slow_start.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { MOST = 24 };

#define SEC USEC_PER_SEC

static struct outlier_rules usual(void)
{
    return (struct outlier_rules){
        .consecutive = {5, 5, 5},
        .interval = 10 * SEC,
        .base_ejection = 30 * SEC,
        .max_ejection = 300 * SEC,
        .max_percent = 50,
        .success_rate = {5, 100, 1900},
        .latency = {3, 10, 300, 100 * USEC_PER_MSEC},
    };
}

static enum outlier_cause report(struct outlier *o, const struct outlier_rules *r, enum result res,
                                 uint32_t times)
{
    enum outlier_cause c = OUTLIER_NO_CAUSE;
    while (times-- > 0) {
        assert_int_equal(c, OUTLIER_NO_CAUSE); /* none but the last has one */
        c = outlier_report(o, r, res);
    }
    return c;
}

/* --- failures in a row --- */

static void test_streaks(void **state)
{
    struct outlier_rules r = usual();
    struct outlier o = {0};
    (void)state;
    assert_int_equal(report(&o, &r, RESULT_ERROR, 4), OUTLIER_NO_CAUSE);
    assert_int_equal(report(&o, &r, RESULT_SUCCESS, 1), OUTLIER_NO_CAUSE);
    assert_int_equal(report(&o, &r, RESULT_ERROR, 5), OUTLIER_5XX);
    o = (struct outlier){0};
    assert_int_equal(report(&o, &r, RESULT_GATEWAY, 5), OUTLIER_GATEWAY);
    o = (struct outlier){0};
    assert_int_equal(report(&o, &r, RESULT_CONNECT, 5), OUTLIER_LOCAL);
    o = (struct outlier){0};
    assert_int_equal(report(&o, &r, RESULT_TIMEOUT, 5), OUTLIER_LOCAL);
    /* too much to do is not bad */
    o = (struct outlier){0};
    assert_int_equal(report(&o, &r, RESULT_LIMITED, 50), OUTLIER_NO_CAUSE);
    /* failures of several kinds are failures in a row */
    assert_int_equal(report(&o, &r, RESULT_ERROR, 1), OUTLIER_NO_CAUSE);
    assert_int_equal(report(&o, &r, RESULT_CONNECT, 1), OUTLIER_NO_CAUSE);
    assert_int_equal(report(&o, &r, RESULT_GATEWAY, 1), OUTLIER_NO_CAUSE);
    assert_int_equal(report(&o, &r, RESULT_RESET, 1), OUTLIER_NO_CAUSE);
    assert_int_equal(report(&o, &r, RESULT_ERROR, 1), OUTLIER_5XX);
}

static void test_an_answer_says_it_is_reached(void **state)
{
    struct outlier_rules r = usual();
    struct outlier o = {0};
    (void)state;
    r.consecutive[OUTLIER_5XX] = r.consecutive[OUTLIER_GATEWAY] = 0;
    assert_int_equal(report(&o, &r, RESULT_RESET, 4), OUTLIER_NO_CAUSE);
    assert_int_equal(report(&o, &r, RESULT_ERROR, 100), OUTLIER_NO_CAUSE);
    assert_int_equal(report(&o, &r, RESULT_RESET, 4), OUTLIER_NO_CAUSE);
    assert_int_equal(report(&o, &r, RESULT_RESET, 1), OUTLIER_LOCAL);
}

/* Where there is none in a row, a success writes nothing that threads share. */
static void test_success_writes_nothing(void **state)
{
    static const struct outlier zero;
    struct outlier_rules r = usual();
    (void)state;
    /* read only: a write would end the test */
    assert_int_equal(outlier_report((struct outlier *)(uintptr_t)&zero, &r, RESULT_SUCCESS),
                     OUTLIER_NO_CAUSE);
}

/* --- ejections --- */

struct group {
    struct standing_group g;
    struct standing s[MOST];
    struct outlier o[MOST];
    uint32_t n;
};

static void group_init(struct group *g, uint32_t n)
{
    memset(g, 0, sizeof(*g));
    g->n = n;
    for (uint32_t i = 0; i < n; i++) {
        standing_init(&g->s[i]);
        (void)standing_clear(&g->g, &g->s[i], STANDING_UNLISTED);
    }
}

/* One more try; the length of the ejection that it led to, or 0. */
static usec_t tell(struct group *g, uint32_t i, const struct outlier_rules *r, enum result res,
                   usec_t now)
{
    usec_t length = 0;
    if (standing_word(&g->s[i]) & STANDING_EJECTIONS)
        return 0;
    enum outlier_cause c = outlier_report(&g->o[i], r, res);
    if (c == OUTLIER_NO_CAUSE || !outlier_eject(&g->o[i], &g->s[i], &g->g, r, c, now, &length))
        return 0;
    assert_true(length > 0);
    return length;
}

static void test_time_grows_and_decays(void **state)
{
    struct outlier_rules r = usual();
    struct group g;
    usec_t now = 1000 * SEC, length = 0;
    (void)state;
    r.consecutive[OUTLIER_5XX] = 1;
    group_init(&g, 2);
    assert_int_equal(outlier_left(&g.o[0], now), USEC_NEVER);
    for (usec_t times = 1; times <= 20; times++) {
        length = tell(&g, 0, &r, RESULT_ERROR, now);
        assert_int_equal(length, times < 10 ? times * 30 * SEC : 300 * SEC);
        assert_int_equal(outlier_left(&g.o[0], now + 1), length - 1);
        assert_int_equal(outlier_left(&g.o[0], now + length), 0);
        assert_false(outlier_return(&g.o[0], &g.s[0], &g.g, now + length - 1));
        now += length;
        assert_true(outlier_return(&g.o[0], &g.s[0], &g.g, now));
        assert_false(outlier_return(&g.o[0], &g.s[0], &g.g, now));
    }
    /* time alone, and failures, make it no better */
    outlier_decay(&g.o[0], 0, 0);
    outlier_decay(&g.o[0], 10, 5);
    outlier_decay(&g.o[0], 10, 10);
    assert_int_equal(atomic_load(&g.o[0].ejections), 20);
    for (int i = 0; i < 19; i++)
        outlier_decay(&g.o[0], 10, 4);
    assert_int_equal(outlier_ejection(&g.o[0], &r), 60 * SEC);
    outlier_decay(&g.o[0], 1, 0);
    outlier_decay(&g.o[0], 1, 0);
    assert_int_equal(outlier_ejection(&g.o[0], &r), 30 * SEC);
}

/* The first tries after an ejection are judged by themselves. */
static void test_clean_slate(void **state)
{
    struct outlier_rules r = usual();
    struct group g;
    usec_t length = 0;
    (void)state;
    group_init(&g, 3);
    for (int i = 0; i < 5; i++)
        length = tell(&g, 1, &r, RESULT_RESET, SEC);
    assert_int_equal(length, 30 * SEC);
    assert_true(outlier_return(&g.o[1], &g.s[1], &g.g, SEC + length));
    for (int i = 0; i < 4; i++)
        assert_int_equal(tell(&g, 1, &r, RESULT_RESET, 100 * SEC), 0);
    assert_int_equal(tell(&g, 1, &r, RESULT_RESET, 100 * SEC), 60 * SEC);
}

/* What could not be ejected is as soon as there is room. */
static void test_every_endpoint_bad(void **state)
{
    struct outlier_rules r = usual();
    struct group g;
    (void)state;
    for (uint32_t n = 1; n <= MOST; n++) {
        uint32_t ejected = 0;
        group_init(&g, n);
        for (uint32_t i = 0; i < 10 * n; i++)
            ejected += tell(&g, i % n, &r, RESULT_CONNECT, SEC) > 0;
        assert_int_equal(ejected, n / 2);
        if (n < 2)
            continue;
        assert_true(outlier_pardon(&g.o[0], &g.s[0], &g.g));
        assert_false(outlier_pardon(&g.o[0], &g.s[0], &g.g));
        assert_int_equal(tell(&g, n - 1, &r, RESULT_CONNECT, SEC), 30 * SEC);
    }
}

static void test_dry_run(void **state)
{
    struct outlier_rules r = usual();
    struct group g;
    (void)state;
    r.dry_run = true;
    group_init(&g, 2);
    for (int i = 0; i < 4; i++)
        assert_int_equal(tell(&g, 0, &r, RESULT_GATEWAY, SEC), 0);
    assert_int_equal(tell(&g, 0, &r, RESULT_GATEWAY, SEC), 30 * SEC);
    assert_int_equal(standing_read(&g.g).usable, 2);
    assert_true(outlier_return(&g.o[0], &g.s[0], &g.g, 31 * SEC));
}

static void test_property(void **state)
{
    struct rng rng;
    (void)state;
    rng_init(&rng, 77);
    for (int round = 0; round < 200; round++) {
        struct outlier_rules r = usual();
        struct group g;
        usec_t now = SEC;
        group_init(&g, 1 + rng_below(&rng, MOST));
        r.max_percent = rng_below(&rng, 101);
        r.base_ejection = 1 + rng_below(&rng, 100) * SEC;
        r.max_ejection = r.base_ejection + rng_below(&rng, 100) * SEC;
        for (int k = 0; k < OUTLIER_STREAKS; k++)
            r.consecutive[k] = rng_below(&rng, 4);
        for (int step = 0; step < 1000; step++) {
            uint32_t i = rng_below(&rng, g.n);
            now += rng_below(&rng, 3) * SEC;
            (void)outlier_return(&g.o[i], &g.s[i], &g.g, now);
            usec_t length = tell(&g, i, &r, (enum result)(1 + rng_below(&rng, RESULTS - 1)), now);
            assert_true(length <= r.max_ejection);
            assert_true(length == 0 || length >= r.base_ejection);
            if (rng_below(&rng, 10) == 0)
                outlier_decay(&g.o[i], rng_below(&rng, 5), rng_below(&rng, 3));
            struct standing_counts c = standing_read(&g.g);
            assert_true(c.ejected * 100 <= c.there * r.max_percent);
            assert_true(c.usable >= 1);
        }
    }
}

/* --- threads: failures of all workers count together, and one of them ejects --- */

enum { THREADS = 4, EACH = 5000 };

struct race {
    struct group g;
    struct outlier_rules r;
    _Atomic uint32_t ejections, told;
};

static void *fails(void *arg)
{
    struct race *x = arg;
    usec_t length;
    for (int i = 0; i < EACH; i++) {
        enum outlier_cause c = outlier_report(&x->g.o[0], &x->r, RESULT_RESET);
        atomic_fetch_add(&x->told, c != OUTLIER_NO_CAUSE);
        if (c != OUTLIER_NO_CAUSE &&
            outlier_eject(&x->g.o[0], &x->g.s[0], &x->g.g, &x->r, c, SEC, &length))
            atomic_fetch_add(&x->ejections, 1);
    }
    return NULL;
}

static void test_threads(void **state)
{
    static struct race x;
    pthread_t threads[THREADS];
    (void)state;
    group_init(&x.g, 4);
    x.r = usual();
    x.r.consecutive[OUTLIER_LOCAL] = THREADS * EACH - 7;
    x.r.consecutive[OUTLIER_GATEWAY] = x.r.consecutive[OUTLIER_5XX] = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fails, &x), 0);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&x.told), 8); /* the threshold's own and those behind it */
    assert_int_equal(atomic_load(&x.ejections), 1);
    assert_int_equal(standing_read(&x.g.g).ejected, 1);
    assert_int_equal(atomic_load(&x.g.o[0].ejections), 1);
}

/* --- against the others --- */

static struct outlier_sample seen(uint64_t requests, uint64_t failed, usec_t mean)
{
    return (struct outlier_sample){true, requests, failed, requests, requests * mean, 0, 0, 0, 0};
}

static uint32_t compared(const struct outlier_rules *r, struct outlier_sample *s, uint32_t n)
{
    uint64_t scratch[MOST];
    uint32_t bad = 0;
    outlier_compare(r, s, n, scratch);
    for (uint32_t i = 0; i < n; i++)
        bad += s[i].cause != OUTLIER_NO_CAUSE;
    return bad;
}

static void test_success_rate(void **state)
{
    struct outlier_rules r = usual();
    struct outlier_sample s[6];
    (void)state;
    for (int i = 0; i < 6; i++)
        s[i] = seen(100, 0, 1000);
    s[3].failed = 40;
    assert_int_equal(compared(&r, s, 6), 1);
    assert_int_equal(s[3].cause, OUTLIER_SUCCESS_RATE);
    assert_int_equal(s[3].value, 600000);
    assert_true(s[3].value < s[3].bound);
    /* the same, but with too few requests, too few endpoints, or ejected ones */
    s[3].requests = 99;
    assert_int_equal(compared(&r, s, 6), 0);
    s[3].requests = 100;
    assert_int_equal(compared(&r, s, 4), 0);
    s[0].judged = s[1].judged = false;
    assert_int_equal(compared(&r, s, 6), 0);
    s[0].judged = true;
    assert_int_equal(compared(&r, s, 6), 1);
    r.success_rate.stdev_factor = 0;
    assert_int_equal(compared(&r, s, 6), 0);
    /* all are as bad: nobody is an outlier */
    r.success_rate.stdev_factor = 1900;
    for (int i = 0; i < 6; i++)
        s[i] = seen(100, 90, 1000);
    assert_int_equal(compared(&r, s, 6), 0);
    for (int i = 0; i < 6; i++)
        s[i] = seen(100, 150, 1000); /* counters that were read in between */
    assert_int_equal(compared(&r, s, 6), 0);
}

static void test_latency(void **state)
{
    struct outlier_rules r = usual();
    struct outlier_sample s[MOST];
    (void)state;
    for (uint32_t n = 3; n <= MOST; n++) {
        for (uint32_t i = 0; i < n; i++)
            s[i] = seen(10, 0, 40000 + i * 100);
        assert_int_equal(compared(&r, s, n), 0);
        s[n / 2] = seen(10, 0, 2 * SEC);
        assert_int_equal(compared(&r, s, n), 1);
        assert_int_equal(s[n / 2].cause, OUTLIER_LATENCY);
        assert_int_equal(s[n / 2].value, 2 * SEC);
        s[n / 2].answered = 9;
        assert_int_equal(compared(&r, s, n), 0);
    }
    /* two are not enough to say which one is slow, unless that is what is configured */
    s[0] = seen(10, 0, 1000);
    s[1] = seen(10, 0, 2 * SEC);
    assert_int_equal(compared(&r, s, 2), 0);
    r.latency.min_endpoints = 2;
    assert_int_equal(compared(&r, s, 2), 1);
    assert_int_equal(s[0].cause, OUTLIER_NO_CAUSE);
    assert_int_equal(compared(&r, s, 1), 0);
    /* three times nothing is nothing */
    s[1] = seen(10, 0, 99000);
    assert_int_equal(compared(&r, s, 2), 0);
    r.latency.factor_percent = 0;
    s[1] = seen(10, 0, 2 * SEC);
    assert_int_equal(compared(&r, s, 2), 0);
    r.latency.factor_percent = 300;
    s[0] = seen(10, 0, 0);
    s[0].answered = 0;
    assert_int_equal(compared(&r, s, 2), 0);
}

/* Half are slow: the median of the others is a slow one's for the fast, a fast one's for the slow.
 */
static void test_half_are_slow(void **state)
{
    struct outlier_rules r = usual();
    struct outlier_sample s[4];
    (void)state;
    for (int i = 0; i < 4; i++)
        s[i] = seen(20, 0, i < 2 ? 1000 : 2 * SEC);
    assert_int_equal(compared(&r, s, 4), 2);
    assert_int_equal(s[0].cause, OUTLIER_NO_CAUSE);
    assert_int_equal(s[3].cause, OUTLIER_LATENCY);
    s[3].failed = 20; /* success rate needs five */
    s[2].latency *= 2;
    (void)compared(&r, s, 4);
    assert_true(s[2].badness > s[3].badness);
    s[0].latency = s[1].latency = UINT64_MAX / 100;
    s[2].latency = s[3].latency = UINT64_MAX / 50;
    (void)compared(&r, s, 4); /* nothing overflows */
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(outlier_cause_word(OUTLIER_5XX), "consecutive_5xx");
    assert_string_equal(outlier_cause_word(OUTLIER_LATENCY), "latency");
    assert_string_equal(outlier_cause_word(OUTLIER_NO_CAUSE), "");
}

/* --- slow start --- */

static void test_slow_start(void **state)
{
    struct slow_start_rules r = {30 * SEC, 10};
    uint32_t last = 0;
    (void)state;
    assert_int_equal(slow_start_percent(&r, 0, 5), 100);
    assert_int_equal(slow_start_percent(&r, 100 * SEC, 100 * SEC), 10);
    assert_int_equal(slow_start_percent(&r, 100 * SEC, 99 * SEC), 10); /* another thread's clock */
    assert_int_equal(slow_start_percent(&r, 100 * SEC, 115 * SEC), 55);
    assert_int_equal(slow_start_percent(&r, 100 * SEC, 130 * SEC), 100);
    assert_false(slow_start_is_over(&r, 100 * SEC, 130 * SEC - 1));
    assert_true(slow_start_is_over(&r, 100 * SEC, 130 * SEC));
    assert_true(slow_start_is_over(&r, 0, 0));
    for (usec_t t = 0; t <= 31 * SEC; t += 1000) {
        uint32_t p = slow_start_percent(&r, SEC, SEC + t);
        assert_true(p >= last && p >= 10 && p <= 100);
        last = p;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streaks),
        cmocka_unit_test(test_an_answer_says_it_is_reached),
        cmocka_unit_test(test_success_writes_nothing),
        cmocka_unit_test(test_time_grows_and_decays),
        cmocka_unit_test(test_clean_slate),
        cmocka_unit_test(test_every_endpoint_bad),
        cmocka_unit_test(test_dry_run),
        cmocka_unit_test(test_property),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_success_rate),
        cmocka_unit_test(test_latency),
        cmocka_unit_test(test_half_are_slow),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_slow_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
