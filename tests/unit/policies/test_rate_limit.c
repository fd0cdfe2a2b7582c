/* test_rate_limit.c - never more than was promised, and that much when somebody waits. */
#include "policies/rate_limit.h"

#include "base/check.h"
#include "base/rng.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

enum { START = 1234567890 };

#define S USEC_PER_SEC

static struct rate_rule bucket(uint32_t requests, usec_t per, uint32_t burst)
{
    return (struct rate_rule){RATE_TOKEN_BUCKET, requests, burst, per};
}

static uint32_t take_all(rate_word *w, const struct rate_rule *r, usec_t now)
{
    uint32_t n = 0;
    while (rate_take(w, r, now).allowed)
        n++;
    return n;
}

static void test_bucket(UNUSED void **state)
{
    struct rate_rule r = bucket(10, S, 5);
    rate_word w = 0;
    struct rate_verdict v = rate_take(&w, &r, START);
    assert_true(v.allowed);
    assert_int_equal(take_all(&w, &r, START), 4);
    v = rate_take(&w, &r, START);
    assert_false(v.allowed);
    assert_in_range(v.wait, S / 10, S / 10 + 2);
    assert_false(rate_take(&w, &r, START + v.wait - 2).allowed);
    assert_true(rate_take(&w, &r, START + v.wait).allowed);
    assert_false(rate_is_unused(&w, &r, START + S / 10));
    assert_true(rate_is_unused(&w, &r, START + S));
    assert_int_equal(take_all(&w, &r, START + 100 * S), 5); /* no more than it holds */
}

/* Another rule for the same word: what is empty is empty still, and fills as the new one has it. */
static void test_a_bucket_of_another_rule(UNUSED void **state)
{
    struct rate_rule day = bucket(10, 86400 * S, 10), second = bucket(100, S, 50);
    rate_word w = 0;
    assert_int_equal(take_all(&w, &day, START), 10);
    struct rate_verdict v = rate_take(&w, &second, START);
    assert_false(v.allowed);
    assert_in_range(v.wait, S / 100, S / 100 + 2);
    assert_in_range(take_all(&w, &second, START + S / 10), 9, 10);
}

static void test_bucket_at_its_ends(UNUSED void **state)
{
    const struct rate_rule r[] = {bucket(1, 604800 * S, RATE_REQUESTS_MAX), bucket(1, S, 1),
                                  bucket(RATE_REQUESTS_MAX, RATE_PER_MIN, RATE_REQUESTS_MAX)};
    const uint32_t most[] = {0, 1, RATE_REQUESTS_MAX};
    for (size_t i = 0; i < ARRAY_LEN(r); i++) {
        rate_word w = 0;
        uint32_t n = take_all(&w, &r[i], START);
        if (most[i] > 0)
            assert_int_equal(n, most[i]);
        else /* it would be full in 19,000 years: it holds less, and no more */
            assert_in_range(n, 1, RATE_REQUESTS_MAX);
    }
}

/* A worker whose clock is somewhat behind. */
static void test_time_behind(UNUSED void **state)
{
    static const enum rate_algorithm all[] = {RATE_TOKEN_BUCKET, RATE_FIXED_WINDOW,
                                              RATE_SLIDING_WINDOW};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct rate_rule r = {all[i], 3, 3, S};
        rate_word w = 0;
        assert_int_equal(take_all(&w, &r, START * S), 3);
        struct rate_verdict v = rate_take(&w, &r, START * S - 2);
        assert_false(v.allowed);
        assert_in_range(v.wait, 1, 2 * S);
    }
}

static void test_fixed_window(UNUSED void **state)
{
    struct rate_rule r = {RATE_FIXED_WINDOW, 3, 0, S};
    rate_word w = 0;
    usec_t begin = START * S;
    assert_true(rate_take(&w, &r, begin + S / 4).allowed);
    assert_int_equal(take_all(&w, &r, begin + S / 2), 2);
    assert_int_equal(rate_take(&w, &r, begin + S / 2).wait, S / 2);
    assert_false(rate_take(&w, &r, begin + S - 1).allowed);
    assert_true(rate_is_unused(&w, &r, begin + S));
    assert_int_equal(take_all(&w, &r, begin + S), 3);
    assert_int_equal(take_all(&w, &r, begin + 7 * S), 3);
}

static void test_sliding_window(UNUSED void **state)
{
    struct rate_rule r = {RATE_SLIDING_WINDOW, 10, 0, S};
    rate_word w = 0;
    usec_t begin = START * S;
    assert_int_equal(take_all(&w, &r, begin + S - 1), 10);
    struct rate_verdict v = rate_take(&w, &r, begin + S - 1);
    assert_in_range(v.wait, S / 10, S / 10 + 2); /* a tenth into the next window */
    assert_int_equal(take_all(&w, &r, begin + S), 0);
    assert_int_equal(take_all(&w, &r, begin + S + S / 2), 5); /* half of the ten still count */
    v = rate_take(&w, &r, begin + S + S / 2);
    assert_false(v.allowed);
    assert_false(rate_take(&w, &r, begin + S + S / 2 + v.wait - 1).allowed);
    assert_true(rate_take(&w, &r, begin + S + S / 2 + v.wait).allowed);
    assert_false(rate_is_unused(&w, &r, begin + 2 * S));
    assert_true(rate_is_unused(&w, &r, begin + 3 * S));
    for (usec_t gap = 1; gap < (usec_t)1 << 24; gap = gap * 3 + 1) /* however long nobody came */
        assert_int_equal(take_all(&w, &r, begin += 10 * S + gap * S), 10);
}

