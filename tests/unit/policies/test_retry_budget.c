/* test_retry_budget.c - do retries ever exceed their share, over any stretch of the window, by any
 * number of threads? */
#include "policies/retry_budget.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct retry_budget_rules usual = {20, 10, 10 * USEC_PER_SEC};
static const usec_t begin = 1000 * USEC_PER_SEC;

static void requests(struct retry_budget *b, uint32_t worker, uint32_t n, usec_t now)
{
    while (n-- > 0)
        retry_budget_request(b, worker, now);
}

static uint32_t take_all(struct retry_budget *b, const struct retry_budget_rules *r, usec_t now)
{
    uint32_t n = 0;
    while (retry_budget_take(b, r, now))
        n++;
    assert_false(retry_budget_allows(b, r, now));
    return n;
}

static void test_floor(UNUSED void **state)
{
    struct retry_budget *b = retry_budget_new(1);
    assert_int_equal(take_all(b, &usual, begin), 100);
    assert_int_equal(take_all(b, &usual, begin + 10 * USEC_PER_SEC), 0);
    assert_int_equal(take_all(b, &usual, begin + 11 * USEC_PER_SEC), 100);
    assert_null(retry_budget_free(b));
}

static void test_share_of_all_workers(UNUSED void **state)
{
    struct retry_budget *b = retry_budget_new(3);
    for (uint32_t i = 0; i < 10; i++)
        requests(b, i % 3, 1000, begin + i * USEC_PER_SEC);
    struct retry_budget_state s = retry_budget_state(b, &usual, begin + 9 * USEC_PER_SEC);
    assert_int_equal(s.requests, 10000);
    assert_int_equal(s.most, 2000);
    assert_int_equal(s.retries, 0);
    assert_int_equal(take_all(b, &usual, begin + 9 * USEC_PER_SEC), 2000);
    s = retry_budget_state(b, &usual, begin + 9 * USEC_PER_SEC);
    assert_int_equal(s.retries, 2000);
    /* The requests age, and with them the share. */
    assert_int_equal(take_all(b, &usual, begin + 15 * USEC_PER_SEC), 0);
    assert_int_equal(retry_budget_state(b, &usual, begin + 15 * USEC_PER_SEC).requests, 4000);
    assert_int_equal(take_all(b, &usual, begin + 21 * USEC_PER_SEC), 100);
    (void)retry_budget_free(b);
}

static void test_none_at_all(UNUSED void **state)
{
    const struct retry_budget_rules none = {0, 0, 10 * USEC_PER_SEC};
    struct retry_budget *b = retry_budget_new(1);
    requests(b, 0, 1000, begin);
    assert_int_equal(take_all(b, &none, begin), 0);
    (void)retry_budget_free(b);
}

/* A place is used again after 64 s. */
static void test_old_seconds_are_forgotten(UNUSED void **state)
{
    const struct retry_budget_rules longest = {100, 0, RETRY_BUDGET_WINDOW_MAX * USEC_PER_SEC};
    struct retry_budget *b = retry_budget_new(1);
    requests(b, 0, 10, begin);
    assert_int_equal(take_all(b, &longest, begin + 59 * USEC_PER_SEC), 10);
    assert_int_equal(retry_budget_state(b, &longest, begin + 60 * USEC_PER_SEC).requests, 0);
    requests(b, 0, 7, begin + RETRY_BUDGET_SLOTS * USEC_PER_SEC);
    assert_int_equal(
        retry_budget_state(b, &longest, begin + RETRY_BUDGET_SLOTS * USEC_PER_SEC).requests, 7);
    (void)retry_budget_free(b);
}

/* Whose clock is behind by a lap finds a later second in its place: it counts there. */
static void test_a_late_clock_counts_too(UNUSED void **state)
{
    const struct retry_budget_rules five = {0, 5, USEC_PER_SEC};
    struct retry_budget *b = retry_budget_new(1);
    usec_t lap = RETRY_BUDGET_SLOTS * USEC_PER_SEC;
    assert_int_equal(take_all(b, &five, begin + lap), 5);
    assert_int_equal(take_all(b, &five, begin), 0);
    (void)retry_budget_free(b);
}

static void test_without_memory(UNUSED void **state)
{
    mem_fail_at(1, false);
    assert_null(retry_budget_new(2));
    mem_fail_at(0, false);
    assert_null(retry_budget_free(NULL));
}

/* Any stretch of ten seconds, to the microsecond: no more retries than the larger of the floor and
 * of what its requests allow. */
