/* test_rate_keys.c - one limit a key, and no more keys than were asked for. */
#include "policies/rate_keys.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const uint64_t seed[2] = {1, 2};
static const struct rate_rule three = {RATE_TOKEN_BUCKET, 3, 3, USEC_PER_SEC};

enum { START = 1000000 };

static bool take(struct rate_keys *k, uint32_t key, usec_t now)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "key-%u", key);
    return rate_keys_take(k, &three, (struct str){text, (size_t)n}, now).allowed;
}

static void test_each_its_own(UNUSED void **state)
{
    struct rate_keys *k = rate_keys_new(100, seed);
    for (int i = 0; i < 3; i++) {
        assert_true(take(k, 1, START));
        assert_true(take(k, 2, START));
    }
    assert_false(take(k, 1, START));
    assert_false(take(k, 2, START));
    assert_true(take(k, 3, START));
    assert_int_equal(rate_keys_held(k), 3);
    struct rate_verdict v = rate_keys_take(k, &three, STR("x"), START);
    rate_keys_give_back(k, STR("x"), &v);
    rate_keys_give_back(k, STR("nobody"), &v);
    for (int i = 0; i < 3; i++)
        assert_true(rate_keys_take(k, &three, STR("x"), START).allowed);
    assert_false(rate_keys_take(k, &three, STR("x"), START).allowed);
    assert_null(rate_keys_free(k));
    assert_null(rate_keys_free(NULL));
}

/* Bounded, and who was asked for last is remembered. */
static void test_more_keys_than_room(UNUSED void **state)
{
    enum { MOST = 640, KEYS = 20000 };
    struct rate_keys *k = rate_keys_new(MOST, seed);
    for (uint32_t i = 0; i < KEYS; i++) {
        for (int n = 0; n < 3; n++)
            assert_true(take(k, i, START));
        assert_false(take(k, i, START));
        assert_true(rate_keys_held(k) <= MOST);
    }
    assert_int_equal(rate_keys_held(k), MOST);
    assert_int_equal(rate_keys_forgotten(k), KEYS - MOST);
    assert_false(take(k, KEYS - 1, START));
    assert_true(take(k, 0, START)); /* begins anew */
    rate_keys_set_most(k, 64);
    for (uint32_t i = 0; i < KEYS; i++)
        (void)take(k, KEYS + i, START);
    assert_int_equal(rate_keys_held(k), 64);
    (void)rate_keys_free(k);
}

/* Those that are as good as new leave by themselves, and their memory with them. */
static void test_old_keys_go(UNUSED void **state)
{
    struct rate_keys *k = rate_keys_new(1000000, seed);
    usec_t now = START;
    uint32_t most = 0;
    for (uint32_t i = 0; i < 200000; i++) {
        (void)take(k, i, now);
        now += 1000; /* a key is as good as new after a third of a second */
        if (rate_keys_held(k) > most)
            most = rate_keys_held(k);
    }
    assert_in_range(most, 300, 2000);
    assert_int_equal(rate_keys_forgotten(k), 0);
    (void)rate_keys_free(k);
}

/* Against one that remembers everything. */
static void test_as_a_naive_one(UNUSED void **state)
{
    enum { KEYS = 500 };
    static rate_word words[KEYS];
    struct rate_keys *k = rate_keys_new(1000000, seed);
    struct rng rng;
    usec_t now = START;
    rng_init(&rng, 3);
    for (int i = 0; i < 300000; i++) {
        uint32_t key = rng_below(&rng, KEYS);
        now += rng_below(&rng, 2000);
        if (rng_below(&rng, 5000) == 0)
            now += 2 * USEC_PER_SEC;
        bool want = rate_take(&words[key], &three, now).allowed;
        assert_true(take(k, key, now) == want);
    }
    (void)rate_keys_free(k);
}

static void test_memory_is_short(UNUSED void **state)
{
    for (uint64_t n = 1; n < 20; n++) {
        mem_fail_at(n, false);
        struct rate_keys *k = rate_keys_new(100000, seed);
        for (uint32_t i = 0; k && i < 3000; i++)
            (void)take(k, i, START);
        mem_fail_at(0, false);
        for (uint32_t i = 0; k && i < 3; i++)
            assert_true(take(k, 77777, START));
        assert_false(k && take(k, 77777, START));
        (void)rate_keys_free(k);
    }
}

/* --- workers --- */

static _Atomic uint32_t granted;

static void *take_many(void *arg)
{
    struct rng rng;
    rng_init(&rng, 5);
    for (int i = 0; i < 40000; i++)
        granted += take(arg, rng_below(&rng, 1000), START);
    return NULL;
}

static void test_exact_over_workers(UNUSED void **state)
{
    struct rate_keys *k = rate_keys_new(100000, seed);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, take_many, k) == 0);
    for (int i = 0; i < 4; i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(granted, 3000);
    (void)rate_keys_free(k);
}

static void test_hash(UNUSED void **state)
{
    static const uint64_t another[2] = {1, 3};
    struct rate_keys *k = rate_keys_new(64, seed), *o = rate_keys_new(64, another);
    assert_true(rate_keys_hash(k, STR("a")) == rate_keys_hash(k, STR("a")));
    assert_true(rate_keys_hash(k, STR("a")) != rate_keys_hash(k, STR("b")));
    assert_true(rate_keys_hash(k, STR("a")) != rate_keys_hash(o, STR("a")));
    assert_int_equal(rate_keys_held(k), 0);
    (void)rate_keys_free(k);
    (void)rate_keys_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_its_own),
        cmocka_unit_test(test_more_keys_than_room),
        cmocka_unit_test(test_old_keys_go),
        cmocka_unit_test(test_as_a_naive_one),
        cmocka_unit_test(test_memory_is_short),
        cmocka_unit_test(test_exact_over_workers),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
