/* test_concurrency.c - who is in flight: never more than a priority may have, by any number of
 * threads, and nobody's place is lost. */
#include "policies/concurrency.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct concurrency_rules usual = {
    .min_limit = 1,
    .max_limit = 1000,
    .initial_limit = 20,
    .tolerance = 125,
    .interval = 100 * USEC_PER_MSEC,
    .min_rtt_window = 60 * USEC_PER_SEC,
};

static void test_shares(UNUSED void **state)
{
    for (uint32_t limit = 1; limit < 5000; limit++) {
        uint32_t low = concurrency_share(limit, PRIORITY_LOW);
        uint32_t normal = concurrency_share(limit, PRIORITY_NORMAL);
        uint32_t critical = concurrency_share(limit, PRIORITY_CRITICAL);
        assert_true(low >= 1 && low <= normal && normal <= limit && critical > limit);
        assert_true(limit == 1 || low < normal);
    }
    assert_int_equal(concurrency_share(CONCURRENCY_LIMIT_MAX, PRIORITY_CRITICAL), 1100000);
}

static uint32_t enter_all(struct concurrency *c, const struct concurrency_rules *r, enum priority p)
{
    uint32_t n = 0;
    while (n < 2000 && concurrency_enter(c, r, 0, p))
        n++;
    return n;
}

static void test_priorities(UNUSED void **state)
{
    struct concurrency *c = concurrency_new(1, &usual);
    struct concurrency_view v;
    assert_int_equal(enter_all(c, &usual, PRIORITY_LOW), 16);
    assert_int_equal(enter_all(c, &usual, PRIORITY_NORMAL), 3);
    assert_int_equal(enter_all(c, &usual, PRIORITY_CRITICAL), 3);
    concurrency_look(c, &usual, &v);
    assert_int_equal(v.in_flight, 22);
    for (int p = 0; p < PRIORITIES; p++) {
        assert_int_equal(v.refused[0][p], 1);
        assert_int_equal(v.refused[1][p], 0);
    }
    assert_int_equal(v.min_rtt, 0);
    assert_null(concurrency_free(c));
}

static void test_other_bounds(UNUSED void **state)
{
    struct concurrency_rules r = usual;
    struct concurrency *c = concurrency_new(1, &r);
    r.max_limit = 10;
    assert_int_equal(enter_all(c, &r, PRIORITY_NORMAL), 10);
    r.max_limit = r.min_limit = 100;
    assert_int_equal(enter_all(c, &r, PRIORITY_NORMAL), 85);
    r.dry_run = true;
    assert_int_equal(enter_all(c, &r, PRIORITY_LOW), 2000);
    struct concurrency_view v;
    concurrency_look(c, &r, &v);
    assert_int_equal(v.in_flight, 2095);
    assert_int_equal(v.refused[1][PRIORITY_LOW], 2000);
    (void)concurrency_free(c);
}

static void test_no_memory(UNUSED void **state)
{
    mem_fail_at(1, false);
    assert_null(concurrency_new(1, &usual));
    mem_fail_at(0, false);
    assert_null(concurrency_free(NULL));
}

enum { THREADS = 4, ROUNDS = 200000 };

static struct concurrency *shared;
static _Atomic uint32_t inside[PRIORITIES];
static _Atomic uint32_t too_many;

static void *enter_and_leave(void *arg)
{
    uint32_t id = *(uint32_t *)arg;
    struct concurrency_rules r = usual;
    struct rng rng;
    rng_init(&rng, id);
    r.min_limit = r.max_limit = 3;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        enum priority p = (enum priority)rng_below(&rng, PRIORITIES);
        if (!concurrency_enter(shared, &r, id, p))
            continue;
        uint32_t low = atomic_fetch_add(&inside[p], 1) + 1;
        if (low > concurrency_share(3, p))
            atomic_fetch_add(&too_many, 1);
        concurrency_answered(shared, &r, id, 1 + rng_below(&rng, 1000), (usec_t)i * 100);
        concurrency_left(shared, &r, id, rng_below(&rng, 1000), (usec_t)i * 100);
        concurrency_erred(shared, id);
        atomic_fetch_sub(&inside[p], 1);
        concurrency_leave(shared);
    }
    return NULL;
}