static void test_property_of_any_window(UNUSED void **state)
{
    enum { EVENTS = 60000 };
    struct event {
        usec_t at;
        bool retry;
    } *log = calloc(EVENTS, sizeof(*log));
    struct rng rng;
    rng_init(&rng, 3);
    for (int round = 0; round < 5; round++) {
        struct retry_budget *b = retry_budget_new(2);
        usec_t now = begin + rng_below(&rng, 1000000);
        uint32_t n = 0, from = 0, asked = 0, retries = 0, in_window = 0, requests_in = 0;
        while (n < EVENTS) {
            /* bursts and pauses */
            now += rng_below(&rng, 2000) ? rng_below(&rng, 2000) : rng_below(&rng, 20000000);
            bool retry = rng_below(&rng, 2) != 0;
            asked += retry;
            if (!retry)
                retry_budget_request(b, rng_below(&rng, 2), now);
            else if (!retry_budget_take(b, &usual, now))
                continue;
            retries += retry;
            log[n].at = now;
            log[n++].retry = retry;
            in_window += retry;
            requests_in += !retry;
            while (log[from].at + usual.window <= now) {
                in_window -= log[from].retry;
                requests_in -= !log[from].retry;
                from++;
            }
            uint32_t share = requests_in / 5;
            assert_true(!retry || in_window <= (share > 100 ? share : 100));
        }
        assert_true(retries > 1000 && retries < asked);
        (void)retry_budget_free(b);
    }
    free(log);
}

/* --- threads --- */

enum { THREADS = 4, ROUNDS = 40000 };

struct taker {
    struct retry_budget *b;
    uint32_t id;
    _Atomic uint64_t *clock;
    uint32_t taken;
};

static void *take_and_ask(void *arg)
{
    struct taker *t = arg;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        usec_t now = atomic_load(t->clock);
        if (i % 4 == 0)
            retry_budget_request(t->b, t->id, now);
        t->taken += retry_budget_take(t->b, &usual, now);
    }
    return NULL;
}

/* All at the same second: what was taken is what is counted, and no more than allowed. */
static void test_threads_take_no_more(UNUSED void **state)
{
    for (int round = 0; round < 5; round++) {
        struct retry_budget *b = retry_budget_new(THREADS);
        _Atomic uint64_t clock = begin;
        struct taker takers[THREADS];
        pthread_t threads[THREADS];
        uint64_t taken = 0;
        for (uint32_t i = 0; i < THREADS; i++) {
            takers[i] = (struct taker){.b = b, .id = i, .clock = &clock};
            assert_int_equal(pthread_create(&threads[i], NULL, take_and_ask, &takers[i]), 0);
        }
        for (uint32_t i = 0; i < THREADS; i++) {
            (void)pthread_join(threads[i], NULL);
            taken += takers[i].taken;
        }
        struct retry_budget_state s = retry_budget_state(b, &usual, begin);
        assert_int_equal(s.requests, THREADS * ROUNDS / 4);
        assert_int_equal(s.most, THREADS * ROUNDS / 4 / 5);
        assert_int_equal(s.retries, taken);
        assert_true(taken <= s.most && taken > s.most / 2);
        (void)retry_budget_free(b);
    }
}

static void *turn_the_clock(void *arg)
{
    _Atomic uint64_t *clock = arg;
    for (int i = 0; i < 400; i++) {
        atomic_store(clock, atomic_load(clock) + USEC_PER_SEC);
        for (int k = 0; k < 2000; k++)
            atomic_signal_fence(memory_order_seq_cst);
    }
    return NULL;
}

/* Seconds come and go under them: whatever slot a place is given back to, none is lost or made. */
static void test_threads_while_time_passes(UNUSED void **state)
{
    struct retry_budget *b = retry_budget_new(THREADS);
    _Atomic uint64_t clock = begin;
    struct taker takers[THREADS];
    pthread_t threads[THREADS], turner;
    assert_int_equal(pthread_create(&turner, NULL, turn_the_clock, &clock), 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        takers[i] = (struct taker){.b = b, .id = i, .clock = &clock};
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_ask, &takers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    (void)pthread_join(turner, NULL);
    usec_t end = atomic_load(&clock);
    struct retry_budget_state s = retry_budget_state(b, &usual, end);
    assert_true(s.retries <= THREADS * ROUNDS / 4 / 5 + 100);
    assert_int_equal(retry_budget_state(b, &usual, end + 11 * USEC_PER_SEC).retries, 0);
    (void)retry_budget_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floor),
        cmocka_unit_test(test_share_of_all_workers),
        cmocka_unit_test(test_none_at_all),
        cmocka_unit_test(test_old_seconds_are_forgotten),
        cmocka_unit_test(test_a_late_clock_counts_too),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_property_of_any_window),
        cmocka_unit_test(test_threads_take_no_more),
        cmocka_unit_test(test_threads_while_time_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