static void test_give_back(UNUSED void **state)
{
    static const enum rate_algorithm all[] = {RATE_TOKEN_BUCKET, RATE_FIXED_WINDOW,
                                              RATE_SLIDING_WINDOW};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct rate_rule r = {all[i], 2, 2, S};
        rate_word w = 0;
        struct rate_verdict first = rate_take(&w, &r, START * S);
        rate_give_back(&w, &first);
        assert_int_equal(take_all(&w, &r, START * S), 2);
        rate_give_back(&w, &first); /* somebody has come since then */
        assert_int_equal(take_all(&w, &r, START * S), 0);
    }
}

/* By the ends of all intervals between two grants: burst + rate x time is never passed; and where
 * somebody always waits, that much is given. */
static void check_bucket(const usec_t *granted, uint32_t n, const struct rate_rule *r)
{
    for (uint32_t a = 0; a < n; a++) {
        for (uint32_t b = a; b < n; b++) {
            __extension__ unsigned __int128 come =
                (unsigned __int128)(granted[b] - granted[a]) * r->requests;
            if (b - a + 1 > r->burst + (uint64_t)(come / r->per) + 1 ||
                (b - a + 1 > r->burst && (unsigned __int128)(b - a + 1 - r->burst) * r->per > come))
                fail_msg("%u in %llu us, of %u in %llu, burst %u", b - a + 1,
                         (unsigned long long)(granted[b] - granted[a]), r->requests,
                         (unsigned long long)r->per, r->burst);
        }
    }
}

static void test_a_bucket_never_gives_more(UNUSED void **state)
{
    enum { TAKES = 400, ROUNDS = 60 };
    static usec_t granted[TAKES];
    struct rng rng;
    rng_init(&rng, 7);
    for (int round = 0; round < ROUNDS; round++) {
        struct rate_rule r =
            bucket(1 + rng_below(&rng, 2000), RATE_PER_MIN + rng_below(&rng, 5000000),
                   1 + rng_below(&rng, 40));
        rate_word w = 0;
        usec_t now = START;
        uint32_t n = 0, mean = (uint32_t)(2 * r.per / r.requests) + 2;
        for (int i = 0; i < TAKES; i++) {
            now += rng_below(&rng, 8) == 0 ? rng_below(&rng, 20 * mean) : rng_below(&rng, mean);
            if (rate_take(&w, &r, now).allowed)
                granted[n++] = now;
        }
        check_bucket(granted, n, &r);
    }
}

static void test_windows_never_give_more(UNUSED void **state)
{
    struct rng rng;
    rng_init(&rng, 8);
    for (int round = 0; round < 200; round++) {
        struct rate_rule r = {round % 2 ? RATE_FIXED_WINDOW : RATE_SLIDING_WINDOW,
                              1 + rng_below(&rng, 50), 0, RATE_PER_MIN + rng_below(&rng, 100000)};
        rate_word w = 0;
        usec_t now = START * S, window = 0;
        uint32_t n = 0;
        for (int i = 0; i < 1000; i++) {
            now += rng_below(&rng, (uint32_t)(r.per / r.requests) + 1);
            struct rate_verdict v = rate_take(&w, &r, now);
            if (now / r.per != window) {
                window = now / r.per;
                n = 0;
            }
            n += v.allowed;
            assert_true(n <= r.requests);
            assert_true(v.allowed || v.wait > 0);
            assert_true(v.allowed || v.wait <= 2 * r.per);
        }
    }
}

static void test_who_waits_is_served(UNUSED void **state)
{
    static const enum rate_algorithm all[] = {RATE_TOKEN_BUCKET, RATE_FIXED_WINDOW,
                                              RATE_SLIDING_WINDOW};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct rate_rule r = {all[i], 100, 1, S};
        rate_word w = 0;
        usec_t now = START * S;
        uint32_t n = 0;
        while (now < START * S + 20 * S) {
            struct rate_verdict v = rate_take(&w, &r, now);
            n += v.allowed;
            now += v.wait;
        }
        assert_in_range(n, 1900, 2001);
    }
}

/* --- workers --- */

enum { WORKERS = 4, EACH = 50000 };

struct shared {
    rate_word word;
    struct rate_rule rule;
    _Atomic uint32_t granted;
};

static void *take_many(void *arg)
{
    struct shared *s = arg;
    for (int i = 0; i < EACH; i++) {
        if (rate_take(&s->word, &s->rule, START * S).allowed)
            atomic_fetch_add(&s->granted, 1);
    }
    return NULL;
}

static void test_exact_over_workers(UNUSED void **state)
{
    static const enum rate_algorithm all[] = {RATE_TOKEN_BUCKET, RATE_FIXED_WINDOW,
                                              RATE_SLIDING_WINDOW};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct shared s = {.rule = {all[i], 77777, 77777, S}};
        pthread_t threads[WORKERS];
        for (int k = 0; k < WORKERS; k++)
            CHECK(pthread_create(&threads[k], NULL, take_many, &s) == 0);
        for (int k = 0; k < WORKERS; k++)
            (void)pthread_join(threads[k], NULL);
        assert_int_equal(s.granted, 77777);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bucket),
        cmocka_unit_test(test_a_bucket_of_another_rule),
        cmocka_unit_test(test_bucket_at_its_ends),
        cmocka_unit_test(test_time_behind),
        cmocka_unit_test(test_fixed_window),
        cmocka_unit_test(test_sliding_window),
        cmocka_unit_test(test_give_back),
        cmocka_unit_test(test_a_bucket_never_gives_more),
        cmocka_unit_test(test_windows_never_give_more),
        cmocka_unit_test(test_who_waits_is_served),
        cmocka_unit_test(test_exact_over_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