static void test_threads(UNUSED void **state)
{
    pthread_t threads[THREADS];
    uint32_t ids[THREADS];
    struct concurrency_view v;
    shared = concurrency_new(THREADS, &usual);
    for (uint32_t i = 0; i < THREADS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, enter_and_leave, &ids[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(too_many, 0);
    concurrency_look(shared, &usual, &v);
    assert_int_equal(v.in_flight, 0);
    assert_true(v.p90 > 0 && v.min_rtt > 0);
    (void)concurrency_free(shared);
}

/* Whatever is seen, whenever: the limit keeps its bounds, and so does a probe's. */
static void test_bounds_property(UNUSED void **state)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct concurrency_rules r = usual;
        r.min_limit = 1 + rng_below(&rng, 50);
        r.max_limit = r.min_limit + rng_below(&rng, 500);
        r.initial_limit = r.min_limit;
        struct concurrency_limit l;
        concurrency_limit_init(&l, &r);
        usec_t now = 1000 * USEC_PER_SEC;
        for (int i = 0; i < 2000; i++) {
            struct concurrency_sample s = {
                .n = rng_below(&rng, 300),
                .early = rng_below(&rng, 1u << rng_below(&rng, 10)),
                .errors = rng_below(&rng, 1u << rng_below(&rng, 10)),
                .p90 = 1 + rng_below(&rng, 1u << rng_below(&rng, 30)),
                .peak = rng_below(&rng, 2 * r.max_limit),
                .refused = rng_below(&rng, 2),
            };
            s.late = rng_below(&rng, 2) ? rng_below(&rng, (uint32_t)s.n + 1) : 0;
            s.mean = 1 + s.p90 * rng_below(&rng, 1000) / 1000;
            bool taken;
            bool steady = l.phase == CONCURRENCY_STEADY;
            double had = l.limit;
            uint32_t was = concurrency_limit_now(&l, &r);
            usec_t next = concurrency_limit_step(&l, &r, &s, now, &taken);
            uint32_t is = concurrency_limit_now(&l, &r);
            assert_true(is >= r.min_limit && is <= r.max_limit && next > now);
            if (steady && 2 * s.peak < had)
                assert_true(is <= was); /* no growth while less than half is used */
            if (steady && l.phase == CONCURRENCY_SETTLE)
                assert_true(s.refused && is * 8 + 8 >= was); /* halved, and of that a quarter */
            now = next + rng_below(&rng, 100) * rng_below(&rng, 10000);
        }
    }
}

static uint32_t limit_of(struct concurrency *c)
{
    struct concurrency_view v;
    concurrency_look(c, &usual, &v);
    return v.limit;
}

/* Who leaves before an answer could be there says nothing of a queue, who leaves later does. When
 * hardly anybody is answered the limit falls by halves, down to its bound, and comes back. */
static void test_left(UNUSED void **state)
{
    struct concurrency *c = concurrency_new(2, &usual);
    struct concurrency_view v;
    usec_t now = 1000 * USEC_PER_SEC;
    for (int i = 0; i < 100; i++) {
        assert_true(concurrency_enter(c, &usual, 0, PRIORITY_NORMAL));
        concurrency_answered(c, &usual, 0, 10000, now += 10000);
        concurrency_left(c, &usual, 1, i % 2 ? 9000 : 0, now);
        concurrency_leave(c);
    }
    concurrency_look(c, &usual, &v);
    assert_in_range(v.min_rtt, 9000, 11000);
    assert_in_range(v.p90, 9000, 11000);
    uint32_t was = limit_of(c);
    assert_true(was >= 20);
    for (int i = 0; i < 1000; i++) { /* errors are answers, for who asks whether anybody waits */
        concurrency_erred(c, 0);
        if (i % 10 == 0)
            concurrency_left(c, &usual, 1, 5000, now += 10000);
    }
    assert_int_equal(limit_of(c), was);
    for (int i = 0; i < 20; i++) {
        uint32_t had = limit_of(c);
        for (int k = 0; k < 30; k++)
            concurrency_left(c, &usual, (uint32_t)k % 2, 50000, now += 4000);
        assert_true(limit_of(c) == 1 || limit_of(c) <= had / 2 + 1);
    }
    concurrency_look(c, &usual, &v);
    assert_int_equal(v.limit, 1);
    assert_in_range(v.min_rtt, 9000, 11000); /* nothing was learned from them */
    for (int i = 0; i < 500; i++) {
        assert_true(concurrency_enter(c, &usual, 0, PRIORITY_CRITICAL));
        concurrency_answered(c, &usual, 0, 10000, now += 4000);
        concurrency_leave(c);
    }
    assert_true(limit_of(c) > 1);
    (void)concurrency_free(c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),       cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_other_bounds), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_bounds_property),
        cmocka_unit_test(test_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
